"""The regions of a step in the upward pass, and what has been taken out of them.

A region's units stand near one, and the logarithm of the rest beside them. The rest
counts where partitions of one region are compared, and at the roots.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.regions import gather_blank
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.gathering import (
    concat_regions,
    gather_regions,
    merge_units,
    split_partitions,
)
from tfp_spn.programs.routing import OffsetTable

_MAX_GATHERED = 16
"""Sums of more rows are a matrix product."""

MAX_MATRIX = 2**18
"""Sums of rows are a matrix product up to this size of the matrix."""

LogScales = Sequence[Tensor | None]
"""Logarithms ``[..., R, 1, N]`` of what was taken out of each value's regions."""


class Source(Protocol):
    """From where a value's regions may be read."""

    def units_of(self, index: np.ndarray, blank: float) -> Tensor:
        """See `Value.units_of`."""

    def logs_of(self, index: np.ndarray, blank: float) -> Tensor:
        """See `Value.logs_of`."""


@dataclass(eq=False)
class Value:
    """Regions of one step: ``units``, or ``exp(log)``, times what has been taken out.

    Attributes:
        log_scale: ``[..., R, 1, N]``: logarithm of what has been taken out below the
            region, and of the largest unit; `None`: nothing.
        units: ``[..., R, K, N]``, or `None`.
        log_max: ``[..., R, 1, N]``: logarithm of the largest of `units`, which is not
            taken out of them although `log_scale` says so; `None`: it is.
        log: ``[..., R, K, N]``, or `None`.
        is_relative: Whether the largest of `log` is 0 (if it is finite).
        source: Reads regions in place of this value's own tensors, which are equal but
            need not be made then.
    """

    log_scale: Tensor | None
    units: Tensor | None = None
    log_max: Tensor | None = None
    log: Tensor | None = None
    is_relative: bool = False
    source: Source | None = None

    @classmethod
    def of_leaves(cls, leaves: Tensor) -> Value:
        """Leaf regions, of their log-values."""
        maximum = finite_max(leaves, -2)
        return cls(maximum, log=leaves - maximum, is_relative=True)

    @property
    def is_log(self) -> bool:
        """Whether logarithms came first."""
        return self.units is None

    @property
    def regions(self) -> Tensor:
        """``[..., R, K, N]``: units or logarithms, whichever came first."""
        return self.log if self.is_log else self.units

    def units_of(self, index: np.ndarray, blank: float = 1.0) -> Tensor:
        """Units of some regions, largest 1 if logarithms came first."""
        if self.source is not None:
            return self.source.units_of(index, blank)
        return gather_blank(self.linear.units, index, -3, blank)

    def logs_of(self, index: np.ndarray, blank: float = 0.0) -> Tensor:
        """Logarithms of some regions without `log_max`, which products take out."""
        if self.source is not None:
            return self.source.logs_of(index, blank)
        if self.is_log:
            return gather_blank(self.log, index, -3, blank)
        return tf.math.log(gather_blank(self.units, index, -3, math.exp(blank)))

    @functools.cached_property
    def relative_log(self) -> Tensor:
        """Logarithms of the regions without what has been taken out."""
        if self.log is not None:
            return self.log
        log = tf.math.log(self.units)
        return log if self.log_max is None else log - self.log_max

    @functools.cached_property
    def linear(self) -> Value:
        """The same regions as units; its `log_scale` is what that takes out besides."""
        if self.log is None:
            return Value(None, self.units, self.log_max)
        if self.is_relative:
            return Value(None, tf.exp(self.log))
        maximum = finite_max(self.log, -2)
        return Value(maximum, tf.exp(self.log - maximum))


def rows_of(
    values: Mapping[int, Value] | Sequence[Value],
    name: str,
    number: int,
    index: np.ndarray,
    blank: float,
) -> Tensor:
    """An attribute of some regions: ``[..., J, 1, N]`` zeros where it is `None`."""
    value = values[number]
    rows = getattr(value, name)
    if rows is None:
        rows = tf.zeros_like(value.regions[..., :1, :])
    return gather_blank(rows, index, -3, blank)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Partitions of the same regions, relative to the largest of each region.

    Attributes:
        exponent: ``[..., J, 1, N]``: logarithm of each partition's factor, at most 0.
        offset: float64 ``[..., R, 1, N]``: what the regions are relative to.
    """

    exponent: Tensor
    offset: Tensor


def compared_partitions(
    program: FoldedProgram, number: int, log_scales: LogScales, own: Tensor | None
) -> Comparison:
    """Compares the partitions of a step, of which `own` was taken out besides."""
    step, table = program.steps[number], program.partition_offsets[number]
    total = total_log_scale(table, log_scales)  # type: ignore[arg-type]
    if own is not None:
        total += tf.cast(own, tf.float64)
    by_region = split_partitions(total, step.num_regions)  # [..., R, H, 1, N]
    largest = tf.reduce_max(by_region, axis=-3, keepdims=True)
    relative = tf.cast(by_region - largest, program.dtype)
    exponent = tf.ensure_shape(tf.reshape(relative, tf.shape(total)), total.shape)
    return Comparison(exponent, largest[..., 0, :, :])


def total_log_scale(table: OffsetTable, log_scales: LogScales) -> Tensor:
    """float64 ``[..., J, 1, N]``: all that was taken out below each row."""
    found, columns, start = [], [], 0
    for value, regions in table.parts:
        log_scale = log_scales[value]
        if log_scale is not None:
            found.append(tf.cast(log_scale, tf.float64))
            columns.append(np.where(regions < 0, -1, regions + start))
            start += log_scale.shape[-3]
    joined, regions = concat_regions(found), np.concatenate(columns, axis=1)
    if regions.shape[1] > _MAX_GATHERED and len(regions) * start <= MAX_MATRIX:
        matrix = np.zeros([len(regions), start])
        for counts, own in zip(matrix, regions, strict=True):
            np.add.at(counts, own[own >= 0], 1.0)
        total = tf.linalg.matmul(tf.constant(matrix), tf.squeeze(joined, -2))
        return tf.expand_dims(total, -2)
    rows = gather_blank(joined, regions.reshape(-1), -3)
    return tf.reduce_sum(split_partitions(rows, len(regions)), axis=-3)


@dataclass(frozen=True, eq=False)
class Roots:
    """Log-values of the roots, without `log_base`.

    Attributes:
        relative: ``[..., C, N]``: relative to `offset`.
        offset: float64 ``[..., 1, N]``: what decides between classes keeps its digits,
            however many variables they are about.
    """

    relative: Tensor
    offset: Tensor


def roots_of(program: FoldedProgram, values: Sequence[Value]) -> Roots:
    """Returns the units of all root regions, in order, relative to one offset."""
    read = functools.partial(rows_of, values, "relative_log")
    relative = gather_regions(program.root, read)
    log_scales = [value.log_scale for value in values]
    offset = total_log_scale(program.root_offsets, log_scales)  # [..., R, 1, N]
    largest = tf.reduce_max(offset, axis=-3, keepdims=True)
    if len(program.root.index) > 1:
        relative += tf.cast(offset - largest, relative.dtype)
    return Roots(merge_units(relative), largest[..., 0, :, :])
