"""Families whose likelihood is maximised by Newton's method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.maximum_likelihood import (
    TINY,
    MaximumLikelihood,
    Statistics,
    above_rounding,
    rate_of,
    rates,
)
from tfp_spn.ops.gamma import (
    excess_of_log,
    log_minus_digamma,
    relative_distance,
    slope_of_log_minus_digamma,
)

_NUM_STEPS = 20

_MAX_GAP = 1e12
"""Wider data than float32 can square; a concentration of 1e-12."""


def _gamma_concentration(gap: Tensor) -> Tensor:
    """Solves ``log c - digamma(c) = gap`` (Minka 2002)."""
    gap = tf.minimum(gap, _MAX_GAP)
    root = tf.sqrt(tf.square(gap - 3) + 24 * gap)
    wide = 2 / tf.maximum(root + gap - 3, 1.0)  # the same number, no digits cancelled
    c = tf.where(gap > 3, wide, (3 - gap + root) / (12 * gap))
    for _ in range(5):
        residual = log_minus_digamma(c) - gap
        c = 1 / (1 / c + residual / (tf.square(c) * slope_of_log_minus_digamma(c)))
    return c


def _gamma_in(
    forward: Callable[[Tensor], Tensor],
    rate_of: Callable[[Params], Tensor],
    named: Callable[[Tensor], Params],
    needs: tuple[tuple[str, ...], ...],
) -> MaximumLikelihood:
    """Gamma in ``forward(x)``; moments about each component's own mean.

    Of ``r = x / mean - 1`` and ``r - log(1 + r)``: those of ``x`` and ``log x`` would
    lose a narrow component's spread, which is a small difference of them.
    """

    def mean_of(p: Params) -> Tensor:
        return p["concentration"] / rate_of(p)

    def statistics(p: Params, x: Tensor) -> Statistics:
        x, mean = forward(x), mean_of(p)
        return relative_distance(x, mean), excess_of_log(x, mean)

    def expected(p: Params) -> Statistics:
        excess = log_minus_digamma(p["concentration"])
        return tf.zeros_like(mean_of(p) + excess), excess + tf.zeros_like(mean_of(p))

    def maximizer(mean: Statistics, p: Params) -> Params:
        shift, excess = mean
        new = tf.maximum(1 + shift, TINY)
        gap = excess - (shift - tf.math.log(new))
        small = tf.abs(shift) < 0.5
        near = shift - tf.math.log1p(tf.where(small, shift, tf.zeros_like(shift)))
        gap = tf.where(small, excess - near, gap)
        c = _gamma_concentration(above_rounding(gap, excess + tf.abs(shift)))
        return {"concentration": c, **named(c / (new * mean_of(p)))}

    return MaximumLikelihood(statistics, expected, maximizer, needs=needs)


def gamma() -> MaximumLikelihood:
    """Matches the means of ``x`` and ``log x``."""
    needs = (("concentration",), ("rate", "log_rate"))
    return _gamma_in(lambda x: x, rate_of, rates, needs)


def inverse_gamma() -> MaximumLikelihood:
    """Matches the means of ``1 / x`` and ``log x``."""
    needs = (("concentration",), ("scale",))
    return _gamma_in(
        lambda x: 1 / x, lambda p: p["scale"], lambda rate: {"scale": rate}, needs
    )


def _dirichlet_concentration(log_mean: Tensor, old: Tensor) -> Tensor:
    """Newton's method for ``E[log x] = log_mean``; ``[..., G]``, from `old`.

    In the logarithms of the concentrations, by steps of at most one. Where it ends no
    better than it began, `old` is kept: no step lowers the likelihood.
    """

    def objective(a: Tensor) -> Tensor:
        log_norm = tf.reduce_sum(tf.math.lgamma(a), -1) - tf.math.lgamma(
            tf.reduce_sum(a, -1)
        )
        return tf.reduce_sum((a - 1) * log_mean, -1) - log_norm

    a = old
    one = tf.ones_like(a)
    most = 1e6 if a.dtype == tf.float32 else 1e10  # digits of digamma end beyond
    for _ in range(_NUM_STEPS):
        total = tf.reduce_sum(a, -1, keepdims=True)
        gradient = tf.math.digamma(total) - tf.math.digamma(a) + log_mean
        q = -tf.math.polygamma(one, a)
        z = tf.math.polygamma(tf.ones_like(total), total)
        b = tf.reduce_sum(gradient / q, -1, keepdims=True) / (
            1 / z + tf.reduce_sum(1 / q, -1, keepdims=True)
        )
        step = -(gradient - b) / q / a
        a = a * tf.exp(tf.clip_by_value(step, -1.0, 1.0))
        a = tf.clip_by_value(a, 1e-4, most)
    better = objective(a) >= objective(old)
    return tf.where(better[..., tf.newaxis], a, old)


def beta() -> MaximumLikelihood:
    """Matches the means of ``log x`` and ``log (1 - x)``."""

    def both(p: Params) -> Tensor:
        return tf.stack([p["concentration1"], p["concentration0"]], axis=-1)

    def expected(p: Params) -> Statistics:
        total = tf.math.digamma(p["concentration1"] + p["concentration0"])
        return (
            tf.math.digamma(p["concentration1"]) - total,
            tf.math.digamma(p["concentration0"]) - total,
        )

    def maximizer(mean: Statistics, p: Params) -> Params:
        new = _dirichlet_concentration(tf.stack(mean, axis=-1), both(p))
        return {"concentration1": new[..., 0], "concentration0": new[..., 1]}

    return MaximumLikelihood(
        lambda p, x: (tf.math.log(x), tf.math.log1p(-x)),
        expected,
        maximizer,
        needs=(("concentration1",), ("concentration0",)),
    )


def dirichlet() -> MaximumLikelihood:
    """Matches the means of ``log x``."""

    def expected(p: Params) -> Statistics:
        total = tf.reduce_sum(p["concentration"], -1, keepdims=True)
        return (tf.math.digamma(p["concentration"]) - tf.math.digamma(total),)

    return MaximumLikelihood(
        lambda p, x: (tf.math.log(x),),
        expected,
        lambda mean, p: {
            "concentration": _dirichlet_concentration(mean[0], p["concentration"])
        },
    )


def _bessel_ratio(concentration: Tensor) -> Tensor:
    return tf.math.bessel_i1e(concentration) / tf.math.bessel_i0e(concentration)


def von_mises() -> MaximumLikelihood:
    """Matches the mean direction."""

    def expected(p: Params) -> Statistics:
        length = _bessel_ratio(p["concentration"])
        return length * tf.cos(p["loc"]), length * tf.sin(p["loc"])

    def maximizer(mean: Statistics, p: Params) -> Params:
        cos, sin = mean
        length = tf.sqrt(tf.square(cos) + tf.square(sin))
        eps = np.finfo(length.dtype.as_numpy_dtype).eps
        length = tf.clip_by_value(length, 1e-6, 1 - 4 * eps)
        gap = 1 - length
        # Of narrow peaks the slope below loses its digits; an expansion has them all.
        narrow = (1 + tf.sqrt(1 + 2 * gap)) / (4 * gap)
        k = length * (2 - tf.square(length)) / (1 - tf.square(length))
        for _ in range(10):
            ratio = _bessel_ratio(k)
            slope = 1 - ratio / k - tf.square(ratio)
            k = tf.maximum(k - (ratio - length) / tf.maximum(slope, 1e-9), 0.5 * k)
        k = tf.where(gap < 1e-3, narrow, k)
        return {"loc": tf.atan2(sin, cos), "concentration": k}

    return MaximumLikelihood(
        lambda p, x: (tf.cos(x), tf.sin(x)),
        expected,
        maximizer,
        needs=(("loc",), ("concentration",)),
    )
