"""Scaling by powers of two: exact in floating point, and free of logarithms."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor

_FORMATS = {  # dtype: (integer of the same size, bits of the mantissa, bias)
    tf.float32: (tf.int32, 23, 127),
    tf.float64: (tf.int64, 52, 1023),
}


def rescaled(units: Tensor) -> tuple[Tensor, Tensor]:
    """`units`, brought to a maximum between 1/2 and 1, and what was taken out.

    Args:
        units: Non-negative ``[..., R, K, N]``.

    Returns:
        ``units / 2^e [..., R, K, N]`` and ``log 2^e [..., R, 1, N]``, float64. The
        scale is a constant to gradients. Where all units are zero they stay zero.
    """
    scale, log_scale = power_of_two_scale(units)
    return units * scale, log_scale


def power_of_two_scale(units: Tensor) -> tuple[Tensor, Tensor]:
    """The ``2^-e`` of `rescaled`, ``[..., R, 1, N]``, and ``log 2^e`` in float64."""
    integer, num_bits, bias = _FORMATS[units.dtype]
    maximum = tf.reduce_max(tf.stop_gradient(units), axis=-2, keepdims=True)
    tiny = np.finfo(units.dtype.as_numpy_dtype).tiny
    bits = tf.bitcast(tf.maximum(maximum, tiny), integer)
    shift = tf.constant(num_bits, integer)
    biased = tf.bitwise.right_shift(bits, shift)
    exponent = biased - (bias - 1)
    scale = tf.bitcast(tf.bitwise.left_shift(bias - exponent, shift), units.dtype)
    log_scale = tf.cast(exponent, tf.float64) * math.log(2.0)
    return scale, log_scale
