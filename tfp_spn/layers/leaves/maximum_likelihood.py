"""The M-step of TFP families: maximum likelihood of weighted data.

A family has an M-step if the maximiser of ``sum_n w[n] log p(x[n])`` follows from

    m = sum_n w[n] T(x[n]) / sum_n w[n]

It is found by matching ``E[T]``, in closed form or by Newton's method (Gamma, Beta,
Dirichlet, von Mises), after Minka (2000), "Estimating a Dirichlet distribution", and
Banerjee et al. (2005), "Clustering on the unit hypersphere". Student's t has the
weights of its scale mixture of Normals as statistics, so that its M-step is one of
generalised EM (Liu and Rubin 1995). Steps and pseudocounts move ``m`` from where the
present parameters have it.

All values of one component: scalar families ``[..., K, D]``, vectors with the features
of a statistic in place of the dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor

Statistics = tuple[Tensor, ...]

MIN_SCALE = 1e-3
"""The floor of scales, which keeps a component from collapsing onto one value."""

TINY = 1e-12
"""The floor of what is divided by, or has a logarithm."""


@dataclass(frozen=True)
class MaximumLikelihood:
    """The M-step of a family.

    Attributes:
        statistics: A function of parameters, with an axis for the examples, and values
            ``[L, 1, D, N]`` that returns statistics, ``[L, K or 1, F, N]`` each.
        expected: A function of parameters that returns the expectations of the
            statistics, ``[L, K, F]`` each.
        maximizer: A function of their means and the old parameters that returns new
            parameters, under all names that TFP has for them.
        needs: What must be learned: with these fixed, the maximiser is another one.
        fixed: What must be constant.
    """

    statistics: Callable[[Params, Tensor], Statistics]
    expected: Callable[[Params], Statistics]
    maximizer: Callable[[Statistics, Params], Params]
    needs: tuple[tuple[str, ...], ...] = ()
    fixed: tuple[str, ...] = ()

    def obstacle(self, learned: Params) -> str | None:
        """In words, why this M-step does not serve if only `learned` are free."""
        for names in self.needs:
            if not set(names) & set(learned):
                return f"it needs {' or '.join(names)} to be learned"
        for name in self.fixed:
            if name in learned:
                return f"it needs a constant {name}"
        return None


def root(square: Tensor) -> Tensor:
    """A scale, not below its floor."""
    return tf.sqrt(tf.maximum(square, MIN_SCALE**2))


def above_zero(value: Tensor) -> Tensor:
    """A number that is not negative, not below the least that the dtype holds whole."""
    return tf.maximum(value, np.finfo(value.dtype.as_numpy_dtype).tiny)


def above_rounding(difference: Tensor, size: Tensor) -> Tensor:
    """A positive difference of terms of some `size`, not below their rounding."""
    eps = np.finfo(size.dtype.as_numpy_dtype).eps
    return tf.maximum(difference, 8 * eps * tf.maximum(size, eps))


def spread(like: Tensor, *values: Tensor | float) -> Statistics:
    """All of the shape that `like` and they broadcast to."""
    zero = tf.zeros_like(like) + 0 * values[-1]
    return tuple(value + zero for value in values)


def rates(rate: Tensor) -> Params:
    """A rate under the names that TFP has for it."""
    rate = above_zero(rate)
    return {"rate": rate, "log_rate": tf.math.log(rate)}


def rate_of(p: Params) -> Tensor:
    """The rate, whatever it is given by."""
    return p["rate"] if "rate" in p else tf.exp(p["log_rate"])
