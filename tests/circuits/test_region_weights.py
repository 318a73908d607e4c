"""Weights by region against what the circuit then says."""

import itertools

import numpy as np
import pytest

from tfp_spn.circuits import assign_log_weights, from_region_graph
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers import IndicatorLeaf
from tfp_spn.region_graphs import RegionGraph, from_nested_lists
from tfp_spn.sum_ops import SumOpGradBackprop

STATES = np.array(list(itertools.product([0, 1], repeat=3)))


def test_weights_are_those_of_the_formula():
    """Partitions of unequal arity too, which circuits sum by nodes of their own."""
    graph = from_nested_lists({"partitions": [[0, 1, 2], [[0, 1], 2], [0, [1, 2]]]})
    circuit = from_region_graph(graph, IndicatorLeaf(2), num_sums=1)
    rng = np.random.default_rng(0)
    tables = {
        region: np.log(rng.dirichlet(np.ones(2))).reshape(1, 2, 1)
        for region in graph.leaves
    }
    mixture = np.log([0.5, 0.2, 0.3]).reshape(3, 1, 1)
    assign_log_weights(circuit, {**tables, 0: mixture + 7})  # normalised there

    def probability(region, x):
        if region in tables:
            [variable] = graph.scopes[region]
            return np.exp(tables[region][0, x[variable], 0])
        parts = [
            np.prod([probability(child, x) for child in children])
            for children in graph.partitions[region]
        ]
        return np.dot(np.exp(mixture.ravel()), parts) if region == 0 else parts[0]

    expected = [probability(0, x) for x in STATES]
    actual = SumProductNetwork(circuit).prob(STATES)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_zero_weights_are_kept():
    circuit = from_region_graph(RegionGraph([(0,)], []), IndicatorLeaf(2), num_sums=1)
    assign_log_weights(circuit, {0: [[[0.0], [-np.inf]]]})
    assert circuit(np.array([[0], [1]])).numpy().ravel().tolist() == [0.0, -np.inf]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({0: np.zeros([1, 3, 1])}, "make 3 inputs of 1 sums, expected 2 and 1"),
        ({0: np.full([1, 2, 1], -np.inf)}, "add up to .*positive weight"),
        ({7: np.zeros([1, 2, 1])}, r"regions \[7\] have no sums"),
    ],
)
def test_errors(weights, message):
    circuit = from_region_graph(RegionGraph([(0,)], []), IndicatorLeaf(2), num_sums=1)
    before = circuit.sums[0].accumulators.numpy()
    with pytest.raises(ValueError, match=message):
        assign_log_weights(circuit, weights)
    np.testing.assert_array_equal(circuit.sums[0].accumulators.numpy(), before)


def test_linear_weights():
    rule = SumOpGradBackprop(logspace_accumulators=False)
    graph = RegionGraph([(0,)], [])
    circuit = from_region_graph(graph, IndicatorLeaf(2), num_sums=1, sum_op=rule)
    assign_log_weights(circuit, {0: np.log([[[0.25], [0.75]]])})
    probs = np.exp(circuit(np.array([[0], [1]]))).ravel()
    np.testing.assert_allclose(probs, [0.25, 0.75], rtol=1e-6)
