"""Picking regions or units by static index, with gradients that are gathers too.

The gradient of a general gather is a scatter, which is slow and, under XLA, sequential.
Here the index is known when the graph is built, so that the gradient of a region is a
sum over the few places that use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.long_sums import add_pairwise


def take_regions(value: Tensor, index: np.ndarray, blank: float = 0.0) -> Tensor:
    """``value[..., index, :, :]``; an index of -1 gives `blank`.

    Args:
        value: ``[..., R, K, N]``.
        index: int ``[J]``, static.
        blank: What a region that is not there holds.

    Returns:
        ``[..., J, K, N]``.
    """
    return _take(value, index, -3, blank)


def take_units(value: Tensor, index: np.ndarray) -> Tensor:
    """``value[..., index, :]``.

    Args:
        value: ``[..., K, N]``.
        index: int ``[J]``, static.

    Returns:
        ``[..., J, N]``.
    """
    return _take(value, index, -2)


def multiply_regions(value: Tensor, indices: Sequence[np.ndarray]) -> Tensor:
    """``prod_a value[..., indices[a], :, :]``; an index of -1 is a factor of one.

    The gradient of a unit is the sum over the products that it is a factor of, of their
    gradient times their value, divided by the unit: it reads no factor again. A unit of
    zero receives zero, which is what reaches its logarithm, and the weights of the sum
    that it is, in any case.

    Args:
        value: Non-negative ``[..., R, K, N]``.
        indices: int ``[J]`` each, static.

    Returns:
        ``[..., J, K, N]``.
    """
    uses = _places_in_all(indices, value.shape[-3])

    def product(value: Tensor) -> Tensor:
        result = gather_blank(value, indices[0], -3, 1.0)
        for index in indices[1:]:
            result *= gather_blank(value, index, -3, 1.0)
        return result / _opaque_one(value)

    @tf.custom_gradient
    def forward(value: Tensor) -> tuple[Tensor, Callable]:
        def backward(flow: Tensor) -> Tensor:
            # Multiplied again, so that second derivatives see it; a graph does it once.
            flow = flow * product(value) / _opaque_one(value)
            return tf.math.divide_no_nan(sum_over_uses(flow, uses), value)

        return product(value), backward

    return forward(value)


def add_regions(value: Tensor, indices: Sequence[np.ndarray]) -> Tensor:
    """``sum_a value[..., indices[a], :, :]``; an index of -1 adds nothing.

    Args:
        value: ``[..., R, K, N]``, such as logarithms.
        indices: int ``[J]`` each, static.

    Returns:
        ``[..., J, K, N]``.
    """
    uses = _places_in_all(indices, value.shape[-3])

    @tf.custom_gradient
    def forward(value: Tensor) -> tuple[Tensor, Callable]:
        result = add_pairwise([gather_blank(value, index, -3) for index in indices])
        return result, lambda flow: sum_over_uses(flow, uses)

    return forward(value)


def _opaque_one(value: Tensor) -> Tensor:
    """1, but compilers cannot know.

    XLA computes what is cheap again for each of its uses; a product of gathers is not
    cheap, but to XLA it is. Divisions are dear to it, so that it divides once and
    keeps the result.
    """
    first = value[..., :1, :1, :1]
    return 1 + tf.maximum(tf.cast(tf.stop_gradient(first) >= 0, value.dtype) - 1, 0)


def sum_over_uses(flow: Tensor, uses: np.ndarray, axis: int = -3) -> Tensor:
    """Sums what went to each region; `uses` is the table of `places_of`."""
    parts = [gather_blank(flow, column, axis) for column in uses.T]
    return tf.add_n(parts) if len(parts) > 1 else parts[0]


def _places_in_all(indices: Sequence[np.ndarray], num_regions: int) -> np.ndarray:
    """Int ``[R, U]``: where each region is used in any of the indices."""
    tables = [places_of(index, num_regions) for index in indices]
    # Filled from the left: with disjoint windows one column is all there is.
    table = np.sort(np.concatenate(tables, axis=1), axis=1)[:, ::-1]
    width = max(1, int((table >= 0).sum(axis=1).max()))
    return table[:, :width]


def _take(value: Tensor, index: np.ndarray, axis: int, blank: float = 0.0) -> Tensor:
    uses = places_of(index, value.shape[axis])

    @tf.custom_gradient
    def forward(value: Tensor) -> tuple[Tensor, Callable]:
        result = gather_blank(value, index, axis, blank)
        return result, lambda flow: sum_over_uses(flow, uses, axis)

    return forward(value)


def gather_blank(
    value: Tensor, index: np.ndarray, axis: int, blank: float = 0.0
) -> Tensor:
    """`tf.gather` along `axis`; an index of -1 gives `blank`."""
    if np.any(index < 0):
        size, first = value.shape[axis], tf.gather(value, [0], axis=axis)
        fill = tf.fill(tf.shape(first), tf.cast(blank, value.dtype))
        value = tf.concat([value, fill], axis=axis)
        index = np.where(index < 0, size, index)
    return tf.gather(value, index, axis=axis)


def places_of(index: np.ndarray, num_regions: int) -> np.ndarray:
    """Int ``[R, U]``: where each region is used, padded with -1."""
    places: list[list[int]] = [[] for _ in range(num_regions)]
    for place, region in enumerate(index.tolist()):
        if region >= 0:
            places[region].append(place)
    width = max(1, *(len(p) for p in places)) if places else 1
    table = np.full([num_regions, width], -1)
    for region, used in enumerate(places):
        table[region, : len(used)] = used
    return table
