"""Logarithms, exponentials and reductions that are right at log zero.

``-inf`` is a legal log-probability everywhere; these helpers keep it from turning into
``NaN``, in the value and in the gradient.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor


def safe_log(x: Tensor) -> Tensor:
    """Returns ``log x`` with ``log 0 = -inf`` and a zero gradient there."""
    positive = x > 0
    log_x = tf.math.log(tf.where(positive, x, tf.ones_like(x)))
    return tf.where(positive, log_x, minus_infinity(x))


def is_finite(x: Tensor) -> Tensor:
    """`tf.math.is_finite`, which TensorFlow would move before a transposition.

    It complains of transposed bools on CPUs without AVX-512.
    """
    return tf.abs(x) < np.inf


def at_most_zero(log_prob: Tensor) -> Tensor:
    """Log-probabilities that rounding has made positive become 0, not so gradients."""
    return log_prob - tf.stop_gradient(tf.maximum(log_prob, 0.0))


def log1mexp(log_x: Tensor) -> Tensor:
    """``log(1 - x)`` of ``log x <= 0``, however near to 0 it is."""
    is_large = log_x > -0.693
    rest = -tf.math.expm1(tf.where(is_large, log_x, -tf.ones_like(log_x)))
    small = tf.where(is_large, -tf.ones_like(log_x), log_x)
    return tf.where(is_large, safe_log(rest), tf.math.log1p(-tf.exp(small)))


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp a + exp b)``, ``-inf`` of both included."""
    return logsumexp(tf.stack([a + tf.zeros_like(b), b + tf.zeros_like(a)]), axis=0)


def minus_infinity(like: Tensor) -> Tensor:
    """Returns ``-inf`` as a scalar of the dtype of `like`."""
    return tf.constant(-np.inf, dtype=like.dtype)


def finite_max(log_x: Tensor, axis: int) -> Tensor:
    """Maximum along `axis` (kept), 0 where it is infinite; a constant to gradients."""
    maximum = tf.reduce_max(tf.stop_gradient(log_x), axis=axis, keepdims=True)
    return tf.where(is_finite(maximum), maximum, tf.zeros_like(maximum))


def logsumexp(log_x: Tensor, axis: int, keepdims: bool = False) -> Tensor:
    """``log sum exp``; where everything is ``-inf`` the gradient is zero, not NaN."""
    maximum = finite_max(log_x, axis)
    total = safe_log(tf.reduce_sum(tf.exp(log_x - maximum), axis, keepdims=True))
    result = total + maximum
    return result if keepdims else tf.squeeze(result, axis)


def softmax(log_x: Tensor, axis: int) -> Tensor:
    """Normalised ``exp(log_x)``; all zeros where everything is ``-inf``."""
    weights = tf.exp(log_x - finite_max(log_x, axis))
    return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis, keepdims=True))


def sum_to_shape_of(x: Tensor, like: Tensor, last_is_equal: bool = True) -> Tensor:
    """Sums the axes of `x` along which `like` was broadcast: a broadcast's gradient.

    `last_is_equal` says that the last axis, perhaps of unknown size, is none of them.
    """
    if x.shape.is_fully_defined() and x.shape == like.shape:
        return x
    num_extra = x.shape.rank - like.shape.rank
    if num_extra:
        x = tf.reduce_sum(x, list(range(num_extra)))
    known = x.shape[:-1]
    if last_is_equal and known.is_fully_defined() and known == like.shape[:-1]:
        return x
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(x), s1=tf.shape(like))
    x = tf.reduce_sum(x, axes, keepdims=True)
    return tf.ensure_shape(tf.reshape(x, tf.shape(like)), like.shape)
