"""Reading the regions that a step multiplies, and the shapes of partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.program import Gather
from tfp_spn.ops.regions import gather_blank

Read = Callable[[int], Tensor]
"""Gives the value of a number: 0 for the leaf regions, then those of the steps."""


def gather_regions(gather: Gather, read: Read, blank: float = 0.0) -> Tensor:
    """The regions that `gather` names; `blank` where it names none.

    Of several values no more is copied than is read.
    """
    if len(gather.sources) == 1:
        return gather_blank(read(gather.sources[0]), gather.index, -3, blank)
    places = np.asarray(gather.places)  # [J, 2]
    parts, order = [], []
    for source in gather.sources:
        rows = np.flatnonzero(places[:, 0] == source)
        parts.append(gather_blank(read(source), places[rows, 1], -3))
        order.append(rows)
    missing = np.flatnonzero(places[:, 0] < 0)
    back = np.argsort(np.concatenate([*order, missing]))
    count = len(back) - len(missing)
    return gather_blank(
        concat_regions(parts), np.where(back < count, back, -1), -3, blank
    )


def split_factors(factors: Sequence[Gather], read: Read, blank: float) -> list[Tensor]:
    """The children of each factor; halves of one value where that is what they are."""
    bounds = [gather.bounds for gather in factors]
    sources = {gather.sources for gather in factors}
    if len(sources) == 1 and len(bounds) > 1 and None not in bounds:
        size, count = factors[0].sizes[0], len(factors[0].index)
        if bounds == [(a, a + count) for a in range(0, size, count)]:
            return tf.split(read(factors[0].sources[0]), len(bounds), axis=-3)
    return [gather_regions(gather, read, blank) for gather in factors]


def concat_regions(values: Sequence[Tensor]) -> Tensor:
    """Concatenates along the region axis; other leading axes broadcast."""
    if len(values) == 1:
        return values[0]
    batches = [value.shape[:-3] for value in values]
    if any(batch != batches[0] for batch in batches):
        shape = tf.shape(values[0])[:-3]
        for value in values[1:]:
            shape = tf.broadcast_dynamic_shape(shape, tf.shape(value)[:-3])
        values = [
            tf.broadcast_to(value, tf.concat([shape, tf.shape(value)[-3:]], 0))
            for value in values
        ]
    return tf.concat(values, axis=-3)


def split_partitions(value: Tensor, num_regions: int) -> Tensor:
    """``[..., R * H, K, N]`` to ``[..., R, H, K, N]``."""
    batch, tail = tf.shape(value)[:-3], tf.shape(value)[-2:]
    count = value.shape[-3] // num_regions
    result = tf.reshape(value, tf.concat([batch, [num_regions, count], tail], 0))
    static = value.shape[:-3].concatenate([num_regions, count, *value.shape[-2:]])
    return tf.ensure_shape(result, static)


def merge_units(value: Tensor) -> Tensor:
    """``[..., R, H, K, N]`` to ``[..., R, H * K, N]``."""
    batch, last = tf.shape(value)[:-3], tf.shape(value)[-1:]
    count = value.shape[-3] * value.shape[-2]
    result = tf.reshape(value, tf.concat([batch, [count], last], 0))
    return tf.ensure_shape(
        result, value.shape[:-3].concatenate([count, value.shape[-1]])
    )


def split_units(value: Tensor, num_partitions: int) -> Tensor:
    """``[..., R, H * K, N]`` to ``[..., R * H, K, N]``."""
    if num_partitions == 1:
        return value
    batch, last = tf.shape(value)[:-3], tf.shape(value)[-1:]
    shape = [value.shape[-3] * num_partitions, value.shape[-2] // num_partitions]
    result = tf.reshape(value, tf.concat([batch, shape, last], 0))
    return tf.ensure_shape(
        result, value.shape[:-3].concatenate([*shape, value.shape[-1]])
    )
