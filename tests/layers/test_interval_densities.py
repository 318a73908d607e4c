"""Histogram and piecewise linear leaves against integrals on a grid."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, learning, region_graphs

POINTS = [-1.0, 0.0, 0.25, 2.0]
LEAVES = {
    "histogram": lambda **kw: layers.HistogramLeaf(2, POINTS, dtype="float64", **kw),
    "piecewise linear": lambda **kw: layers.PiecewiseLinearLeaf(
        2, POINTS, dtype="float64", **kw
    ),
}
GRID = np.linspace(-1, 2, 30_001)
STEP = GRID[1] - GRID[0]


def mixture(leaf):
    """Over one variable, of two components with weights 1/4 and 3/4."""
    graph = region_graphs.RegionGraph([(0,)], [])
    circuit = circuits.from_region_graph(graph, leaf, num_sums=1)
    circuits.assign_log_weights(circuit, {0: np.log([[[0.25], [0.75]]])})
    rng = np.random.default_rng(0)
    logits = circuit.leaf.parameters["logits"]
    logits.assign(rng.normal(size=logits.shape))
    return circuit, distributions.SumProductNetwork(circuit)


@pytest.mark.parametrize("name", LEAVES)
def test_against_integrals(name):
    circuit, spn = mixture(LEAVES[name]())
    middles = 0.5 * (GRID[1:] + GRID[:-1])
    density = spn.prob(middles[:, np.newaxis]).numpy()
    mass = density * STEP
    np.testing.assert_allclose(mass.sum(), 1, rtol=1e-6)
    mean = np.sum(mass * middles)
    np.testing.assert_allclose(spn.mean(), [mean], atol=1e-6)
    variance = np.sum(mass * (middles - mean) ** 2)
    np.testing.assert_allclose(spn.variance(), [variance], rtol=1e-5)
    at = np.array([-2.0, -1.0, -0.4, 0.0, 0.1, 1.3, 2.0, 3.0])
    below = [np.sum(mass[middles < x]) for x in at]
    np.testing.assert_allclose(spn.cdf(at[:, np.newaxis]), below, atol=1e-5)
    outside = np.array([[-1.001], [2.001], [np.nan], [np.inf]])
    assert np.all(spn.prob(outside) == 0)
    assert np.all(spn.prob(np.array([[-1.0], [2.0]])) > 0)
    leaf = circuit.leaf
    by_component = leaf.component_log_prob(
        circuit.program.tables(circuit.live_params()).leaf,
        tf.constant(middles[np.newaxis, np.newaxis]),
    )
    base = leaf.log_base(tf.constant(middles[np.newaxis, np.newaxis]))
    highest = np.max(by_component + base[:, np.newaxis], axis=-1)
    params = circuit.program.tables(circuit.live_params()).leaf
    np.testing.assert_allclose(leaf.component_mode_log_prob(params), highest, atol=1e-4)
    # Kolmogorov-Smirnov, false alarms below 1e-6 at this seed.
    draws = np.sort(spn.sample(4000, seed=(0, 1)).numpy()[:, 0])
    cumulative = np.interp(draws, GRID[1:], np.cumsum(mass))
    gap = np.abs(cumulative - (np.arange(4000) + 0.5) / 4000).max()
    assert gap < np.sqrt(-np.log(0.5e-6) / 2 / 4000)


@pytest.mark.parametrize("name", LEAVES)
def test_learning(name):
    """Of one component EM is the frequency of bins, or climbs to a stationary point."""
    leaf = type(LEAVES[name]())(1, POINTS, dtype="float64")
    graph = region_graphs.RegionGraph([(0,)], [])
    circuit = circuits.from_region_graph(graph, leaf, num_sums=1)
    x = np.random.default_rng(0).triangular(-1, 0.1, 2, size=[500, 1])
    before = np.mean(circuit(x))
    history = learning.fit(circuit, x, epochs=20, pseudocount=0.0, verbose=False)
    likelihood = np.array(history.log_likelihood)
    assert np.all(np.diff(likelihood) > -1e-9)
    assert np.mean(circuit(x)) > before
    if name == "histogram":
        probs = tf.nn.softmax(circuit.leaf.parameters["logits"][0, 0, :, 0])
        counts = np.histogram(x, POINTS)[0]
        np.testing.assert_allclose(probs, counts / 500, rtol=1e-9)
    else:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(circuit(x))
        gradient = tape.gradient(value, circuit.leaf.parameters["logits"].value)
        np.testing.assert_allclose(gradient, np.zeros([1, 1, 4, 1]), atol=2e-3)


def test_initial_values_are_those_of_the_data():
    circuit, spn = mixture(LEAVES["histogram"]())
    x = np.full([200, 1], 1.0)
    learning.initialize_leaves(circuit, x)
    assert spn.log_prob([[1.0]]) > np.log(0.9 / 1.75)


@pytest.mark.parametrize(
    "points", [[0.0], [1.0, 0.0], [0.0, np.inf], [1e9, 1e9 + 1], [[0.0, 1.0]]]
)
def test_points_out_of_order(points):
    with pytest.raises(ValueError, match="HistogramLeaf: edges must be at least two"):
        layers.HistogramLeaf(2, points)
    with pytest.raises(ValueError, match="PiecewiseLinearLeaf: knots must be"):
        layers.PiecewiseLinearLeaf(2, points)
