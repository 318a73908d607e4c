"""How a user's values and masks become evidence in the kernel's layout.

A user's value is ``S + P + event``: sample dimensions, batch dimensions of the
parameters (each 1 or as large as theirs, missing ones are 1), event. The kernel's is
``P + [V, D, N]`` with all of ``S`` flattened to ``N`` examples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence as Evidence
from tfp_spn.ops.axes import merge_axes, transpose

if TYPE_CHECKING:
    from tfp_spn.layers.leaves.layout import LeafLayout


def to_evidence(
    value: Tensor,
    observed: Tensor | None,
    event_ndims: int,
    batch_rank: int,
    num_time_axes: int = 0,
    bounded: Tensor | None = None,
) -> Evidence:
    """Brings a value (already of the parameters' dtype) into the kernel's layout.

    Args:
        value: ``S + P + [V]``, ``S + P + [V, D]`` or ``S + P + [height, width, D]``.
        observed: bool, ``S + P + [V]`` (or ``S + P + [height, width]``) with the
            leading shape of `value`, or `None`.
        event_ndims: 1, 2 or 3.
        batch_rank: Number of batch dimensions ``P``.
        num_time_axes: 1 if values and masks have an axis of steps before the event's.
        bounded: bool of the shape of `observed`, or `None`: see `Evidence`.
    """
    if event_ndims == 1:
        value = value[..., tf.newaxis]
    if event_ndims == 3:
        value = merge_pixels(value, 3)
    x, sample_shape, static = _examples_last(value, 2 + num_time_axes, batch_rank)

    def in_layout(mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        mask = merge_pixels(mask, 2) if event_ndims == 3 else mask
        return _examples_last(mask, 1 + num_time_axes, batch_rank)[0]

    return Evidence(x, in_layout(observed), sample_shape, static, in_layout(bounded))


def nothing_known(
    layout: LeafLayout, batch_rank: int, dtype: tf.DType, num_steps: int | None = None
) -> Evidence:
    """Evidence of one example of which nothing is known, perhaps of a sequence."""
    lead = [1] * batch_rank + ([] if num_steps is None else [num_steps])
    x = tf.zeros([*lead, layout.num_variables, layout.num_dims, 1], dtype)
    observed = tf.zeros([*lead, layout.num_variables, 1], tf.bool)
    return Evidence(x, observed, tf.zeros([0], tf.int32), tf.TensorShape([]))


def merge_pixels(value: Tensor, place: int) -> Tensor:
    """Merges the axes of rows and columns; rows are the `place`-th axis from behind."""
    return merge_axes(value, -place, 2 - place)


def _examples_last(
    value: Tensor, event_ndims: int, batch_rank: int
) -> tuple[Tensor, Tensor, tf.TensorShape]:
    """``S + P + event`` to ``P + event + [N]``, and ``S`` in both forms."""
    missing = batch_rank + event_ndims - value.shape.rank
    for _ in range(max(missing, 0)):
        value = value[tf.newaxis]
    num_sample = value.shape.rank - batch_rank - event_ndims
    static = value.shape[:num_sample]
    count = math.prod(static) if static.is_fully_defined() else -1
    tail = tf.shape(value)[num_sample:]
    sample_shape = tf.shape(value)[:num_sample]
    if num_sample != 1:
        if count == -1:
            count = tf.reduce_prod(sample_shape)
        flat = tf.reshape(value, tf.concat([[count], tail], 0))
        lead = count if isinstance(count, int) else None
        value = tf.ensure_shape(flat, [lead, *value.shape[num_sample:]])
    return transpose(value, [*range(1, value.shape.rank), 0]), sample_shape, static
