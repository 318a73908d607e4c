"""The examples of a downward pass: each has parameters, and perhaps evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import move_axis


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
        if not num_batch:
            return tf.gather(table, index)
        num_rows, tail = tf.shape(table)[num_batch], table.shape[num_batch + 1 :]
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
        if num_batch == 0 and self.batch_rank == 0 and len(regions.shape) == 1:
            is_static = isinstance(regions, np.ndarray)
            if not (is_static and np.array_equal(regions, np.arange(num_regions))):
                values = tf.gather(values, regions)
            if self.num_evidence is None:
                return values
            copies = self.count // tf.maximum(self.num_evidence, 1)
            return tf.tile(values, tf.stack([1, 1, copies]))
        num_evidence = tf.shape(values)[-1]
        example = tf.range(self.total, dtype=tf.int32)
        index = as_columns(regions)  # [A, M]
        if self.batch_rank:
            values = self._over_batch(values, num_batch)
            example = tf.math.floormod(example, tf.maximum(self.count, 1))
            index += self.member * num_regions
        if self.num_evidence is not None:
            example = tf.math.floormod(example, tf.maximum(num_evidence, 1))
        unit = tf.range(num_units)[:, tf.newaxis]
        index = index[:, tf.newaxis] * num_units + unit  # [A, I, M]
        return tf.gather(tf.reshape(values, [-1]), index * num_evidence + example)

    def unflatten(self, values: Tensor) -> Tensor:
        """``[M, V, D]`` to ``[N, ..., V, D]``."""
        event = values.shape[1:]
        shape = tf.concat([self.batch_shape, [self.count], tf.shape(values)[1:]], 0)
        b = self.batch_rank
        values = tf.reshape(values, shape)
        values = move_axis(values, b, 0)
        return tf.ensure_shape(values, [None] * (b + 1) + event.as_list())

    def _over_batch(self, table: Tensor, num_batch: int) -> Tensor:
        """Broadcasts a table to the whole batch of the parameters."""
        event = tf.shape(table)[num_batch:]
        shape = table.shape[num_batch:]
        table = tf.broadcast_to(table, tf.concat([self.batch_shape, event], 0))
        return tf.ensure_shape(table, [None] * self.batch_rank + shape.as_list())


def as_columns(regions: np.ndarray | Tensor) -> Tensor:
    """``[A]`` or ``[A, M]`` to a tensor that broadcasts to ``[A, M]``."""
    regions = tf.convert_to_tensor(regions, tf.int32)
    return regions[:, tf.newaxis] if regions.shape.rank == 1 else regions
