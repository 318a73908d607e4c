"""The E-step: expected counts of all sums and leaves, in one pass up and one down.

The gradient of the objective with respect to the *normalised log-weights* is what EM
calls expected counts (hard counts under a hard learning rule), and its gradient with
respect to the leaf values are the posterior probabilities of the leaf components:

    count[i, o] = sum_n weight[n] d log p(x[n]) / d log w[i, o]

So no pass of its own is needed, and every learning rule has its EM.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.log_space import is_finite
from tfp_spn.ops.weighted_sum import weighted_sum
from tfp_spn.programs.by_value import LeafInputs, by_value
from tfp_spn.programs.evaluation import evaluate_inputs
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.hard_flows import hard_flows, is_hard
from tfp_spn.programs.labels import log_joint_of_labels
from tfp_spn.programs.tables import Tables

T = TypeVar("T")


def of_examples(
    program: FoldedProgram,
    tables: Tables,
    evidence: Evidence,
    weights: Tensor | None = None,
    labels: Tensor | None = None,
    inverse_temperature: Tensor | None = None,
) -> tuple[Expectations, Tensor]:
    """Expectations of a batch, and ``log p(x, class) [C, N]``.

    Args:
        program: The circuit. Parameters have no batch dimensions.
        tables: Its parameters.
        evidence: Examples, ``x [V, D, N]``.
        weights: How often each example counts, ``[N]``; once by default.
        labels: Classes, int ``[N]``, or `None`.
        inverse_temperature: Power ``t`` of ``p(x, z)^t`` to which posteriors over the
            latent variables are proportional, or `None`: 1. Log-likelihoods are those
            of the circuit itself.

    Returns:
        Expectations as those of `tfp_spn.learning.expected_statistics`.
    """
    inputs = by_value(program, tables, evidence.without_gradient())
    leaves = inputs.log_values(program, tables)
    base = tf.cast(program.leaf.log_base_of(evidence), program.dtype)
    if weights is None:
        weights = tf.ones_like(base)
    weights = tf.cast(weights, base.dtype)
    counted = tf.where(is_finite(base), weights, tf.zeros_like(weights))
    flows_of = hard_flows
    if not is_hard(program):
        flows_of = functools.partial(_gradient_flows, inputs=inputs)
    if inverse_temperature is None:
        roots, flows = flows_of(program, tables, leaves, counted, labels)
    else:
        tempered, power = _tempered(tables, inverse_temperature), inverse_temperature
        _, flows = flows_of(program, tempered, leaves * power, counted, labels)
        roots = roots_of_inputs(program, tables, inputs, leaves)
    log_prob = _objective(program, tables, roots, labels)
    leaf = inputs.statistics(program, tables, flows["leaves"])
    counts = program.unpacked(flows["log_weights"])
    if program.prior is not None:
        counts[program.prior.parameter] = flows["log_prior"]
    prior = 0 if tables.log_prior is None else tables.log_prior[:, tf.newaxis]
    found = with_totals(counts, leaf, log_prob + base, weights)
    return found, roots + prior + base


def with_totals(
    counts: Params, leaf: Params, log_prob: Tensor, weights: Tensor
) -> Expectations:
    """Expectations: counts, statistics of leaves, and what adds up in float64."""
    log_prob, weights = tf.cast(log_prob, tf.float64), tf.cast(weights, tf.float64)
    return {
        "sums": counts,
        "leaf": leaf,
        "log_likelihood": tf.reduce_sum(tf.math.multiply_no_nan(log_prob, weights)),
        "num_examples": tf.reduce_sum(weights),
    }


def counts_by_gradient(
    objective: Callable[[], tuple[Tensor, T]],
    sources: Params,
    weights: Tensor,
) -> tuple[Tensor, T, Params]:
    """Expected counts, as the gradient of a weighted sum of log-probabilities.

    Args:
        objective: Returns log-probabilities ``[N]``, and whatever else is wanted.
        sources: What the counts are of, by name: read by `objective`.
        weights: ``[N]``; examples of probability zero do not count.

    Returns:
        What `objective` returned, and the counts by name.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        log_prob, rest = objective()
    possible = is_finite(log_prob)
    counts = tape.gradient(
        log_prob,
        sources,
        output_gradients=tf.where(possible, weights, tf.zeros_like(weights)),
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return log_prob, rest, counts


def _tempered(tables: Tables, power: Tensor) -> Tables:
    """All weights to a power, no longer normalised."""
    return tables.replaced(
        log_weights={k: power * v for k, v in tables.log_weights.items()},
        weights={k: tf.pow(v, power) for k, v in tables.weights.items()},
        log_prior=None if tables.log_prior is None else power * tables.log_prior,
    )


def _gradient_flows(
    program: FoldedProgram,
    tables: Tables,
    leaves: Tensor,
    weights: Tensor,
    labels: Tensor | None,
    inputs: LeafInputs,
) -> tuple[Tensor, Expectations]:
    """``log p(x | class)``, and the gradient of the weighted objective."""
    sources = {
        "leaves": leaves,
        "log_weights": tables.log_weights,
        "log_prior": [] if tables.log_prior is None else tables.log_prior,
    }

    def objective() -> tuple[Tensor, Tensor]:
        roots = roots_of_inputs(program, tables, inputs, leaves)
        return _objective(program, tables, roots, labels), roots

    _, roots, flows = counts_by_gradient(objective, sources, weights)
    return roots, flows


def roots_of_inputs(
    program: FoldedProgram, tables: Tables, inputs: LeafInputs, leaves: Tensor
) -> Tensor:
    """``log p(x | class) [C, N]``, without `log_base`."""
    without_prior = tables.replaced(log_prior=None)
    return evaluate_inputs(program, without_prior, inputs, leaves).log_joint


def _objective(
    program: FoldedProgram, tables: Tables, roots: Tensor, labels: Tensor | None
) -> Tensor:
    """``log p(x)`` or ``log p(x, label)``, ``[N]``, without `log_base`."""
    log_prior = tables.log_prior
    if labels is not None:
        joint = roots if log_prior is None else roots + log_prior[:, tf.newaxis]
        return log_joint_of_labels(joint, labels)
    if log_prior is None or program.prior is None:
        return roots[0]
    # The class is one more sum, so that a hard rule also chooses among the classes.
    weighted = weighted_sum(
        roots[tf.newaxis],
        log_prior[tf.newaxis, :, tf.newaxis],
        program.prior.rule,
        exact=True,
    )
    return weighted[0, 0]
