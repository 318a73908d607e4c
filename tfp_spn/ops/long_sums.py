"""Sums of many terms, in parts: no term is rounded once for each one after it.

One after another, ``n`` terms of one sign lose up to ``n / 2`` units in the last place
of their sum: whole nats, where a product has tens of thousands of factors.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import reshape_axes

MAX_TERMS = 128
"""So many terms TensorFlow may add by one operation, in whatever order."""


def add_pairwise(terms: Sequence[Tensor]) -> Tensor:
    """The sum of the terms: of pairs, of pairs of pairs, and so on."""
    terms = list(terms)
    while len(terms) > 1:
        last = terms[-1:] if len(terms) % 2 else []
        terms = [a + b for a, b in zip(terms[:-1:2], terms[1::2], strict=True)] + last
    return terms[0]


def long_sum(values: Tensor, axis: int, dtype: tf.DType | None = None) -> Tensor:
    """`tf.reduce_sum` along an axis of known size; its parts are added in float64.

    Args:
        values: A tensor.
        axis: The axis, counted from behind.
        dtype: Dtype of the result. Default: that of `values`.

    Returns:
        The sum, without the axis.
    """
    dtype = dtype or values.dtype
    if values.shape[axis] <= MAX_TERMS:
        return tf.cast(tf.reduce_sum(values, axis), dtype)
    parts = tf.reduce_sum(in_parts(values, axis), axis)
    return tf.cast(tf.reduce_sum(tf.cast(parts, tf.float64), axis), dtype)


def in_parts(values: Tensor, axis: int) -> Tensor:
    """Cuts ``[..., terms, ...]`` into ``[..., parts, few, ...]``, zeros at the end.

    Args:
        values: A tensor.
        axis: The axis of the terms, of known size, counted from the end.
    """
    size, place = values.shape[axis], values.shape.rank + axis
    num_parts = max(1, -(-size // MAX_TERMS))
    missing = -size % num_parts
    if missing:
        end = [[0, missing if a == place else 0] for a in range(values.shape.rank)]
        values = tf.pad(values, end)
    split = [num_parts, (size + missing) // num_parts]
    return reshape_axes(values, place, place + 1, split)
