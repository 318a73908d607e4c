"""The probability of being nowhere above a value: the pass of the density over cdfs.

    P(X <= x) = sum over sub-circuits of  weight * prod_v P(leaf component <= x_v)

since all other variables of a component are integrated out up to their values, one by
one.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.blocks import in_blocks
from tfp_spn.circuits.evaluation import evaluate
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.program import Program, Tables
from tfp_spn.distributions import _queries
from tfp_spn.distributions.univariate import component_distributions, probability_table
from tfp_spn.layers.leaves.parts import LeafPart, summed_regions


def log_cdf(distribution: Any, value: Tensor, observed: Tensor | None) -> Tensor:
    """``log P(X <= x)``, ``S + P``, of the observed variables; the others are free."""
    program = distribution.program
    evidence = _queries.evidence_of(distribution, value, observed)

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        leaves = _leaf_values(program, tables, block)
        return evaluate(program, tables, leaves).log_joint

    joint = in_blocks(of_block, program, distribution.tables(), evidence, program.dtype)
    return _queries.sum_over_classes(evidence.restore(joint))


def _leaf_values(program: Program, tables: Tables, block: Evidence) -> Tensor:
    """``[..., R, K, N]``: log-cdfs of the components of leaf regions."""
    parts, values = program.leaf.parts(program.layout), []
    for part in parts:
        x = part.layout.gather_variables(part.of_variable(block.x, -3), axis=-3)
        is_free = tf.zeros([], tf.bool)
        if block.observed is not None:
            mask = part.of_variable(block.observed, -2)
            mask = part.layout.gather_variables(mask, axis=-2)
            is_free = ~mask[..., tf.newaxis, :]
        value = _component_log_cdf(part, part.params(tables.leaf), x, is_free)
        values.append(part.layout.sum_over_width(value))
    return values[0] if len(parts) == 1 else summed_regions(parts, values, -3)


def _component_log_cdf(
    part: LeafPart, params: Params, x: Tensor, is_free: Tensor
) -> Tensor:
    """``[..., L, D, N]`` to ``[..., L, K, N]``, the dimensions multiplied.

    Where a value `is_free` (``[..., L, 1, N]``) its cdf is 1.
    """
    leaf, support = part.leaf, part.leaf.value_support
    table = probability_table(leaf, params, part.layout)
    if table is not None:
        return _of_table(table, tf.where(is_free, float("inf"), x))
    if getattr(leaf, "event_ndims", 0):
        raise NotImplementedError(
            f"SumProductNetwork: cdf is not defined for {leaf.label}, a family of "
            "vectors. Take the cdf of a marginal over other variables."
        )
    x = tf.math.floor(x) if leaf.is_discrete else x
    # Below and above the support the family might say anything, NaN is below.
    low, high = (tf.constant(v, x.dtype) for v in (support.low, support.high))
    is_above = (x >= high) | is_free
    is_below = ~(x >= low) if leaf.is_discrete else ~(x > low)
    is_below &= ~is_above
    inside = tf.where(is_below | is_above, support.inner, x)
    inside = inside[..., tf.newaxis, :, :]  # [..., L, 1, D, N]
    rank = inside.shape.rank
    inside = tf.transpose(inside, [rank - 1, *range(rank - 1)])
    value = _asked(leaf, component_distributions(leaf, params), inside)
    value = tf.transpose(value, [*range(1, rank), 0])  # [..., L, K, D, N]
    is_below, is_above = (m[..., tf.newaxis, :, :] for m in (is_below, is_above))
    value = tf.where(is_above, tf.zeros([], value.dtype), value)
    value = tf.where(is_below, tf.constant(-math.inf, value.dtype), value)
    return tf.reduce_sum(value, axis=-2)


def _asked(leaf: Any, components: tfd.Distribution, x: Tensor) -> Tensor:
    try:
        if leaf.has_linear_moments:
            if not leaf.value_support.depends_on_parameters:
                return tf.cast(components.log_cdf(x), x.dtype)
            return _by_component(leaf, components, x)
        # TFP counts an angle's cdf from the opposite of its mean, we from -pi.
        start = tf.constant(-math.pi, x.dtype)
        return _log(components.cdf(x) - components.cdf(start))
    except NotImplementedError:
        raise NotImplementedError(
            f"SumProductNetwork: cdf is not defined, since {leaf.label} has none. "
            "Choose a family that has one, or estimate the probability from samples."
        ) from None


def _by_component(leaf: Any, components: tfd.Distribution, x: Tensor) -> Tensor:
    """Log-cdfs of families that may say anything outside a component's own support.

    Any draw tells on which side.
    """
    draw = components.sample(seed=tf.zeros([2], tf.int32))
    draw = tf.stop_gradient(tf.cast(draw, x.dtype))
    at = tf.stop_gradient(x)
    is_outside = tf.math.is_inf(leaf.family.log_prob(components, at))
    is_outside |= tf.math.is_nan(components.cdf(at))
    inside = tf.where(is_outside, draw, x)
    value = tf.cast(components.log_cdf(inside), x.dtype)
    side = tf.where(x < draw, tf.constant(-math.inf, x.dtype), 0.0)
    return tf.where(is_outside, side, value)


def _of_table(table: Tensor, x: Tensor) -> Tensor:
    """From probabilities ``[..., L, K, D, C]`` of the values 0, 1, ..."""
    num_values = table.shape[-1]
    values = tf.range(num_values, dtype=x.dtype)[:, tf.newaxis]
    counts = tf.cast(values <= x[..., tf.newaxis, :], table.dtype)  # [..., L, D, C, N]
    rank = table.shape.rank
    table = tf.transpose(table, [*range(rank - 3), rank - 2, rank - 3, rank - 1])
    cdf = tf.matmul(table, counts)  # [..., L, D, K, N]
    certain = x[..., tf.newaxis, :] >= num_values - 1  # not but for rounding
    return tf.reduce_sum(_log(tf.where(certain, tf.ones([], cdf.dtype), cdf)), axis=-3)


def _log(probability: Tensor) -> Tensor:
    """Without NaN in gradients at zero."""
    is_possible = probability > 0
    log = tf.math.log(tf.where(is_possible, probability, 1.0))
    return tf.where(is_possible, log, tf.constant(-math.inf, log.dtype))
