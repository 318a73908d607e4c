"""Picking regions or units by static index, with gradients that are gathers too.

The gradient of a general gather is a scatter, which is slow and, under XLA, sequential.
Here the index is known when the graph is built, so that the gradient of a region is a
sum over the few places that use it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor


def take_regions(value: Tensor, index: np.ndarray, blank: float = 0.0) -> Tensor:
    """``value[..., index, :, :]``; an index of -1 gives `blank`.

    Args:
        value: ``[..., R, K, N]``.
        index: int ``[J]``, static.
        blank: What a region that is not there holds.

    Returns:
        ``[..., J, K, N]``.
    """
    return _take(value, index, -3, blank)


def take_units(value: Tensor, index: np.ndarray) -> Tensor:
    """``value[..., index, :]``.

    Args:
        value: ``[..., K, N]``.
        index: int ``[J]``, static.

    Returns:
        ``[..., J, N]``.
    """
    return _take(value, index, -2)


def _take(value: Tensor, index: np.ndarray, axis: int, blank: float = 0.0) -> Tensor:
    uses = places_of(index, value.shape[axis])

    @tf.custom_gradient
    def forward(value: Tensor) -> tuple[Tensor, Callable]:
        def backward(flow: Tensor) -> Tensor:
            parts = [gather_blank(flow, column, axis) for column in uses.T]
            return tf.add_n(parts) if len(parts) > 1 else parts[0]

        return gather_blank(value, index, axis, blank), backward

    return forward(value)


def gather_blank(
    value: Tensor, index: np.ndarray, axis: int, blank: float = 0.0
) -> Tensor:
    """`tf.gather` along `axis`; an index of -1 gives `blank`."""
    if np.any(index < 0):
        size, first = value.shape[axis], tf.gather(value, [0], axis=axis)
        fill = tf.fill(tf.shape(first), tf.cast(blank, value.dtype))
        value = tf.concat([value, fill], axis=axis)
        index = np.where(index < 0, size, index)
    return tf.gather(value, index, axis=axis)


def places_of(index: np.ndarray, num_regions: int) -> np.ndarray:
    """Int ``[R, U]``: where each region is used, padded with -1."""
    places: list[list[int]] = [[] for _ in range(num_regions)]
    for place, region in enumerate(index.tolist()):
        if region >= 0:
            places[region].append(place)
    width = max(1, *(len(p) for p in places)) if places else 1
    table = np.full([num_regions, width], -1)
    for region, used in enumerate(places):
        table[region, : len(used)] = used
    return table
