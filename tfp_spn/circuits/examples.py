"""Between a user's tensors and the kernel's layout.

A user's value is ``S + P + event``: sample dimensions, batch dimensions of the
parameters (each 1 or as large as theirs, missing ones are 1), event. The kernel's is
``P + [V, D, N]`` with all of ``S`` flattened to ``N`` examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor


@dataclass(frozen=True, eq=False)
class Evidence:
    """Values and which of them count, in the kernel's layout.

    Attributes:
        x: ``[..., V, D, N]``.
        observed: bool ``[..., V, N]``, or `None` when all values count.
        sample_shape: int32 tensor: what ``N`` was flattened from.
        static_sample_shape: The same as far as it is known.
    """

    x: Tensor
    observed: Tensor | None
    sample_shape: Tensor
    static_sample_shape: tf.TensorShape

    def restore(self, value: Tensor) -> Tensor:
        """``P + event + [N]`` to ``S + P + event``."""
        rank = value.shape.rank
        value = tf.transpose(value, [rank - 1, *range(rank - 1)])
        shape = tf.concat([self.sample_shape, tf.shape(value)[1:]], 0)
        static = self.static_sample_shape.concatenate(value.shape[1:])
        return tf.ensure_shape(tf.reshape(value, shape), static)


def to_evidence(
    value: Tensor,
    observed: Tensor | None,
    event_ndims: int,
    batch_rank: int,
    num_time_axes: int = 0,
) -> Evidence:
    """Brings a value (already of the parameters' dtype) into the kernel's layout.

    Args:
        value: ``S + P + [V]``, ``S + P + [V, D]`` or ``S + P + [height, width, D]``.
        observed: bool, ``S + P + [V]`` (or ``S + P + [height, width]``) with the
            leading shape of `value`, or `None`.
        event_ndims: 1, 2 or 3.
        batch_rank: Number of batch dimensions ``P``.
        num_time_axes: 1 if values and masks have an axis of steps before the event's.
    """
    if event_ndims == 1:
        value = value[..., tf.newaxis]
    if event_ndims == 3:
        value = merge_axes(value, 3)
        observed = None if observed is None else merge_axes(observed, 2)
    x, sample_shape, static = _examples_last(value, 2 + num_time_axes, batch_rank)
    if observed is not None:
        observed, _, _ = _examples_last(observed, 1 + num_time_axes, batch_rank)
    return Evidence(x, observed, sample_shape, static)


def merge_axes(value: Tensor, place: int) -> Tensor:
    """Merges the last axis but ``place - 1`` and the one behind it: rows of pixels."""
    first = value.shape.rank - place
    shape, static = tf.shape(value), value.shape
    count = static[first] * static[first + 1]
    merged = tf.concat([shape[:first], [count], shape[first + 2 :]], 0)
    known = static[:first].concatenate([count]).concatenate(static[first + 2 :])
    return tf.ensure_shape(tf.reshape(value, merged), known)


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
        lead = tf.get_static_value(count) if not isinstance(count, int) else count
        value = tf.ensure_shape(flat, [lead, *value.shape[num_sample:]])
    return tf.transpose(value, [*range(1, value.shape.rank), 0]), sample_shape, static


@dataclass(frozen=True, eq=False)
class Examples:
    """The axis of a downward pass: ``M = P * N`` examples, the batch the slower index.

    Attributes:
        batch_shape: int32 tensor: batch ``P`` of parameters, possibly empty.
        batch_rank: Its static length.
        count: Scalar int32: examples ``N`` per batch member.
        num_evidence: Scalar int32: examples of the evidence, which the ``N`` go through
            over and over; `None` when there is as much evidence.
    """

    batch_shape: Tensor
    batch_rank: int
    count: Tensor
    num_evidence: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """``M``."""
        return tf.reduce_prod(self.batch_shape) * self.count

    @property
    def member(self) -> Tensor:
        """int32 ``[M]``: which parameters each example has."""
        return tf.range(self.total, dtype=tf.int32) // tf.maximum(self.count, 1)

    def rows(self, table: Tensor, rank: int, index: Tensor) -> Tensor:
        """Rows ``[J, M, ...]`` of ``table [..., J', ...]`` by ``index [J, M]``.

        `rank` is the rank of one circuit's table; `index` counts its first axis.
        """
        num_batch = table.shape.rank - rank
        num_rows, tail = tf.shape(table)[num_batch], table.shape[num_batch + 1 :]
        if num_batch:
            table = self._over_batch(table, num_batch)
            index = index + self.member * num_rows
        return tf.gather(tf.reshape(table, [-1, *tail]), index)

    def evidence(self, values: Tensor, regions: np.ndarray | Tensor) -> Tensor:
        """What regions hold for each example, ``[A, I, M]``.

        Args:
            values: ``[..., R, I, N]``, with examples of the evidence.
            regions: ``[A]``, or another choice for each example, ``[A, M]``.
        """
        num_batch = values.shape.rank - 3
        num_regions, num_units = values.shape[-3], values.shape[-2]
        if num_batch == 0 and self.batch_rank == 0 and isinstance(regions, np.ndarray):
            if not np.array_equal(regions, np.arange(num_regions)):
                values = tf.gather(values, regions)
            if self.num_evidence is None:
                return values
            copies = self.count // tf.maximum(self.num_evidence, 1)
            return tf.tile(values, tf.stack([1, 1, copies]))
        values = self._over_batch(values, num_batch)
        num_evidence = tf.shape(values)[-1]
        example = tf.range(self.total, dtype=tf.int32)
        example = tf.math.floormod(example, tf.maximum(self.count, 1))
        example = tf.math.floormod(example, tf.maximum(num_evidence, 1))
        index = self.member * num_regions + as_columns(regions)  # [A, M]
        unit = tf.range(num_units)[:, tf.newaxis]
        index = index[:, tf.newaxis] * num_units + unit  # [A, I, M]
        return tf.gather(tf.reshape(values, [-1]), index * num_evidence + example)

    def unflatten(self, values: Tensor) -> Tensor:
        """``[M, V, D]`` to ``[N, ..., V, D]``."""
        event = values.shape[1:]
        shape = tf.concat([self.batch_shape, [self.count], tf.shape(values)[1:]], 0)
        b = self.batch_rank
        values = tf.reshape(values, shape)
        values = tf.transpose(values, [b, *range(b), b + 1, b + 2])
        return tf.ensure_shape(values, [None] * (b + 1) + event.as_list())

    def _over_batch(self, table: Tensor, num_batch: int) -> Tensor:
        event = tf.shape(table)[num_batch:]
        shape = table.shape[num_batch:]
        table = tf.broadcast_to(table, tf.concat([self.batch_shape, event], 0))
        return tf.ensure_shape(table, [None] * self.batch_rank + shape.as_list())


def as_columns(regions: np.ndarray | Tensor) -> Tensor:
    """``[A]`` or ``[A, M]`` to a tensor that broadcasts to ``[A, M]``."""
    regions = tf.convert_to_tensor(regions, tf.int32)
    return regions[:, tf.newaxis] if regions.shape.rank == 1 else regions
