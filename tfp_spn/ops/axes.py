"""Merging, splitting, moving and broadcasting axes, with static shapes kept.

Reshaping by a static shape is one operation; asking for the dynamic one takes several,
which every trace pays for. So sizes are static where they are known, with one unknown
size at the most left to be inferred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tfp_spn._typing import Tensor


def reshape_axes(
    value: Tensor, start: int, stop: int, sizes: Sequence[int | None]
) -> Tensor:
    """Replaces the axes ``start`` to ``stop - 1`` by axes of given sizes.

    Args:
        value: A tensor of known rank.
        start: The first axis to be replaced; negative ones are counted from the end.
        stop: The axis after the last one, likewise; 0 is the end.
        sizes: Static sizes of the new axes; one may be `None`: what the others leave.
    """
    rank = value.shape.rank
    start, stop = (
        start % rank if start < 0 else start,
        stop + rank if stop <= 0 else stop,
    )
    lead, tail = value.shape[:start].as_list(), value.shape[stop:].as_list()
    total = value.shape[start:stop].num_elements()
    others = math.prod(size for size in sizes if size is not None)
    if total is not None and others:
        sizes = [total // others if size is None else size for size in sizes]
    static = [*lead, *sizes, *tail]
    unknown = [axis for axis, size in enumerate(static) if size is None]
    known = math.prod(size for size in static if size is not None)
    if len(unknown) <= 1 and known:
        return tf.reshape(value, [-1 if size is None else size for size in static])
    shape = tf.shape(value)
    if None in sizes:
        rest = tf.reduce_prod(shape[start:stop]) // max(others, 1)
        sizes = [rest if size is None else size for size in sizes]
    new = tf.concat([shape[:start], tf.cast(sizes, tf.int32), shape[stop:]], 0)
    return tf.ensure_shape(tf.reshape(value, new), static)


def merge_axes(value: Tensor, start: int, stop: int) -> Tensor:
    """Merges the axes ``start`` to ``stop - 1`` into one."""
    return reshape_axes(value, start, stop, [None])


def move_axis(value: Tensor, source: int, destination: int) -> Tensor:
    """Moves an axis to another place; negative ones are counted from the end.

    Args:
        value: A tensor of known rank.
        source: The axis.
        destination: Where it is in the result.
    """
    order = list(range(value.shape.rank))
    order.insert(destination % value.shape.rank, order.pop(source))
    return transpose(value, order)


def transpose(value: Tensor, order: Sequence[int]) -> Tensor:
    """`tf.transpose`, which complains of bools on CPUs without AVX-512."""
    if [*order] == [*range(value.shape.rank)]:
        return value
    if value.dtype != tf.bool:
        return tf.transpose(value, order)
    # A cast would not do: TensorFlow moves it behind the transposition.
    return tf.transpose(tf.where(value, 1.0, 0.0), order) > 0.5


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table, whose leading axes and those of `index` broadcast.

    Args:
        table: ``[..., G, K]``.
        index: int32 ``[..., N]``.

    Returns:
        ``[..., N, K]``.
    """
    batch = tf.broadcast_dynamic_shape(tf.shape(table)[:-2], tf.shape(index)[:-1])
    static = tf.broadcast_static_shape(table.shape[:-2], index.shape[:-1])

    def spread(value: Tensor, ndims: int) -> Tensor:
        shape = tf.concat([batch, tf.shape(value)[-ndims:]], 0)
        known = static.concatenate(value.shape[-ndims:])
        return tf.ensure_shape(tf.broadcast_to(value, shape), known)

    table, index = spread(table, 2), spread(index, 1)
    return tf.gather(table, index, axis=-2, batch_dims=index.shape.rank - 1)
