"""What has been taken out of regions, added up where partitions are compared."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.gathering import split_partitions
from tfp_spn.circuits.program import Program
from tfp_spn.circuits.routing import OffsetTable
from tfp_spn.ops.regions import gather_blank

LogScales = Sequence[Tensor | None]
"""Logarithms ``[..., R, 1, N]`` of what was taken out of each value's regions."""


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
    program: Program, number: int, log_scales: LogScales, own: Tensor | None
) -> Comparison:
    """Compares the partitions of a step, of which `own` was taken out besides."""
    step, table = program.steps[number], program.partition_offsets[number]
    total = total_log_scale(table, log_scales)
    if own is not None:
        total += tf.cast(own, tf.float64)
    by_region = split_partitions(total, step.num_regions)  # [..., R, H, 1, N]
    largest = tf.reduce_max(by_region, axis=-3, keepdims=True)
    relative = tf.cast(by_region - largest, program.dtype)
    exponent = tf.ensure_shape(tf.reshape(relative, tf.shape(total)), total.shape)
    return Comparison(exponent, largest[..., 0, :, :])


def total_log_scale(table: OffsetTable, log_scales: LogScales) -> Tensor:
    """float64 ``[..., J, 1, N]``: all that was taken out below each row."""
    totals = []
    for value, regions in table.parts:
        log_scale = log_scales[value]
        if log_scale is None:
            continue
        num_rows, width = regions.shape
        rows = gather_blank(log_scale, regions.reshape(-1), -3)
        rows = tf.cast(rows, tf.float64)
        if width > 1:
            rows = tf.reduce_sum(split_partitions(rows, num_rows), axis=-3)
        totals.append(rows)
    return functools.reduce(tf.add, totals)
