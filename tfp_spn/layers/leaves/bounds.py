"""Leaves under upper bounds: the probability that each component stays below them.

    P(X <= x) = prod_v P(leaf component of v <= x_v)

since the variables of a component are independent: each is integrated up to its bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.parts import LeafPart, summed_regions
from tfp_spn.layers.leaves.tails import log_cdf, log_survival_function
from tfp_spn.ops.axes import move_axis
from tfp_spn.ops.log_space import at_most_zero, log1mexp, log_add_exp, safe_log

if TYPE_CHECKING:
    from tfp_spn.layers.leaves.base_leaf import BaseLeaf


def region_log_cdf(
    leaf: BaseLeaf,
    params: Params,
    evidence: Evidence,
    layout: LeafLayout,
) -> Tensor:
    """Logarithms ``[..., R, K, N]`` of the probability that all bounds hold.

    Args:
        leaf: The leaf layer.
        params: Its canonical parameters.
        evidence: Which variables are bounded, and by what. The families of those that
            can never be may have no cdf.
        layout: The leaf regions.
    """
    x, exceeded, can_be_bounded = evidence.x, evidence.exceeded, evidence.can_be_bounded
    bounded: Tensor = evidence.bounded
    x = tf.where(bounded[..., tf.newaxis, :], x, tf.constant(math.inf, x.dtype))
    parts = list(leaf.parts(layout))
    if can_be_bounded is not None:
        parts = [part for part in parts if np.any(can_be_bounded[part.variables])]
    if not parts:
        shape = [layout.num_regions, leaf.num_components, 1]
        return tf.zeros(shape, x.dtype) + tf.zeros_like(x[..., :1, :1, :])
    values = []
    for part in parts:
        own = part.layout.gather_variables(part.of_variable(x, -3), axis=-3)
        value = _component_log_cdf(part, part.params(params), own)
        if exceeded is not None:
            above = part.layout.gather_variables(part.of_variable(exceeded, -2), -2)
            rest = _component_log_survival(part, part.params(params), own)
            value = tf.where(above[..., tf.newaxis, :], rest, value)
        values.append(part.layout.sum_over_width(value))
    return values[0] if parts[0].is_whole else summed_regions(parts, values, -3)


def cdf_of_angles(components: Distribution, x: Tensor) -> Tensor:
    """Counts from -pi on; TFP counts from the opposite of each component's mean."""
    return components.cdf(x) - components.cdf(tf.constant(-math.pi, x.dtype))


def _component_log_cdf(part: LeafPart, params: Params, x: Tensor) -> Tensor:
    """``[..., L, D, N]`` to ``[..., L, K, N]``, the dimensions multiplied."""
    leaf = part.leaf
    table = leaf.value_probs(params)
    if table is not None:
        return tf.reduce_sum(_by_dimension_of_table(table, x), axis=-3)
    if leaf.event_ndims:
        raise NotImplementedError(
            f"cdf: not defined for {leaf.label}, a family of vectors. Take the cdf of "
            "a marginal over other variables."
        )
    x = tf.math.floor(x) if leaf.is_discrete else x
    rows = leaf.component_tables(params)

    def of_family(x: Tensor) -> Tensor:
        return _of_family(leaf, leaf.component_distribution(rows), x)

    x = x[..., tf.newaxis, :, :]  # [..., L, 1, D, N]
    value = leaf.value_support.log_cdf(x, _with_examples_first(of_family))
    return tf.reduce_sum(value, axis=-2)


def _component_log_survival(part: LeafPart, params: Params, x: Tensor) -> Tensor:
    """Does the same for the probability that some dimension exceeds its bound."""
    leaf = part.leaf
    table = leaf.value_probs(params)
    if table is not None:
        by_dimension = _by_dimension_of_table(table, x, is_survival=True)
        return _of_some(tf.unstack(by_dimension, axis=-3))
    rows = leaf.component_tables(params)

    def of_family(x: Tensor) -> Tensor:
        components = leaf.component_distribution(rows)
        if leaf.has_linear_moments and not leaf.value_support.depends_on_parameters:
            return log_survival_function(components, x)
        return log1mexp(at_most_zero(_of_family(leaf, components, x)))

    x = tf.math.floor(x) if leaf.is_discrete else x
    x = x[..., tf.newaxis, :, :]  # [..., L, 1, D, N]
    value = leaf.value_support.log_survival(x, _with_examples_first(of_family))
    return _of_some(tf.unstack(value, axis=-2))


def _with_examples_first(function: Callable[[Tensor], Tensor]) -> Callable:
    """A function of values ``[N, ...]``, as TFP wants them, as one of ``[..., N]``."""

    def of_examples_last(x: Tensor) -> Tensor:
        return move_axis(function(move_axis(x, -1, 0)), 0, -1)

    return of_examples_last


def _of_some(log_survival: list[Tensor]) -> Tensor:
    """Returns the probability of at least one: ``P(1) + P(not 1) P(2) + ...``."""
    total = log_survival[0]
    for value in log_survival[1:]:
        total = log_add_exp(total, log1mexp(total) + value)
    return total


def _of_family(leaf: BaseLeaf, components: Distribution, x: Tensor) -> Tensor:
    try:
        if not leaf.has_linear_moments:
            return safe_log(cdf_of_angles(components, x))
        if leaf.value_support.depends_on_parameters:
            return _by_component(components, x)
        return log_cdf(components, x)
    except NotImplementedError:
        raise NotImplementedError(
            f"cdf: not defined, since {leaf.label} has none. Choose a family that has "
            "one, take the cdf of a marginal over other variables, or estimate the "
            "probability from samples."
        ) from None


def _by_component(components: Distribution, x: Tensor) -> Tensor:
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


def _by_dimension_of_table(
    table: Tensor, x: Tensor, is_survival: bool = False
) -> Tensor:
    """``[..., L, D, K, N]``: that values are at most, or that they are above `x`."""
    num_values = table.shape[-1]
    values = tf.range(num_values, dtype=x.dtype)[:, tf.newaxis]
    is_below = values <= x[..., tf.newaxis, :]  # [..., L, D, G, N]
    counts = tf.cast(~is_below if is_survival else is_below, table.dtype)
    table = move_axis(table, -3, -2)
    cdf = tf.matmul(table, counts)  # [..., L, D, K, N]
    certain = x[..., tf.newaxis, :] >= num_values - 1  # rounding might say less
    end = tf.constant(0.0 if is_survival else 1.0, cdf.dtype)
    return safe_log(tf.where(certain, end, cdf))
