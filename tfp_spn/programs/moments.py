"""Means, variances and covariances, from the posterior of the leaves' components."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.programs import posterior
from tfp_spn.programs.blocks import in_blocks
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.tables import Tables


def mean_and_variance(
    program: FoldedProgram, tables: Tables, evidence: Evidence | None = None
) -> tuple[Tensor, Tensor]:
    """Exact moments of each coordinate: ``P + [V, D]``, or ``S + P + [V, D]``."""

    def of_block(tables: Tables, block: Evidence | None, _: Tensor) -> Tensor:
        weights = leaf_posterior(program, tables, block)
        mean, variance = posterior.mean_and_variance(program, tables, weights)
        zero = tf.zeros_like(mean) + tf.zeros_like(variance)  # batches may differ
        return tf.stack([mean + zero, variance + zero])

    if evidence is None:
        both = of_block(tables, None, tf.constant(0))
    else:
        both = in_blocks(of_block, program, tables, evidence, program.dtype)
    mean, variance = (tables.restored(both[n], 2, evidence) for n in range(2))
    return mean, variance


def covariance(
    program: FoldedProgram, tables: Tables, evidence: Evidence | None = None
) -> Tensor:
    """Exact covariance of all coordinates: ``P + [E, E]``, or ``S + P + [E, E]``."""
    leaves = _leaves_under(program, tables, evidence)
    cov = posterior.covariance(program, tables, leaves)
    return tables.restored(cov, 2, evidence)


def leaf_posterior(
    program: FoldedProgram, tables: Tables, evidence: Evidence | None
) -> Tensor:
    """``[..., R, K, N]``: posterior of leaf components; the prior if impossible."""
    leaves = _leaves_under(program, tables, evidence)
    if evidence is None:
        return posterior.leaf_posterior(program, tables, leaves)[1]
    # One more example, of which nothing is known.
    shape = tf.concat([tf.shape(leaves)[:-1], [1]], 0)
    leaves = tf.concat([leaves, tf.zeros(shape, leaves.dtype)], -1)
    log_prob, weights = posterior.leaf_posterior(program, tables, leaves)
    possible = log_prob[..., tf.newaxis, tf.newaxis, :-1] > -float("inf")
    return tf.where(possible, weights[..., :-1], weights[..., -1:])


def _leaves_under(
    program: FoldedProgram, tables: Tables, evidence: Evidence | None
) -> Tensor:
    """Log-values of the leaf regions; of one example, if nothing is known."""
    if evidence is None:
        shape = [program.layout.num_regions, program.leaf.num_components, 1]
        return tf.zeros(shape, program.dtype)
    return program.leaf_values(tables, evidence)
