"""What has been taken out of regions, added up where partitions are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.regions import gather_blank
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.gathering import concat_regions, split_partitions
from tfp_spn.programs.routing import OffsetTable

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
    rows = gather_blank(joined, regions.reshape(-1), -3)
    return tf.reduce_sum(split_partitions(rows, len(regions)), axis=-3)
