"""The E-step of a batch, whatever the circuit; see `tfp_spn.programs.expectations`."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.programs.labels import check_labels
from tfp_spn.programs.program import Program


def expected_statistics(
    program: Program,
    params: Params,
    evidence: Evidence,
    weights: Tensor | None = None,
    labels: Tensor | None = None,
) -> Expectations:
    """Computes expected counts of a batch, as a pure function of the parameters.

    The objective is ``sum_n weights[n] log p(x[n])``, or ``log p(x[n], labels[n])``
    where labels are given. An example of probability zero counts nothing (but makes
    the log-likelihood ``-inf``); one of weight zero does nothing at all.

    Args:
        program: The circuit. Parameters have no batch dimensions.
        params: Its parameters by name.
        evidence: Examples, of ``program.evidence(x, observed)``.
        weights: How often each example counts, ``[N]``; once by default.
        labels: Classes, int ``[N]``, or `None`. An example of a class that the circuit
            does not have is impossible.

    Returns:
        `Expectations`; add them over batches with `add_expectations`.

    Raises:
        ValueError: Labels, known outside of a graph, are not classes of the circuit.

    Example:
        >>> import tensorflow as tf, tfp_spn
        >>> from tfp_spn.learning import expected_statistics, maximize
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> program, params = circuit.program, circuit.live_params()
        >>> expectations = expected_statistics(
        ...     program, params, program.evidence(tf.ones([3, 4])))
        >>> float(expectations["num_examples"])
        3.0
        >>> new = maximize(program, params, expectations)
    """
    return expectations_and_joint(program, params, evidence, weights, labels)[0]


def expectations_and_joint(
    program: Program,
    params: Params,
    evidence: Evidence,
    weights: Tensor | None = None,
    labels: Tensor | None = None,
) -> tuple[Expectations, Tensor]:
    """Like `expected_statistics`, and ``log p(x, class) [C, N]`` besides."""
    if labels is not None:
        check_labels(labels, program.num_classes)
    return program.expectations(program.tables(params), evidence, weights, labels)


def add_expectations(a: Expectations, b: Expectations) -> Expectations:
    """Adds the expectations of two batches."""
    return tf.nest.map_structure(tf.add, a, b)


def to_float64(expectations: Expectations) -> Expectations:
    """Converts to double precision, so that a sum over many batches loses nothing."""
    return tf.nest.map_structure(lambda value: tf.cast(value, tf.float64), expectations)
