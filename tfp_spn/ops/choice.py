"""Choosing one of many by weight: the elementary step of a downward pass."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max


def sample_index(log_weights: Tensor, seed: Tensor) -> Tensor:
    """Draws an index from the last axis with probability ``~ exp(log_weights)``.

    By inverting the distribution function: one uniform number a draw, and an index of
    weight zero is never drawn (unless all are zero, when the result is the last).

    Args:
        log_weights: ``[..., I]``, unnormalised.
        seed: int32 ``[2]``.

    Returns:
        int32 ``[...]``.
    """
    cumulative = tf.cumsum(tf.exp(log_weights - finite_max(log_weights, -1)), axis=-1)
    uniform = tf.random.stateless_uniform(
        tf.shape(cumulative)[:-1], seed, dtype=cumulative.dtype
    )
    threshold = (uniform * cumulative[..., -1])[..., tf.newaxis]
    passed = tf.reduce_sum(tf.cast(cumulative <= threshold, tf.int32), axis=-1)
    return tf.minimum(passed, log_weights.shape[-1] - 1)


def best_index(log_weights: Tensor) -> Tensor:
    """The index of the largest value along the last axis, the first one of equals."""
    return tf.argmax(log_weights, axis=-1, output_type=tf.int32)
