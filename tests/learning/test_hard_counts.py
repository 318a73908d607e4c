"""Following the selected sums gives what a backward pass of the hard rules gives."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import layers, region_graphs
from tfp_spn.circuits import from_region_graph
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.learning import expected_statistics
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.evaluation import evaluate
from tfp_spn.programs.hard_flows import hard_flows
from tfp_spn.sum_ops import (
    SumOpEMBackprop,
    SumOpHardEMBackprop,
    SumOpUnweightedHardEMBackprop,
)

GRAPHS = {
    "trees": region_graphs.random_binary_trees(8, 2, num_repetitions=3, seed=0),
    "quad graph": region_graphs.quad_graph((2, 4)),
    "poon domingos": region_graphs.poon_domingos((2, 4), delta=1),
}


@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("sum_product", ["cp", "tucker"])
@pytest.mark.parametrize(
    "rule", [SumOpHardEMBackprop(), SumOpUnweightedHardEMBackprop()]
)
@pytest.mark.parametrize("graph", GRAPHS)
def test_flows_are_those_of_the_backward_pass(graph, rule, sum_product, num_classes):
    circuit = from_region_graph(
        GRAPHS[graph],
        layers.NormalLeaf(3),
        3,
        sum_product,
        num_classes,
        sum_op=rule,
    )
    rng = np.random.default_rng(2)
    x = rng.normal(size=(11, 8)).astype(np.float32)
    weights = tf.constant(rng.random(11), tf.float32)
    labels = None if num_classes == 1 else rng.integers(0, 3, 11)
    program = circuit.program
    tables = program.tables(circuit.live_params())
    evidence = to_evidence(tf.constant(x), None, 1, 0)
    leaves = program.leaf_values(tables, evidence)
    roots, flows = hard_flows(program, tables, leaves, weights, labels)

    log_weights = tables.log_weights
    with tf.GradientTape() as tape:
        tape.watch([leaves, log_weights])
        by_class = evaluate(program, tables.replaced(log_prior=None), leaves).log_joint
        own = by_class[0] if labels is None else tf.gather(by_class, labels, axis=0)
        if labels is not None:
            own = tf.linalg.diag_part(own)
        total = tf.reduce_sum(own * weights)
    expected_leaves, expected = tape.gradient(total, [leaves, log_weights])
    np.testing.assert_allclose(roots, by_class, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(flows["leaves"], expected_leaves, atol=1e-5)
    for name, want in expected.items():
        np.testing.assert_allclose(flows["log_weights"][name], want, atol=1e-5)
    if labels is not None:
        counts = np.bincount(labels, weights, minlength=3)
        np.testing.assert_allclose(flows["log_prior"], counts, rtol=1e-5)


class Tempered(SumRule):
    """Shares that are closer to each other than responsibilities."""

    def select(self, log_weighted, log_sum, seed):
        return tf.nn.softmax(0.3 * log_weighted, axis=-2)


class TemperedHard(SumOpHardEMBackprop):
    """The same, derived from a rule that selects one child."""

    def select(self, log_weighted, log_sum, seed):
        return tf.nn.softmax(0.3 * log_weighted, axis=-2)


class TemperedSoft(SumOpEMBackprop):
    """The same, derived from a rule whose flow is the gradient."""

    def select(self, log_weighted, log_sum, seed):
        return tf.nn.softmax(0.3 * log_weighted, axis=-2)


def test_counts_of_a_fractional_rule_are_its_shares():
    graph = region_graphs.fully_factorized(1)
    x = np.random.default_rng(0).normal(size=(7, 1)).astype(np.float32)
    for rule in (Tempered(), TemperedHard(), TemperedSoft()):
        circuit = from_region_graph(
            graph, layers.NormalLeaf(3), 1, leaf_sums=True, sum_op=rule
        )
        params = circuit.live_params()
        evidence = circuit.program.evidence(tf.constant(x), None)
        counts = expected_statistics(circuit.program, params, evidence)["sums"]
        [weights] = [params[name] for name in counts]
        location = params["leaf_location"].numpy().reshape(3)
        log_x = -0.5 * np.square(x - location)
        shares = tf.nn.softmax(
            0.3 * (log_x + tf.nn.log_softmax(weights[0, :, 0])), axis=-1
        )
        [have] = counts.values()
        np.testing.assert_allclose(have[0, :, 0], np.sum(shares, 0), rtol=1e-4)
