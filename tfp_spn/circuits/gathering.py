"""The inputs of a step: picking regions from values, and merging partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.program import Gather, Step
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.long_sums import long_sum
from tfp_spn.ops.products import hadamard, kronecker, log_hadamard, log_kronecker
from tfp_spn.ops.regions import (
    add_regions,
    multiply_regions,
    take_regions,
    take_units,
)

_MAX_ADDED = 8
"""So few logarithms are added as they are; sums of more are made in float64."""

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
    source = _source_of_parts(step)
    if source is not None:
        return tf.split(read(source), len(step.factors), axis=-3)
    return [gather_regions(gather, read, blank) for gather in step.factors]


def add_factors(step: Step, read: Read) -> Tensor:
    """The sum of a step's factors, their offsets for example; float64 of many."""
    source, count = _source_of_parts(step), len(step.factors)
    if count <= _MAX_ADDED:
        return log_hadamard(gather_factors(step, read))
    if source is not None:
        return long_sum(split_partitions(read(source), count), -4, tf.float64)
    return log_hadamard([tf.cast(f, tf.float64) for f in gather_factors(step, read)])


def gather_log_products(
    step: Step, read: Read, read_offset: Read
) -> tuple[Tensor, Tensor]:
    """Logarithms of the products of all partitions, and what they are relative to.

    Args:
        step: The step.
        read: Gives logarithms ``[..., R, K, N]``, relative to an offset.
        read_offset: Gives that, float64 ``[..., R, 1, N]``.
    """
    log_x, offset = gather_products(step, read, True), add_factors(step, read_offset)
    dtype = read(step.factors[0].sources[0]).dtype
    if log_x.dtype != dtype:  # large, until the units' common share is out of it
        maximum = finite_max(log_x, -2)
        log_x, offset = tf.cast(log_x - maximum, dtype), offset + maximum
    return log_x, offset


def chosen_units(step: Step, factors: Sequence[Tensor]) -> list[Tensor]:
    """Those of a step's factors that its products multiply, in their order."""
    if step.factor_units is None:
        return list(factors)
    return [take_units(f, u) for f, u in zip(factors, step.factor_units, strict=True)]


def gather_products(step: Step, read: Read, is_log: bool) -> Tensor:
    """The products of all partitions of a step, or their logarithms.

    Logarithms of products of many factors are float64, see `gather_log_products`.

    Args:
        step: The step.
        read: Gives units, or their logarithms.
        is_log: Whether it gives logarithms.
    """
    source = _source_of_windows(step)
    if source is not None:
        indices = [gather.index for gather in step.factors]
        if is_log:
            return add_regions(read(source), indices)
        return multiply_regions(read(source), indices)
    if is_log and step.product == "hadamard":
        return add_factors(step, read)
    return products_of(step, gather_factors(step, read, 0.0 if is_log else 1.0), is_log)


def products_of(step: Step, factors: Sequence[Tensor], is_log: bool) -> Tensor:
    """The products of a step's factors, or their logarithms."""
    factors = chosen_units(step, factors)
    if step.product == "kronecker":
        return log_kronecker(factors) if is_log else kronecker(factors)
    return log_hadamard(factors) if is_log else hadamard(factors)


def _source_of_parts(step: Step) -> int | None:
    """The value that the factors are equal parts of, one after another, if they are."""
    first, bounds = step.factors[0], [gather.bounds for gather in step.factors]
    sources = {gather.sources for gather in step.factors}
    if len(sources) > 1 or len(bounds) < 2 or None in bounds:
        return None
    size, count = first.sizes[0], len(first.index)
    is_whole = bounds == [(a, a + count) for a in range(0, size, count)]
    return first.sources[0] if is_whole else None


def _source_of_windows(step: Step) -> int | None:
    """The value that all factors are cells of, if they are not its contiguous parts."""
    sources = {gather.sources for gather in step.factors}
    if (
        step.product != "hadamard"
        or len(step.factors) < 2
        or len(sources) > 1
        or len(step.factors[0].sources) > 1
        or all(gather.bounds is not None for gather in step.factors)
    ):
        return None
    return step.factors[0].sources[0]


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
