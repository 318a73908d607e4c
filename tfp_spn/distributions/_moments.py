"""Means, variances and covariances, from the posterior of the leaves' components."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits import posterior
from tfp_spn.circuits.blocks import in_blocks
from tfp_spn.circuits.evaluation import leaf_values
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.program import Program
from tfp_spn.circuits.tables import Tables
from tfp_spn.distributions._evidence import restore


def mean_and_variance(
    distribution: Any, evidence: Evidence | None = None
) -> tuple[Tensor, Tensor]:
    """Exact moments of each coordinate: ``P + [V, D]``, or ``S + P + [V, D]``."""
    check_moments(distribution)
    program, tables = distribution.program, distribution.tables()

    def of_block(tables: Tables, block: Evidence | None, _: Tensor) -> Tensor:
        weights = leaf_posterior(program, tables, block)
        mean, variance = posterior.mean_and_variance(program, tables, weights)
        zero = tf.zeros_like(mean) + tf.zeros_like(variance)  # batches may differ
        return tf.stack([mean + zero, variance + zero])

    if evidence is None:
        both = of_block(tables, None, tf.constant(0))
    else:
        both = in_blocks(of_block, program, tables, evidence, program.dtype)
    mean, variance = both[0], both[1]
    return tuple(restore(distribution, m, 2, evidence) for m in (mean, variance))


def covariance(distribution: Any, evidence: Evidence | None = None) -> Tensor:
    """Exact covariance of all coordinates: ``P + [E, E]``, or ``S + P + [E, E]``."""
    check_moments(distribution)
    program, tables = distribution.program, distribution.tables()
    leaves = leaves_under(program, tables, evidence)
    cov = posterior.covariance(program, tables, leaves)
    return restore(distribution, cov, 2, evidence)


def check_moments(distribution: Any) -> None:
    """Raises if moments are undefined and NaN is not allowed in their place."""
    leaf = distribution.program.leaf
    if not (leaf.has_moments or distribution.allow_nan_stats):
        raise ValueError(
            f"SumProductNetwork: a moment of {leaf.label} is undefined, and "
            "allow_nan_stats=False. Use mode, or allow_nan_stats=True to receive NaN."
        )


def leaf_posterior(
    program: Program, tables: Tables, evidence: Evidence | None
) -> Tensor:
    """``[..., R, K, N]``: posterior of leaf components; the prior if impossible."""
    leaves = leaves_under(program, tables, evidence)
    if evidence is None:
        return posterior.leaf_posterior(program, tables, leaves)[1]
    # One more example, of which nothing is known.
    shape = tf.concat([tf.shape(leaves)[:-1], [1]], 0)
    leaves = tf.concat([leaves, tf.zeros(shape, leaves.dtype)], -1)
    log_prob, weights = posterior.leaf_posterior(program, tables, leaves)
    possible = log_prob[..., tf.newaxis, tf.newaxis, :-1] > -float("inf")
    return tf.where(possible, weights[..., :-1], weights[..., -1:])


def leaves_under(program: Program, tables: Tables, evidence: Evidence | None) -> Tensor:
    """Log-values of the leaf regions; of one example, if nothing is observed."""
    if evidence is None:
        shape = [program.layout.num_regions, program.leaf.num_components, 1]
        return tf.zeros(shape, program.dtype)
    return leaf_values(program, tables, evidence.x, evidence.observed)
