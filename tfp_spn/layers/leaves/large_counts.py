"""Binomial and Poisson distributions of TFP, asked for large counts."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.counts import binomial_log_prob, poisson_log_prob


def family_log_prob(distribution: Any, x: Tensor) -> Tensor:
    """Log-density of a distribution of TFP; that of counts with all digits of `x`.

    Args:
        distribution: The distribution.
        x: Possible values.
    """
    of_counts = _OF_COUNTS.get(type(distribution).__name__)
    if of_counts is None:
        return distribution.log_prob(x)
    return tf.cast(of_counts(distribution, tf.cast(x, tf.float64)), x.dtype)


def _binomial(distribution: Any, x: Tensor) -> Tensor:
    total, logits = _wide(distribution.total_count), distribution.logits
    if logits is None:
        probs = _wide(distribution.probs)
        return binomial_log_prob(x, total, probs, 1 - probs)
    logits = tf.clip_by_value(_wide(logits), -_MAX_LOGIT, _MAX_LOGIT)
    success, failure = tf.math.sigmoid(logits), tf.math.sigmoid(-logits)
    return binomial_log_prob(x, total, success, failure)


def _poisson(distribution: Any, x: Tensor) -> Tensor:
    log_rate = distribution.log_rate
    if log_rate is None:
        return poisson_log_prob(x, _wide(distribution.rate))
    return poisson_log_prob(x, tf.exp(_wide(log_rate)))


def _wide(value: Tensor) -> Tensor:
    return tf.cast(value, tf.float64)


_MAX_LOGIT = 700.0
"""Beyond, a probability would be zero in double precision."""

_OF_COUNTS = {"Binomial": _binomial, "Poisson": _poisson}
