"""The E-step: expected counts of all sums and leaves, in one pass up and one down.

The gradient of the objective with respect to the *normalised log-weights* is what EM
calls expected counts (hard counts under a hard learning rule), and its gradient with
respect to the leaf values are the posterior probabilities of the leaf components:

    count[i, o] = sum_n weight[n] d log p(x[n]) / d log w[i, o]

So no pass of its own is needed, and every learning rule has its EM.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.evaluation import evaluate, leaf_values, log_base
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.program import Program, Tables
from tfp_spn.learning.hard_counts import hard_flows, is_hard
from tfp_spn.learning.labels import check_labels, log_joint_of_labels
from tfp_spn.learning.sequence_expectations import sequence_expectations
from tfp_spn.ops.weighted_sum import weighted_sum

Expectations: TypeAlias = dict[str, Any]
"""Tensors that add over batches.

``sums`` by parameter name: counts ``[R, I, O]`` (``[C]`` of the prior); ``leaf``: the
leaf layer's sufficient statistics; ``log_likelihood``: float64 weighted sum;
``num_examples``: float64 sum of the weights.
"""


def expected_statistics(
    program: Program | DynamicProgram,
    params: Params,
    evidence: Evidence,
    weights: Tensor | None = None,
    labels: Tensor | None = None,
) -> Expectations:
    """Expected counts of a batch, as a pure function of the parameters.

    The objective is ``sum_n weights[n] log p(x[n])``, or ``log p(x[n], labels[n])``
    where labels are given. An example of probability zero counts nothing (but makes
    the log-likelihood ``-inf``); one of weight zero does nothing at all.

    Args:
        program: The circuit. Parameters have no batch dimensions.
        params: Its parameters by name.
        evidence: Examples, ``x [V, D, N]``, see `tfp_spn.circuits.examples`.
        weights: How often each example counts, ``[N]``; once by default.
        labels: Classes, int ``[N]``, or `None`. An example of a class that the circuit
            does not have is impossible.

    Returns:
        `Expectations`; add them over batches with `add_expectations`.

    Raises:
        ValueError: Labels, known outside of a graph, are no classes of the circuit.

    Example:
        >>> import tensorflow as tf, tfp_spn
        >>> from tfp_spn.circuits.examples import to_evidence
        >>> from tfp_spn.learning import expected_statistics, maximize
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> evidence = to_evidence(tf.ones([3, 4]), None, 1, 0)
        >>> expectations = expected_statistics(
        ...     circuit.program, circuit.live_params(), evidence)
        >>> float(expectations["num_examples"])
        3.0
        >>> new = maximize(circuit.program, circuit.live_params(), expectations)
    """
    return expectations_and_joint(program, params, evidence, weights, labels)[0]


def expectations_and_joint(
    program: Program | DynamicProgram,
    params: Params,
    evidence: Evidence,
    weights: Tensor | None = None,
    labels: Tensor | None = None,
) -> tuple[Expectations, Tensor]:
    """Like `expected_statistics`, and ``log p(x, class) [C, N]`` besides."""
    if labels is not None:
        check_labels(labels, program.num_classes)
    if isinstance(program, DynamicProgram):
        return sequence_expectations(program, params, evidence, weights)
    x, observed = evidence.x, evidence.observed
    tables = program.tables(params)
    leaves = leaf_values(program, tables, x, observed)
    base = tf.cast(log_base(program, x, observed), program.dtype)
    if weights is None:
        weights = tf.ones_like(base)
    weights = tf.cast(weights, base.dtype)
    counted = tf.where(tf.math.is_finite(base), weights, tf.zeros_like(weights))
    flows_of = hard_flows if is_hard(program) else _gradient_flows
    roots, flows = flows_of(program, tables, leaves, counted, labels)
    log_prob = _objective(program, tables, roots, labels)
    leaf = program.leaf.expected_statistics(
        tables.leaf, x, observed, flows["leaves"], program.layout
    )
    weights = tf.cast(weights, tf.float64)
    log_prob = tf.cast(log_prob + base, tf.float64)
    counts = program.by_parameter(flows["log_weights"])
    if program.prior is not None:
        counts[program.prior.parameter] = flows["log_prior"]
    expectations = {
        "sums": counts,
        "leaf": leaf,
        "log_likelihood": tf.reduce_sum(tf.math.multiply_no_nan(log_prob, weights)),
        "num_examples": tf.reduce_sum(weights),
    }
    prior = 0 if tables.log_prior is None else tables.log_prior[:, tf.newaxis]
    return expectations, roots + prior + base


def add_expectations(a: Expectations, b: Expectations) -> Expectations:
    """The expectations of two batches together."""
    return tf.nest.map_structure(tf.add, a, b)


def to_float64(expectations: Expectations) -> Expectations:
    """In double precision, so that a sum over many batches loses nothing."""
    return tf.nest.map_structure(lambda value: tf.cast(value, tf.float64), expectations)


def _gradient_flows(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    weights: Tensor,
    labels: Tensor | None,
) -> tuple[Tensor, dict[str, Any]]:
    """``log p(x | class)``, and the gradient of the weighted objective."""
    tables = tables.with_taps()
    sources = {
        "leaves": leaves,
        "log_weights": [tap for tap in tables.taps if tap is not None],
        "log_prior": [] if tables.log_prior is None else tables.log_prior,
    }
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        roots = evaluate(
            program, dataclasses.replace(tables, log_prior=None), leaves
        ).log_joint
        log_prob = _objective(program, tables, roots, labels)
    possible = tf.math.is_finite(log_prob)
    flows = tape.gradient(
        log_prob,
        sources,
        output_gradients=tf.where(possible, weights, tf.zeros_like(weights)),
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return roots, flows


def _objective(
    program: Program, tables: Tables, roots: Tensor, labels: Tensor | None
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
