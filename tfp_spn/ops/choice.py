"""Choosing one of many by weight: the elementary step of a downward pass."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.shared_functions import shared_function

_SHAPE, _SEED = tf.TensorSpec([None], tf.int32), tf.TensorSpec([2], tf.int32)

_MAX_TRIANGLE = 256
"""Cumulative sums over more than this are not taken by a matrix product."""


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
    weights = tf.exp(log_weights - finite_max(log_weights, -1))
    return index_of_quantile(tf.cumsum(weights, axis=-1), seed, axis=-1)


def cumulative_weights(weights: Tensor, axis: int) -> Tensor:
    """Sums of all weights up to each one.

    Args:
        weights: Non-negative; at least rank 2.
        axis: -1 or -2.
    """
    size = weights.shape[axis]
    if axis == -2 and size <= _MAX_TRIANGLE:
        # A product with a triangle is many times faster than a scan. Where a weight is
        # zero two rows add the same numbers in the same order: their sums are equal.
        triangle = tf.constant(np.tril(np.ones([size, size])), weights.dtype)
        batch = tf.concat([tf.shape(weights)[:-2], [size, size]], 0)
        return tf.matmul(tf.broadcast_to(triangle, batch), weights)
    return tf.cumsum(weights, axis=axis)


def index_of_quantile(cumulative: Tensor, seed: Tensor, axis: int) -> Tensor:
    """The first index at which cumulative weights exceed a random share of their total.

    There the weight is positive, also if rounding makes other sums decrease a little.

    Args:
        cumulative: `cumulative_weights` along `axis`.
        seed: int32 ``[2]``.
        axis: -1 or -2.

    Returns:
        int32, without `axis`; the last index if all weights are zero.
    """
    total = tf.reduce_max(cumulative, axis=axis, keepdims=True)
    # Uniform numbers are multiples of eps below one: the threshold is below the total.
    threshold = total * _uniform(total, seed)
    exceeds = tf.cast(cumulative > threshold, tf.float32)
    first = tf.argmax(exceeds, axis=axis, output_type=tf.int32)
    nothing = tf.squeeze(total, axis) <= 0
    return tf.where(nothing, cumulative.shape[axis] - 1, first)


def _uniform(like: Tensor, seed: Tensor) -> Tensor:
    """Uniform numbers below one, of the shape and dtype of a tensor.

    What makes a key of a seed is two dozen operations: each draw of a graph calls one
    function.
    """
    if tf.executing_eagerly():
        return _stateless_uniform(tf.shape(like), seed, like.dtype)
    function = shared_function(_stateless_uniform, _SHAPE, _SEED, like.dtype)
    return tf.ensure_shape(function(tf.shape(like), seed), like.shape)


def _stateless_uniform(shape: Tensor, seed: Tensor, dtype: tf.DType) -> Tensor:
    # Philox on every device and under XLA, whose own default is many times slower.
    return tf.random.stateless_uniform(shape, seed, dtype=dtype, alg="philox")


def best_index(log_weights: Tensor, axis: int = -1) -> Tensor:
    """The index of the largest value along an axis, the first one of equals."""
    return tf.argmax(log_weights, axis=axis, output_type=tf.int32)
