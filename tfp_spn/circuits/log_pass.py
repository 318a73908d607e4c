"""Upward passes in log space: exact sums, sums under hard rules, and max-product.

Inside a pass a region's units are kept relative to an offset per region and example,
which is added up in float64: what decides between units, classes and partitions then
keeps its digits, however many variables a region covers.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.gathering import (
    gather_log_products,
    gather_regions,
    merge_units,
    split_partitions,
)
from tfp_spn.circuits.program import Program, Step, Tables
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weighted_sum import relative_weighted_sum, underflows, weighted_max

Roots = tuple[Tensor, Tensor]
"""Log-values ``[..., C, N]`` relative to a float64 offset ``[..., 1, N]``."""


def log_pass(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    rule: SumRule | None = None,
    exact: bool = True,
) -> tuple[list[Tensor], Roots, Tensor]:
    """The sum-product pass.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        rule: Learning rule in place of the steps' own.
        exact: Whether to sum term by term rather than by a matrix product.

    Returns:
        ``[..., R, I, N]`` of each step, what its sums range over, relative to some
        offset; the roots; scalar bool, whether digits may have been lost.
    """
    values, offsets = _initial(leaves)
    inputs, lossy = [], [tf.constant(False)]
    for number, step in enumerate(program.steps):
        log_x, offset = _products(step, values, offsets)
        inputs.append(log_x)
        if step.sums is not None:
            is_exact = exact or step.sums.always_exact
            log_y, maximum = relative_weighted_sum(
                log_x, tables.log_weights(number), rule or step.sums.rule, is_exact
            )
            if not is_exact:
                lossy.append(underflows(log_x, log_y))
            log_x, offset = log_y, offset + tf.cast(maximum, tf.float64)
        values.append(log_x)
        offsets.append(offset)
    roots = _roots(program, values, offsets)
    return inputs, roots, tf.reduce_any(tf.stack(lossy))


def max_pass(
    program: Program, tables: Tables, leaves: Tensor
) -> tuple[list[Tensor], Roots]:
    """The max-product pass: each sum takes its best weighted child."""
    values, offsets = _initial(leaves)
    inputs = []
    for number, step in enumerate(program.steps):
        log_x, offset = _products(step, values, offsets)
        inputs.append(log_x)
        log_w = tables.log_weights(number)
        values.append(log_x if log_w is None else weighted_max(log_x, log_w))
        offsets.append(offset)
    return inputs, _roots(program, values, offsets)


def _initial(leaves: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Leaf values relative to the largest unit of each region, and their offsets."""
    maximum = finite_max(leaves, -2)
    return [leaves - maximum], [tf.cast(maximum, tf.float64)]


def _products(
    step: Step, values: list[Tensor], offsets: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Products of all partitions of a step's regions, ``[..., R, I, N]``."""
    units, offset = gather_log_products(step, values.__getitem__, offsets.__getitem__)
    if step.num_partitions == 1:
        return units, offset
    by_partition = split_partitions(offset, step.num_regions)  # [..., R, H, 1, N]
    largest = tf.reduce_max(by_partition, axis=-3, keepdims=True)
    units = split_partitions(units, step.num_regions)
    units += tf.cast(by_partition - largest, units.dtype)
    return merge_units(units), largest[..., 0, :, :]


def _roots(program: Program, values: list[Tensor], offsets: list[Tensor]) -> Roots:
    """Units of the root regions, in order."""
    roots = gather_regions(program.root, values.__getitem__)
    offset = gather_regions(program.root, offsets.__getitem__)
    largest = tf.reduce_max(offset, axis=-3, keepdims=True)
    roots += tf.cast(offset - largest, roots.dtype)
    return merge_units(roots), largest[..., 0, :, :]
