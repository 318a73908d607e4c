"""Picking regions or units by static index, and summing over the places that use them.

The adjoint of a general gather is a scatter, which is slow and, under XLA, sequential.
Here the index is known when the graph is built, so that it is a sum of gathers over the
few places that use a region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.custom_gradient import custom_gradient


def take_regions(value: Tensor, index: np.ndarray, blank: float = 0.0) -> Tensor:
    """``value[..., index, :, :]`` with a gradient that is not a scatter.

    Args:
        value: ``[..., R, K, N]``.
        index: int ``[J]``, static; -1 gives `blank`.
        blank: What a region that is not there holds.

    Returns:
        ``[..., J, K, N]``.
    """
    uses = places_of(index, value.shape[-3])

    @custom_gradient
    def forward(value: Tensor) -> tuple[Tensor, Callable]:
        result = gather_blank(value, index, -3, blank)
        return result, lambda flow: sum_over_uses(flow, uses)

    return forward(value)


def sum_over_uses(flow: Tensor, uses: np.ndarray, axis: int = -3) -> Tensor:
    """Sums what went to each region.

    Args:
        flow: What each place received, on `axis`.
        uses: int ``[R, uses]``: the places of each region, padded with -1.
        axis: -3, or -2 for units.
    """
    parts = [gather_blank(flow, column, axis) for column in uses.T]
    return tf.add_n(parts) if len(parts) > 1 else parts[0]


def gather_blank(
    value: Tensor, index: np.ndarray, axis: int, blank: float = 0.0
) -> Tensor:
    """`tf.gather` along a negative `axis`; an index of -1 gives `blank`.

    A range is a slice, which is not a copy where the axis is the first one.
    """
    start, count, size = int(index[0]), len(index), value.shape[axis]
    if start >= 0 and np.array_equal(index, np.arange(start, start + count)):
        if count == size:
            return value
        begin, sizes = [0] * value.shape.rank, [-1] * value.shape.rank
        begin[axis], sizes[axis] = start, count
        return tf.slice(value, begin, sizes)
    if np.any(index < 0):
        first = tf.gather(value, [0], axis=axis)
        fill = tf.fill(tf.shape(first), tf.cast(blank, value.dtype))
        value = tf.concat([value, fill], axis=axis)
        index = np.where(index < 0, size, index)
    return tf.gather(value, index, axis=axis)


def inverse_index(index: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """int32 ``[size]``: where each number stands in `index`; -1: nowhere."""
    place = np.full([size], -1, np.int32)
    place[index] = np.arange(len(index))
    return place


def places_of(index: np.ndarray, num_regions: int) -> np.ndarray:
    """Int ``[R, uses]``: where each region is used, padded with -1."""
    places: list[list[int]] = [[] for _ in range(num_regions)]
    for place, region in enumerate(index.tolist()):
        if region >= 0:
            places[region].append(place)
    width = max([1, *map(len, places)])
    table = np.full([num_regions, width], -1)
    for region, used in enumerate(places):
        table[region, : len(used)] = used
    return table
