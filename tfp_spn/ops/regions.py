"""Picking regions by static index, with gradients that are gathers too.

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
    num_regions = value.shape[-3]
    uses = _places_of(index, num_regions)

    @tf.custom_gradient
    def forward(value: Tensor) -> tuple[Tensor, Callable]:
        def backward(flow: Tensor) -> Tensor:
            parts = [_gather(flow, column) for column in uses.T]
            return tf.add_n(parts) if len(parts) > 1 else parts[0]

        return _gather(value, index, blank), backward

    return forward(value)


def _gather(value: Tensor, index: np.ndarray, blank: float = 0.0) -> Tensor:
    if np.any(index < 0):
        fill = tf.fill(tf.shape(value[..., :1, :, :]), tf.cast(blank, value.dtype))
        value = tf.concat([value, fill], axis=-3)
        index = np.where(index < 0, value.shape[-3] - 1, index)
    return tf.gather(value, index, axis=-3)


def _places_of(index: np.ndarray, num_regions: int) -> np.ndarray:
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
