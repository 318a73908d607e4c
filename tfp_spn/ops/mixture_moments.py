"""Moments of mixtures whose components may have infinite or undefined ones.

A component of weight zero does not count, whatever its moments are. Among the others
one infinite mean or variance makes that of the mixture infinite; undefined (NaN) ones,
and means of ``inf`` beside ``-inf``, make it undefined. Weights never meet an infinite
factor: averages are taken of finite terms, and of flags of what is not finite.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import is_finite

NUM_TERMS = 7


def finite_range(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Least and greatest finite value along an axis, which is kept.

    Where no value is finite, the least is the dtype's largest number and vice versa.
    """
    finite, dtype = is_finite(values), values.dtype
    low = tf.where(finite, values, tf.constant(dtype.max, dtype))
    high = tf.where(finite, values, tf.constant(dtype.min, dtype))
    return (
        tf.reduce_min(low, axis=axis, keepdims=True),
        tf.reduce_max(high, axis=axis, keepdims=True),
    )


def middle(low: Tensor, high: Tensor) -> Tensor:
    """Middle of a `finite_range`; 0 of an empty one."""
    return tf.where(low <= high, 0.5 * low + 0.5 * high, tf.zeros_like(low))


def moment_terms(mean: Tensor, variance: Tensor, center: Tensor) -> Tensor:
    """Terms of components, whose averages `moments_of_terms` takes.

    Args:
        mean: Means of the components, ``[..., D]``.
        variance: Their variances, ``[..., D]``.
        center: A point amid the means, lest large offsets cancel.

    Returns:
        float64 ``[..., 7 D]``.
    """
    zero = tf.zeros_like(mean) + tf.zeros_like(variance)  # batches may differ
    mean, variance = mean + zero, variance + zero
    offset = tf.where(is_finite(mean), mean, center) - center
    offset = tf.cast(offset, tf.float64)
    within = tf.where(is_finite(variance), variance, zero)
    flags = [
        mean == math.inf,
        mean == -math.inf,
        tf.math.is_nan(mean),
        variance == math.inf,
        tf.math.is_nan(variance),
    ]
    square = tf.cast(within, tf.float64) + tf.square(offset)
    return tf.concat([offset, square, *(tf.cast(f, tf.float64) for f in flags)], -1)


def moments_of_terms(average: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean less center, and variance, of averages of `moment_terms`.

    Args:
        average: Averages over the components, by weights that add up to 1.
        axis: The axis of the terms.

    Returns:
        Two tensors in which that axis has a seventh of its length.
    """
    offset, square, *flags = tf.split(average, NUM_TERMS, axis)
    up, down, is_nan, is_wide, is_vague = (flag > 0 for flag in flags)
    variance = tf.maximum(square - tf.square(offset), tf.zeros_like(square))
    infinity, nan = (tf.constant(x, average.dtype) for x in (math.inf, math.nan))
    offset = tf.where(up, infinity, tf.where(down, -infinity, offset))
    variance = tf.where(up | down | is_wide, infinity, variance)
    is_undefined = is_nan | (up & down)
    return (
        tf.where(is_undefined, nan, offset),
        tf.where(is_undefined | is_vague, nan, variance),
    )
