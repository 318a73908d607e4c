"""Reading the regions that a step multiplies, and the shapes of partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import merge_axes, reshape_axes
from tfp_spn.ops.regions import gather_blank
from tfp_spn.programs.steps import Gather

Read = Callable[[int, np.ndarray, float], Tensor]
"""Gives regions of a value, by its number and theirs, and what -1 stands for."""


def gather_regions(gather: Gather, read: Read, blank: float = 0.0) -> Tensor:
    """The regions that `gather` names; `blank` where it names none.

    Of several values no more is copied than is read.
    """
    if len(gather.sources) == 1:
        return read(gather.sources[0], gather.index, blank)
    places = np.asarray(gather.places)  # [J, 2]
    parts, order = [], []
    for source in gather.sources:
        rows = np.flatnonzero(places[:, 0] == source)
        parts.append(read(source, places[rows, 1], blank))
        order.append(rows)
    missing = np.flatnonzero(places[:, 0] < 0)
    back = np.argsort(np.concatenate([*order, missing]))
    count = len(back) - len(missing)
    return gather_blank(
        concat_regions(parts), np.where(back < count, back, -1), -3, blank
    )


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
    return reshape_axes(value, -3, -2, [num_regions, value.shape[-3] // num_regions])


def merge_units(value: Tensor) -> Tensor:
    """``[..., R, H, K, N]`` to ``[..., R, H * K, N]``."""
    return merge_axes(value, -3, -1)


def split_units(value: Tensor, num_partitions: int) -> Tensor:
    """``[..., R, H * K, N]`` to ``[..., R * H, K, N]``."""
    if num_partitions == 1:
        return value
    sizes = [value.shape[-3] * num_partitions, value.shape[-2] // num_partitions]
    return reshape_axes(value, -3, -1, sizes)
