"""Gamma densities whose concentration may be large.

Written in the relative distance ``r = x / mean - 1``,

    log p(x) = c (log(1 + r) - r) + c log c - c - lgamma(c) - log x

no term is large amid a narrow density, where the usual terms are of the size of ``c``.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tfp_spn._typing import Tensor

_SERIES_FROM = 16.0


def gamma_log_prob(x: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
    """Log-density at positive `x`."""
    excess = excess_of_log(x, concentration / rate)
    return log_peak(concentration) - concentration * excess - tf.math.log(x)


def excess_of_log(x: Tensor, mean: Tensor) -> Tensor:
    """``r - log(1 + r)``, where ``r = x / mean - 1``: not negative."""
    r = relative_distance(x, mean)
    is_near = tf.abs(r) < 0.5
    near = tf.math.log1p(tf.where(is_near, r, tf.zeros_like(r)))
    return r - tf.where(is_near, near, tf.math.log(x) - tf.math.log(mean))


def relative_distance(x: Tensor, mean: Tensor) -> Tensor:
    """``x / mean - 1``."""
    return (x - mean) / mean


def log_peak(c: Tensor) -> Tensor:
    """``c log c - c - lgamma(c)``."""
    is_small = c < _SERIES_FROM
    small = tf.where(is_small, c, tf.ones_like(c))
    large = tf.where(is_small, _SERIES_FROM * tf.ones_like(c), c)
    direct = small * tf.math.log(small) - small - tf.math.lgamma(small)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / large**2) / large**2) / large
    by_series = 0.5 * tf.math.log(large / (2 * math.pi)) - series
    return tf.where(is_small, direct, by_series)


def log_minus_digamma(c: Tensor) -> Tensor:
    """``log c - digamma(c)``, about ``1 / (2 c)`` where `c` is large."""
    is_small = c < _SERIES_FROM
    small = tf.where(is_small, c, tf.ones_like(c))
    inverse = 1 / tf.where(is_small, _SERIES_FROM * tf.ones_like(c), c)
    square = tf.square(inverse)
    series = 0.5 * inverse + square * (1 / 12 - square * (1 / 120 - square / 252))
    return tf.where(is_small, tf.math.log(small) - tf.math.digamma(small), series)


def slope_of_log_minus_digamma(c: Tensor) -> Tensor:
    """Returns the derivative of `log_minus_digamma`, ``1 / c - trigamma(c)``."""
    is_small = c < _SERIES_FROM
    small = tf.where(is_small, c, tf.ones_like(c))
    inverse = 1 / tf.where(is_small, _SERIES_FROM * tf.ones_like(c), c)
    series = -tf.square(inverse) * (0.5 + inverse * (1 / 6 - tf.square(inverse) / 30))
    direct = 1 / small - tf.math.polygamma(tf.ones_like(small), small)
    return tf.where(is_small, direct, series)
