"""Posterior probabilities of leaf components, and the moments that follow from them.

The posterior probability that a leaf component generates its variables, given the
evidence, is the derivative of the root's log-value with respect to the component's
(Darwiche 2003): one backward pass answers all single-variable queries.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.log_space import is_finite
from tfp_spn.ops.mixture_moments import moment_terms, moments_of_terms
from tfp_spn.ops.sum_rules import SumOpGradBackprop
from tfp_spn.programs.evaluation import evaluate
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.tables import Tables

_GRADIENT = SumOpGradBackprop()
_MAX_TILTED_EXAMPLES = 4096


def leaf_posterior(
    program: FoldedProgram, tables: Tables, leaves: Tensor
) -> tuple[Tensor, Tensor]:
    """``log p(evidence) [..., N]`` and ``p(component | evidence) [..., R, K, N]``.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions under the evidence, ``[..., R, K, N]``.
            Leading axes are broadcast to those of the tables.
    """
    batch = tables.batch_shape_above(leaves)
    leaves = tf.broadcast_to(leaves, tf.concat([batch, tf.shape(leaves)[-3:]], 0))
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        log_prob = evaluate(program, tables, leaves, rule=_GRADIENT).log_prob
    return log_prob, tape.gradient(log_prob, leaves)


def expectation(program: FoldedProgram, table: Tensor, posterior: Tensor) -> Tensor:
    """Posterior expectation of a function of one variable.

    Args:
        program: The circuit.
        table: ``[..., L, K, F]``: the function's mean under each leaf component.
        posterior: ``[..., R, K, N]``.

    Returns:
        ``[..., V, F, N]``.
    """
    return expectation_over(program.layout, table, posterior)


def expectation_over(layout: LeafLayout, table: Tensor, posterior: Tensor) -> Tensor:
    """The same over some leaf regions, whose posterior is given."""
    grouped = layout.group_by_region(tf.linalg.matrix_transpose(table))
    per_slot = layout.ungroup(tf.matmul(grouped, posterior), table.shape[-1])
    return layout.sum_over_slots(per_slot)


def mean_and_variance(
    program: FoldedProgram, tables: Tables, posterior: Tensor
) -> tuple[Tensor, Tensor]:
    """Posterior mean and variance of each variable, ``[..., V, D, N]``."""
    offset, variance, center = _moments_about_center(program, tables, posterior)
    return tf.cast(offset, center.dtype) + center, variance


def _moments_about_center(
    program: FoldedProgram, tables: Tables, posterior: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean less center (float64), variance ``[..., V, D, N]``; the center, ``N = 1``.

    The former two are infinite or NaN where they are so of a component that has weight.
    They are computed in double precision, with weights that add up to 1 in it, so that
    what is left of large squares is exact up to the rounding of the single weights.
    """
    mean_k = program.leaf.component_mean(tables.leaf)  # [..., L, K, D]
    variance_k = program.leaf.component_variance(tables.leaf)
    # Moments about a point among the components, so that large offsets do not cancel.
    low, high = program.layout.range_over_variables(mean_k)
    center = 0.5 * (low + high)  # [..., L, 1, D]
    terms = moment_terms(mean_k, variance_k, center)
    terms = tf.concat([tf.ones_like(terms[..., :1]), terms], -1)
    sums = expectation(program, terms, tf.cast(posterior, tf.float64))
    average = tf.math.divide_no_nan(sums[..., 1:, :], sums[..., :1, :])
    offset, variance = moments_of_terms(average, axis=-2)
    variance = tf.cast(variance, posterior.dtype)
    first_slot = np.unique(program.layout.slot_variable, return_index=True)[1]
    center = tf.gather(tf.linalg.matrix_transpose(center), first_slot, axis=-3)
    return offset, variance, center


def covariance(program: FoldedProgram, tables: Tables, leaves: Tensor) -> Tensor:
    """Exact posterior covariance of all pairs of coordinates.

    For each coordinate ``u``, multiply the evidence by ``f_u = x_u - low_u > 0`` (which
    only tilts the leaves of ``u``); then

        Cov[x_u, x_w] = E[f_u] (E[x_w | tilted by f_u] - E[x_w])

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: ``[..., R, K, N]``: values of the leaf regions.

    Returns:
        ``[..., V * D, V * D, N]``; the diagonal is the variance. NaN between a
        coordinate whose mean is infinite, or undefined, and any other.
    """
    num_coordinates = program.layout.num_variables * program.layout.num_dims
    block = max(1, _MAX_TILTED_EXAMPLES // num_coordinates)
    if leaves.shape[-1] is not None and leaves.shape[-1] <= block:
        return _covariance(program, tables, leaves)
    num_examples = tf.shape(leaves)[-1]
    padding = tf.math.floormod(-num_examples, block)
    rank = leaves.shape.rank
    padded = tf.pad(leaves, [[0, 0]] * (rank - 1) + [[0, padding]])
    shape = tf.concat([tf.shape(leaves)[:-1], [-1, block]], 0)
    blocks = tf.transpose(
        tf.reshape(padded, shape), [rank - 1, *range(rank - 1), rank]
    )  # [num_blocks, ..., R, K, block]
    blocks = tf.ensure_shape(blocks, [None, *leaves.shape[:-1], block])

    def of_part(part: Tensor) -> tuple[Tensor, Tensor]:
        certainty = tables.certainty.of_part()
        its_tables = tables.replaced(certainty=certainty)
        return _covariance(program, its_tables, part), certainty.is_lossy

    by_block, is_lossy = tf.map_fn(
        of_part, blocks, fn_output_signature=(program.dtype, tf.bool)
    )  # [num_blocks, ..., E, E, block]
    tables.certainty.note(is_lossy)
    rank = by_block.shape.rank
    merged = tf.transpose(by_block, [*range(1, rank - 1), 0, rank - 1])
    shape = tf.concat([tf.shape(merged)[: rank - 2], [num_examples + padding]], 0)
    return tf.reshape(merged, shape)[..., :num_examples]


def _covariance(program: FoldedProgram, tables: Tables, leaves: Tensor) -> Tensor:
    """Covariances of one block of examples, see `covariance`."""
    log_prob, posterior = leaf_posterior(program, tables, leaves)
    mean, variance, _ = _moments_about_center(program, tables, posterior)
    tilts = _tilts(program, tables)[..., tf.newaxis, :]  # [..., R, K, 1, E]
    tilted = leaves[..., tf.newaxis] + tilts
    num_coordinates = tilts.shape[-1]
    shape = tf.concat([tf.shape(tilted)[:-2], [-1]], 0)
    tilted_log_prob, tilted_posterior = leaf_posterior(
        program, tables, tf.reshape(tilted, shape)
    )
    tilted_mean, _, _ = _moments_about_center(program, tables, tilted_posterior)

    def by_coordinate(value: Tensor) -> Tensor:  # [..., N * E] to [..., N, E]
        shape = tf.concat([tf.shape(value)[:-1], [-1, num_coordinates]], 0)
        return tf.reshape(value, shape)

    possible = log_prob > -float("inf")
    log_prob = tf.where(possible, log_prob, tf.zeros_like(log_prob))
    scale = tf.exp(by_coordinate(tilted_log_prob) - log_prob[..., tf.newaxis])
    shift = by_coordinate(_merge_dims(tilted_mean)) - _merge_dims(mean)[..., tf.newaxis]
    shift = tf.cast(shift, scale.dtype)
    cov = shift * scale[..., tf.newaxis, :, :]  # [..., E, N, E]
    rank = cov.shape.rank
    cov = tf.transpose(cov, [*range(rank - 3), rank - 2, rank - 3, rank - 1])
    cov = 0.5 * (cov + tf.linalg.matrix_transpose(cov))
    by_example = tf.linalg.matrix_transpose(_merge_dims(variance))
    # Scales alone may be batched, which only variances depend on.
    by_example += tf.zeros_like(cov[..., 0])
    cov += tf.zeros_like(by_example)[..., tf.newaxis]
    cov = tf.linalg.set_diag(cov, by_example)  # [..., N, E, E]
    rank = cov.shape.rank
    return tf.transpose(cov, [*range(rank - 3), rank - 2, rank - 1, rank - 3])


def _tilts(program: FoldedProgram, tables: Tables) -> Tensor:
    """``[..., R, K, E]``: log-mean of each coordinate's ``f`` in each component."""
    layout = program.layout
    mean_k = program.leaf.component_mean(tables.leaf)  # [..., L, K, D]
    low, high = layout.range_over_variables(mean_k)
    spread = tf.where(high > low, high - low, tf.ones_like(low))
    mean_k = tf.where(is_finite(mean_k), mean_k, low)  # what these give is NaN
    low = low - spread  # keeps f away from zero: between one and two spreads
    log_f = tf.math.log1p((mean_k - low) / spread) + tf.math.log(spread)
    # Scatter each slot's D columns to the coordinates of its variable.
    onto = tf.one_hot(layout.slot_variable, layout.num_variables, dtype=log_f.dtype)
    by_slot = onto[:, tf.newaxis, :, tf.newaxis] * log_f[..., tf.newaxis, :]
    # [..., L, K, V, D]
    num_coordinates = layout.num_variables * layout.num_dims
    shape = tf.concat([tf.shape(by_slot)[:-2], [num_coordinates]], 0)
    by_slot = tf.reshape(by_slot, shape)
    return layout.sum_over_width(by_slot)


def _merge_dims(value: Tensor) -> Tensor:
    """``[..., V, D, N]`` to ``[..., V * D, N]``."""
    if value.shape[-2] == 1:
        return tf.squeeze(value, -2)
    count = value.shape[-3] * value.shape[-2]
    shape = tf.concat([tf.shape(value)[:-3], [count], tf.shape(value)[-1:]], 0)
    return tf.reshape(value, shape)
