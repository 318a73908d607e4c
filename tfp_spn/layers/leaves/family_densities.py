"""Densities of TFP's families whose own formulas lose digits."""

from __future__ import annotations

import math

import tensorflow as tf

from tfp_spn._keras_bridge import Distribution
from tfp_spn._typing import Tensor
from tfp_spn.ops.counts import binomial_log_prob, poisson_log_prob
from tfp_spn.ops.gamma import gamma_log_prob, relative_distance


def family_log_prob(distribution: Distribution, x: Tensor) -> Tensor:
    """Log-density of a distribution of TFP, with digits that its formula may lose.

    Args:
        distribution: The distribution.
        x: Possible values.
    """
    of_positive = _OF_POSITIVE.get(type(distribution).__name__)
    if of_positive is not None:
        return of_positive(distribution, x)
    of_counts = _OF_COUNTS.get(type(distribution).__name__)
    if of_counts is None:
        return distribution.log_prob(x)
    return tf.cast(of_counts(distribution, tf.cast(x, tf.float64)), x.dtype)


def _binomial(distribution: Distribution, x: Tensor) -> Tensor:
    total, logits = _wide(distribution.total_count), distribution.logits
    if logits is None:
        probs = _wide(distribution.probs)
        return binomial_log_prob(x, total, probs, 1 - probs)
    logits = tf.clip_by_value(_wide(logits), -_MAX_LOGIT, _MAX_LOGIT)
    success, failure = tf.math.sigmoid(logits), tf.math.sigmoid(-logits)
    return binomial_log_prob(x, total, success, failure)


def _poisson(distribution: Distribution, x: Tensor) -> Tensor:
    log_rate = distribution.log_rate
    if log_rate is None:
        return poisson_log_prob(x, _wide(distribution.rate))
    return poisson_log_prob(x, tf.exp(_wide(log_rate)))


def _gamma(distribution: Distribution, x: Tensor) -> Tensor:
    rate, log_rate = distribution.rate, distribution.log_rate
    rate = tf.exp(log_rate) if rate is None else rate
    return gamma_log_prob(x, distribution.concentration, rate)


def _inverse_gamma(distribution: Distribution, x: Tensor) -> Tensor:
    inverse = 1 / x
    log_prob = gamma_log_prob(inverse, distribution.concentration, distribution.scale)
    return log_prob - 2 * tf.math.log(x)


def _inverse_gaussian(distribution: Distribution, x: Tensor) -> Tensor:
    """In relative distances: TFP's squares of large and small values overflow."""
    shape, distance = distribution.concentration, relative_distance(x, distribution.loc)
    log_peak = 0.5 * (tf.math.log(shape) - math.log(2 * math.pi)) - 1.5 * tf.math.log(x)
    return log_peak - 0.5 * (shape / x) * tf.square(distance)


def _wide(value: Tensor) -> Tensor:
    return tf.cast(value, tf.float64)


_MAX_LOGIT = 700.0
"""Beyond, a probability would be zero in double precision."""

_OF_POSITIVE = {
    "Gamma": _gamma,
    "InverseGamma": _inverse_gamma,
    "InverseGaussian": _inverse_gaussian,
}
_OF_COUNTS = {"Binomial": _binomial, "Poisson": _poisson}
