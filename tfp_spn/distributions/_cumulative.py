"""The probability of being nowhere above a value: the pass of the density over cdfs.

    P(X <= x) = sum over sub-circuits of  weight * prod_v P(leaf component <= x_v)

since all other variables of a component are integrated out up to their values, one by
one. Variables that are given have their density in place of the cdf.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.blocks import Function, in_blocks
from tfp_spn.circuits.dynamic_evaluation import emissions
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.evaluation import (
    evaluate,
    leaf_values,
    log_base,
    with_base,
)
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.program import Program, Tables
from tfp_spn.distributions import _density, _evidence
from tfp_spn.distributions.leaf_families import component_distribution
from tfp_spn.distributions.leaf_posteriors import cdf_of_angles
from tfp_spn.layers.leaves.parts import LeafPart, summed_regions
from tfp_spn.ops.chain import log_chain
from tfp_spn.ops.log_space import at_most_zero, safe_log


def log_cdf(
    distribution: Any,
    value: Tensor,
    observed: Tensor | None,
    given: Tensor | None = None,
) -> Tensor:
    """``log P(X <= x)``, or ``log P(X <= x, E = e)``, of shape ``S + P``.

    Args:
        distribution: Over a circuit, or a dynamic one.
        value: Of `Event.spread`: ``x``, and ``e`` in the variables that are `given`.
        observed: bool ``[..., (T,) V]``: ``X`` is these variables. Default: all.
        given: bool ``[..., (T,) V]``: ``E`` is these; of them it is the density.
    """
    program, tables = distribution.program, distribution.tables()
    asked = _asked_variables(distribution, observed, given)
    if observed is not None:
        counts = observed if given is None else observed | given
        for _ in range(value.shape.rank - observed.shape.rank):
            counts = counts[..., tf.newaxis]
        value = tf.where(counts, value, tf.constant(math.inf, value.dtype))
    evidence = _evidence.evidence_of(distribution, value, given)
    if isinstance(program, DynamicProgram):
        of_block = _of_block(program.step, asked)
        values = emissions(program, tables, evidence, of_block)
        log_joint = evidence.restore(log_chain(program.chain(tables, values)))
    else:
        of_block = _of_block(program, asked)
        joint = in_blocks(of_block, program, tables, evidence, program.dtype)
        log_joint = _density.sum_over_classes(evidence.restore(joint))
    return log_joint if given is not None else at_most_zero(log_joint)


def _asked_variables(
    distribution: Any, observed: Tensor | None, given: Tensor | None
) -> np.ndarray:
    """Bool ``[V]``: whose cdf may be asked for, by all that is known before running.

    The families of the others may have none.
    """
    program = distribution.program
    step = program.step if isinstance(program, DynamicProgram) else program
    asked = np.zeros([step.num_variables], bool)
    asked[list(distribution.variables_of_event)] = True
    for mask, hides in ((observed, False), (given, True)):
        known = None if mask is None else tf.get_static_value(mask)
        if known is not None:
            flags = known.reshape([-1, len(asked)])
            asked &= np.any(flags != hides, axis=0)
    return asked


def _of_block(program: Program, asked: np.ndarray) -> Function:
    """``[..., C, N]`` of each class."""

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        leaves = _leaf_log_cdfs(program, tables, block, asked)
        if block.observed is None:
            return evaluate(program, tables, leaves).log_joint
        leaves += leaf_values(program, tables, block.x, block.observed)
        evaluation = evaluate(program, tables, leaves)
        return with_base(evaluation, log_base(program, block.x, block.observed))

    return of_block


def _leaf_log_cdfs(
    program: Program, tables: Tables, block: Evidence, asked: np.ndarray
) -> Tensor:
    """``[..., R, K, N]``: those of leaf regions, without what is given."""
    x = block.x
    if block.observed is not None:
        is_given = block.observed[..., tf.newaxis, :]
        x = tf.where(is_given, tf.constant(math.inf, x.dtype), x)
    parts = [
        part
        for part in program.leaf.parts(program.layout)
        if np.any(asked[part.variables])
    ]
    if not parts:
        return leaf_values(program, tables, x, tf.zeros_like(x[..., 0, :], tf.bool))
    values = []
    for part in parts:
        own = part.layout.gather_variables(part.of_variable(x, -3), axis=-3)
        value = _component_log_cdf(part, part.params(tables.leaf), own)
        values.append(part.layout.sum_over_width(value))
    return values[0] if parts[0].is_whole else summed_regions(parts, values, -3)


def _component_log_cdf(part: LeafPart, params: Params, x: Tensor) -> Tensor:
    """``[..., L, D, N]`` to ``[..., L, K, N]``, the dimensions multiplied."""
    leaf = part.leaf
    table = leaf.value_probs(params)
    if table is not None:
        return _of_table(table, x)
    if getattr(leaf, "event_ndims", 0):
        raise NotImplementedError(
            f"cdf: not defined for {leaf.label}, a family of vectors. Take the cdf of "
            "a marginal over other variables."
        )
    x = tf.math.floor(x) if leaf.is_discrete else x
    rows = leaf.component_tables(params)

    def of_inner(x: Tensor) -> Tensor:  # TFP wants examples first
        rank = x.shape.rank
        x = tf.transpose(x, [rank - 1, *range(rank - 1)])
        value = _of_family(leaf, component_distribution(leaf, rows), x)
        return tf.transpose(value, [*range(1, rank), 0])

    x = x[..., tf.newaxis, :, :]  # [..., L, 1, D, N]
    return tf.reduce_sum(leaf.value_support.log_cdf(x, of_inner), axis=-2)


def _of_family(leaf: Any, components: tfd.Distribution, x: Tensor) -> Tensor:
    try:
        if not leaf.has_linear_moments:
            return safe_log(cdf_of_angles(components, x))
        if leaf.value_support.depends_on_parameters:
            return _by_component(components, x)
        return tf.cast(components.log_cdf(x), x.dtype)
    except NotImplementedError:
        raise NotImplementedError(
            f"cdf: not defined, since {leaf.label} has none. Choose a family that has "
            "one, take the cdf of a marginal over other variables, or estimate the "
            "probability from samples."
        ) from None


def _by_component(components: tfd.Distribution, x: Tensor) -> Tensor:
    """Log-cdfs of families that may say anything outside a component's own support.

    Where what they say cannot be, any draw tells on which side of the support `x` is.
    """
    draw = components.sample(seed=tf.zeros([2], tf.int32))
    draw = tf.stop_gradient(tf.cast(draw, x.dtype))
    at = tf.stop_gradient(x)
    cdf, of_draw = components.cdf(at), components.cdf(draw)
    in_order = tf.where(at < draw, cdf <= of_draw, cdf >= of_draw)
    is_possible = (cdf >= 0) & (cdf <= 1) & in_order  # false of NaN
    value = tf.cast(components.log_cdf(tf.where(is_possible, x, draw)), x.dtype)
    side = tf.where(at < draw, tf.constant(-math.inf, x.dtype), 0.0)
    return tf.where(is_possible, value, side)


def _of_table(table: Tensor, x: Tensor) -> Tensor:
    """From probabilities ``[..., L, K, D, C]`` of the values 0, 1, ..."""
    num_values = table.shape[-1]
    values = tf.range(num_values, dtype=x.dtype)[:, tf.newaxis]
    counts = tf.cast(values <= x[..., tf.newaxis, :], table.dtype)  # [..., L, D, C, N]
    rank = table.shape.rank
    table = tf.transpose(table, [*range(rank - 3), rank - 2, rank - 3, rank - 1])
    cdf = tf.matmul(table, counts)  # [..., L, D, K, N]
    certain = x[..., tf.newaxis, :] >= num_values - 1  # not but for rounding
    return tf.reduce_sum(
        safe_log(tf.where(certain, tf.ones([], cdf.dtype), cdf)), axis=-3
    )
