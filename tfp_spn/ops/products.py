"""Products of regions with disjoint scopes, of units or of their logarithms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import merge_axes
from tfp_spn.ops.long_sums import add_pairwise


def hadamard(factors: Sequence[Tensor]) -> Tensor:
    """Unit ``k`` is the product of the units ``k`` of all factors.

    ``y[k] = prod_a x_a[k]``; factors ``[..., R, K, N]``, result the same.
    """
    return functools.reduce(tf.multiply, factors)


def log_hadamard(factors: Sequence[Tensor]) -> Tensor:
    """`hadamard` of logarithms: ``log y[k] = sum_a log x_a[k]``, added in pairs."""
    return add_pairwise(factors)


def kronecker(factors: Sequence[Tensor]) -> Tensor:
    """All products of one unit of each factor, the first factor the slowest index.

    ``y[k0 * K1 + k1] = x_0[k0] x_1[k1]``; factors ``[..., R, K_a, N]``, result
    ``[..., R, K_0 * K_1 * ..., N]``.
    """
    return functools.reduce(functools.partial(_pairs, tf.multiply), factors)


def log_kronecker(factors: Sequence[Tensor]) -> Tensor:
    """`kronecker` of logarithms."""
    return functools.reduce(functools.partial(_pairs, tf.add), factors)


def _pairs(combine: Callable, left: Tensor, right: Tensor) -> Tensor:
    outer = combine(left[..., :, tf.newaxis, :], right[..., tf.newaxis, :, :])
    return merge_axes(outer, -3, -1)


def kronecker_digits(unit: Tensor, widths: tuple[int, ...]) -> list[Tensor]:
    """The factors' units of a product unit of `kronecker`."""
    digits = []
    for width in reversed(widths):
        digits.append(tf.math.floormod(unit, width))
        unit = tf.math.floordiv(unit, width)
    return digits[::-1]
