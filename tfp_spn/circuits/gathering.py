"""The inputs of a step: picking regions from values, and merging partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.program import Gather, Step
from tfp_spn.ops.regions import take_regions, take_units

Read = Callable[[int], Tensor]
"""Gives the value of a number: 0 for the leaf regions, then those of the steps."""


def gather_regions(gather: Gather, read: Read, blank: float = 0.0) -> Tensor:
    """The regions that `gather` names; `blank` where it names none."""
    value = read_together(gather.sources, read)
    if gather.bounds == (0, gather.sizes[0]):
        return value
    return take_regions(value, gather.index, blank)


def read_together(sources: tuple[int, ...], read: Read) -> Tensor:
    """The regions of several values, one after another."""
    values = [read(source) for source in sources]
    return values[0] if len(values) == 1 else concat_regions(values)


def gather_factors(step: Step, read: Read, blank: float = 0.0) -> list[Tensor]:
    """The children of each factor; halves of one value where that is what they are."""
    bounds = [gather.bounds for gather in step.factors]
    sources = {gather.sources for gather in step.factors}
    if len(sources) == 1 and len(bounds) > 1 and None not in bounds:
        size, count = step.factors[0].sizes[0], len(step.factors[0].index)
        if bounds == [(a, a + count) for a in range(0, size, count)]:
            value = read(step.factors[0].sources[0])
            return tf.split(value, len(bounds), axis=-3)
    return [gather_regions(gather, read, blank) for gather in step.factors]


def gather_units(step: Step, read: Read, blank: float = 0.0) -> list[Tensor]:
    """The units of each factor that the products multiply, in their order."""
    return chosen_units(step, gather_factors(step, read, blank))


def chosen_units(step: Step, factors: Sequence[Tensor]) -> list[Tensor]:
    """Those of a step's factors that its products multiply, in their order."""
    if step.factor_units is None:
        return list(factors)
    return [take_units(f, u) for f, u in zip(factors, step.factor_units, strict=True)]


def concat_regions(values: list[Tensor]) -> Tensor:
    """Concatenates along the region axis; other leading axes broadcast."""
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
