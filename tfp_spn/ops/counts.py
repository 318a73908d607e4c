"""Log-probabilities of large counts.

Written as differences of log-factorials they lose what is of the size of the count. In
deviance form (Loader 2000, "Fast and accurate computation of binomial probabilities"),

    log p(x) = log p(x | rate that fits x best) - deviance(x, rate)

no term is larger than the result but by rounding. All in double precision.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tfp_spn._typing import Tensor

_SERIES_FROM = 16.0
_LARGEST = 1e300


def binomial_log_prob(
    x: Tensor, total_count: Tensor, success: Tensor, failure: Tensor
) -> Tensor:
    """Returns log-probabilities of `x` successes among `total_count` trials.

    All float64, and broadcast; `x` is an integer from 0 to `total_count`.
    """
    rest = total_count - x
    inside = (x > 0) & (rest > 0)  # at the ends the best fit is certain
    ones = tf.ones_like(x)
    a, b = tf.where(inside, x, ones), tf.where(inside, rest, ones)
    n = tf.where(inside, total_count, 2 * ones)
    best = 0.5 * tf.math.log(n / (2 * math.pi * a * b))
    best += _stirling_error(n) - _stirling_error(a) - _stirling_error(b)
    best = tf.where(inside, best, tf.zeros_like(best))
    excess = x - total_count * success
    return (
        best
        - _log_ratio_term(x, excess, total_count * success)
        - _log_ratio_term(rest, -excess, total_count * failure)
    )


def poisson_log_prob(x: Tensor, rate: Tensor) -> Tensor:
    """Returns log-probabilities of `x` events, a whole number; both float64."""
    rate = tf.minimum(rate, _LARGEST)
    positive = x > 0
    a = tf.where(positive, x, tf.ones_like(x))
    best = -0.5 * tf.math.log(2 * math.pi * a) - _stirling_error(a)
    best = tf.where(positive, best, tf.zeros_like(best))
    excess = x - rate
    return best - (_log_ratio_term(x, excess, rate) - excess)


def _log_ratio_term(x: Tensor, excess: Tensor, mean: Tensor) -> Tensor:
    """``x log(x / mean)`` where ``x = mean + excess``."""
    positive = (x > 0) & tf.ones_like(mean, tf.bool)
    ratio = excess / tf.where(positive, mean, tf.ones_like(mean))
    log_ratio = tf.math.log1p(tf.where(positive, ratio, tf.zeros_like(ratio)))
    return x * log_ratio


def _stirling_error(n: Tensor) -> Tensor:
    """``log n! - log(sqrt(2 pi n) (n / e)^n)``, of `n` from 1 on."""
    is_small = n < _SERIES_FROM
    small = tf.where(is_small, n, tf.ones_like(n))
    direct = tf.math.lgamma(small + 1) - (small + 0.5) * tf.math.log(small) + small
    large = 1 / tf.where(is_small, _SERIES_FROM * tf.ones_like(n), n)
    square = tf.square(large)
    series = 1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))
    return tf.where(is_small, direct - 0.5 * math.log(2 * math.pi), large * series)
