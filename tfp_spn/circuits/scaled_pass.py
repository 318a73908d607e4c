"""The fast upward pass: units in linear space, one scale per region and example.

    value[k] = units[k] exp(offset),    1/2 <= max_k units[k] < 1 after each sum

Products multiply, sums are one matrix product, and no unit sees an exponential or a
logarithm. Leaf values come as logarithms and stay so through Hadamard products, where
sums of logarithms lose nothing; they are exponentiated where a sum needs them.

Units too small for the dtype vanish. Whatever was lost since the last sum is below
``tiny`` in absolute terms, so that a sum of at least ``tiny / eps`` has lost nothing
that its rounding would have kept. The pass checks every sum and says whether it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.gathering import (
    add_factors,
    gather_factors,
    gather_log_products,
    gather_products,
    gather_regions,
    merge_units,
    products_of,
    read_together,
    split_partitions,
)
from tfp_spn.circuits.program import Program, Step, Tables
from tfp_spn.circuits.sums_in_turn import parts_of, sums_in_turn
from tfp_spn.ops.log_space import finite_max, safe_log
from tfp_spn.ops.matrix_products import weighted_units
from tfp_spn.ops.products import log_hadamard
from tfp_spn.ops.scaling import rescaled

_MAX_FACTORS = 4
"""Products of more factors are taken in log space, lest they vanish."""


@dataclass(frozen=True, eq=False)
class ScaledPass:
    """Results of the pass.

    Attributes:
        inputs: ``[..., R, I, N]`` of each step: what its sums range over, up to a
            factor per region and example.
        roots: ``log units [..., C, N]`` and their offset ``[..., 1, N]``.
        is_lossy: Scalar bool: whether digits may have been lost.
    """

    inputs: list[Tensor]
    roots: tuple[Tensor, Tensor]
    is_lossy: Tensor


class _Values:
    """Regions of one step, made as units or as logarithms and converted when read.

    Args:
        offset: float64 ``[..., R, 1, N]``.
        units: ``[..., R, K, N]`` relative to `offset`, or `None`.
        log: Their logarithms, or `None`.
        maximum: What is to be taken from `log` and is in `offset`: the largest
            logarithm of each region, ``[..., R, 1, N]``, or `None`.
        is_relative: Whether the largest of `log` is 0 already.
    """

    def __init__(
        self,
        offset: Tensor,
        units: Tensor | None = None,
        log: Tensor | None = None,
        maximum: Tensor | None = None,
        is_relative: bool = False,
    ) -> None:
        self.is_log = units is None
        self.is_relative = is_relative or maximum is not None
        self.log_offset = offset
        self.maximum = maximum
        self.raw_log = log
        self._log = log if maximum is None else None
        self._units = units
        self._offset = offset

    @property
    def log(self) -> Tensor:
        """Logarithms of the units, relative to `log_offset`."""
        if self._log is None and self.maximum is None:
            self._log = safe_log(self._units)
        elif self._log is None:
            self._log = tf.subtract(self.raw_log, self.maximum)
        return self._log

    @property
    def units(self) -> Tensor:
        """Units relative to `offset`."""
        if self._units is None and self.is_relative:
            self._units = tf.exp(self.log)
        elif self._units is None:
            maximum = finite_max(self._log, -2)
            self._units = tf.exp(self._log - maximum)
            self._offset += tf.cast(maximum, tf.float64)
        return self._units

    @property
    def offset(self) -> Tensor:
        """float64 ``[..., R, 1, N]``."""
        self.units  # noqa: B018 - settles the offset
        return self._offset


def scaled_pass(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    folded: Tensor | None = None,
    with_inputs: bool = False,
) -> ScaledPass:
    """Evaluates all steps.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        folded: If `leaves` are the result of `fold_batch`, its argument.
        with_inputs: Whether the inputs of all sums are wanted.
    """
    maximum = finite_max(leaves, -2)
    offset = tf.cast(maximum, tf.float64)
    values = [_Values(offset, log=leaves, maximum=maximum)]
    inputs, smallest = [], []
    for number, step in enumerate(program.steps):
        weights = tables.weights(number)
        parts = [] if with_inputs else _parts(program, step, values, weights)
        if weights is None:
            value = _products(step, values)
            inputs.append(tf.zeros([]))
        elif parts:
            value, least = _sums_in_turn(step, parts, values, weights)
            smallest.append(least)
        else:
            value = _products(step, values)
            inputs.append(value.units)
            sums = weighted_units(weights, value.units, folded)
            smallest.append(tf.reduce_min(tf.stop_gradient(sums)))
            units, log_scale = rescaled(sums)
            value = _Values(value.offset + log_scale, units)
        values.append(value)
    roots, offset, least = _roots(program, values)
    smallest.append(least)
    info = np.finfo(leaves.dtype.as_numpy_dtype)
    is_lossy = tf.reduce_min(tf.stack(smallest)) < info.tiny / info.eps
    return ScaledPass(inputs if with_inputs else [], (roots, offset), is_lossy)


def _products(step: Step, values: list[_Values]) -> _Values:
    """Products of all partitions of a step's regions, ``[..., R, I, N]``."""
    if _is_log(step, values):
        result, offset = gather_log_products(
            step, lambda n: values[n].log, lambda n: values[n].log_offset
        )
    else:
        result = gather_products(step, lambda n: values[n].units, False)
        offset = add_factors(step, lambda n: values[n].offset)
    return _by_region(step, values, result, offset)


def _is_log(step: Step, values: list[_Values]) -> bool:
    """Whether a step multiplies logarithms."""
    return step.product != "kronecker" and (
        len(step.factors) > _MAX_FACTORS
        or all(values[s].is_log for gather in step.factors for s in gather.sources)
    )


def _by_region(
    step: Step, values: list[_Values], result: Tensor, offset: Tensor
) -> _Values:
    """Products of all partitions to those of regions, each relative to one offset."""
    is_log = _is_log(step, values)
    if step.num_partitions > 1:
        by_partition = split_partitions(offset, step.num_regions)  # [..., R, H, 1, N]
        largest = tf.reduce_max(by_partition, axis=-3, keepdims=True)
        result = split_partitions(result, step.num_regions)
        log_scale = tf.cast(by_partition - largest, result.dtype)
        result = result + log_scale if is_log else result * tf.exp(log_scale)
        result, offset = merge_units(result), largest[..., 0, :, :]
    if is_log:
        read = [values[s] for gather in step.factors for s in gather.sources]
        is_same = len(step.factors) == step.num_partitions == 1  # sums of the leaves
        is_same &= step.factor_units is None
        is_relative = is_same and all(value.is_relative for value in read)
        return _Values(offset, log=result, is_relative=is_relative)
    return _Values(offset, units=result)


def _parts(
    program: Program, step: Step, values: list[_Values], weights: Tensor | None
) -> list[Step]:
    """A wide step's parts; none where products are kept, as for batches of circuits."""
    if weights is None:
        return []
    sources = {source for gather in step.factors for source in gather.sources}
    ranks = {values[source].log_offset.shape.rank for source in sources}
    if ranks | {weights.shape.rank} != {3}:
        return []
    parts = parts_of(step)
    return parts if program.recompute or len(parts) > 1 else []


def _sums_in_turn(
    step: Step, parts: list[Step], values: list[_Values], weights: Tensor
) -> tuple[_Values, Tensor]:
    is_log = _is_log(step, values)
    read_sources = [values[s] for gather in step.factors for s in gather.sources]
    is_raw = is_log and all(value.maximum is not None for value in read_sources)

    def read(number: int) -> Tensor:
        value = values[number]
        if is_raw:
            return value.raw_log
        return value.log if is_log else value.units

    def multiply(part: Step, factors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        if is_raw:
            maxima = gather_factors(part, lambda n: values[n].maximum)
            factors = [f - m for f, m in zip(factors, maxima, strict=True)]
        offsets = gather_factors(
            part, lambda n: values[n].log_offset if is_log else values[n].offset
        )
        result = products_of(part, factors, is_log)
        value = _by_region(part, values, result, log_hadamard(offsets))
        return value.units, value.offset

    units, offset, least = sums_in_turn(
        step,
        parts,
        lambda group: read_together(group, read),
        0.0 if is_log else 1.0,
        multiply,
        weights,
    )
    return _Values(offset, units), least


def _roots(program: Program, values: list[_Values]) -> tuple[Tensor, Tensor, Tensor]:
    """Log units of the roots, their offset, and the smallest uncertain unit."""
    sources = [values[source] for source in program.root.sources]
    uncertain = [value.units for value in sources if not value.is_log]
    least = [tf.reduce_min(tf.stop_gradient(units)) for units in uncertain]
    roots = gather_regions(program.root, lambda n: values[n].log)
    offset = gather_regions(program.root, lambda n: values[n].log_offset)
    largest = tf.reduce_max(offset, axis=-3, keepdims=True)
    roots += tf.cast(offset - largest, roots.dtype)
    at_least = tf.reduce_min(tf.stack([*least, tf.constant(np.inf, roots.dtype)]))
    return merge_units(roots), largest[..., 0, :, :], at_least
