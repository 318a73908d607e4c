"""Gradients beyond the first of log_prob: of moments, second ones, at the edges."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs

MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def circuit_of(leaf, num_classes=1):
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2)
    return circuits.from_region_graph(graph, leaf, 2, num_classes=num_classes)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("normal", "graph"),
        ("bernoulli", "eager"),
        pytest.param("normal", "eager", marks=pytest.mark.slow),
        pytest.param("bernoulli", "graph", marks=pytest.mark.slow),
        pytest.param("normal", "xla", marks=pytest.mark.slow),
        pytest.param("bernoulli", "xla", marks=pytest.mark.slow),
    ],
)
def test_gradient_of_moments(kind, mode):
    leaf = {
        "normal": lambda: layers.NormalLeaf(3, scale_trainable=True, dtype="float64"),
        "bernoulli": lambda: layers.BernoulliLeaf(3, dtype="float64"),
    }[kind]()
    circuit = circuit_of(leaf)
    spn = distributions.SumProductNetwork(circuit)
    variables = [v.value for v in circuit.trainable_variables]

    def objective():
        return tf.reduce_sum(spn.mean() ** 2) + tf.reduce_sum(spn.covariance() ** 2)

    def gradient():
        with tf.GradientTape() as tape:
            value = objective()
        return tape.gradient(value, variables)

    for variable, actual in zip(variables, MODES[mode](gradient)(), strict=True):
        place, step = (0,) * len(variable.shape), 1e-6
        saved = variable.numpy()
        ends = []
        for sign in (1, -1):
            moved = saved.copy()
            moved[place] += sign * step
            variable.assign(moved)
            ends.append(float(objective()))
        variable.assign(saved)
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(actual[place], expected, rtol=1e-4, atol=1e-7)


# Not under XLA, which refuses the second derivative of the leaf's conditional.
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_second_derivative_of_the_input(mode):
    leaf = layers.NormalLeaf(3, scale_trainable=True, dtype="float64")
    spn = distributions.SumProductNetwork(circuit_of(leaf))
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 4)))

    def first(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(spn.log_prob(x))
        return tape.gradient(value, x)

    def second(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            slope = first(x)
        return tape.gradient(slope, x)

    step = 1e-5
    direction = tf.ones_like(x)  # second() is the row sums of the Hessian
    expected = (first(x + step * direction) - first(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(MODES[mode](second)(x), expected, rtol=1e-5, atol=1e-6)


def test_gradient_of_logits_over_many_examples():
    """Frequencies less probabilities, whose terms are each a part in 300,000."""
    leaf = layers.CategoricalLeaf(1, num_categories=3, logits_initializer="zeros")
    graph = region_graphs.fully_factorized(1)
    spn = distributions.SumProductNetwork(circuits.from_region_graph(graph, leaf, 1))
    x = np.random.default_rng(0).choice(3, size=(300_000, 1), p=[0.7, 0.2, 0.1])
    logits = spn.circuit.live_params()["leaf_logits"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(spn.log_prob(x))
    gradient = np.ravel(tape.gradient(loss, logits))
    want = np.bincount(x[:, 0]) / len(x) - 1 / 3
    np.testing.assert_allclose(gradient, want, rtol=1e-5)


def test_values_outside_the_support_pull_at_nothing():
    spn = distributions.SumProductNetwork(
        circuit_of(layers.CategoricalLeaf(3, num_categories=3), num_classes=2)
    )
    with tf.GradientTape() as tape:
        log_prob = spn.log_prob(np.array([[99, 0, 0, 0]]))
    assert log_prob.numpy() == -np.inf
    for gradient in tape.gradient(log_prob, spn.trainable_variables):
        assert np.all(np.asarray(gradient) == 0)


def test_conditioning_outside_the_support_hides_the_value():
    spn = distributions.SumProductNetwork(
        circuit_of(layers.CategoricalLeaf(3, num_categories=3))
    )
    x = np.array([[99, 0, 1, 2]])
    given = spn.condition(x, observed=[True, False, True, False])
    instead = spn.condition(x, observed=[False, False, True, False])
    np.testing.assert_allclose(given.mean()[:, 1::2], instead.mean()[:, 1::2])
    np.testing.assert_array_equal(given.mode()[:, 1::2], instead.mode()[:, 1::2])
    assert given.log_evidence().numpy() == -np.inf


def test_a_circuit_dies_with_its_last_user():
    circuit = circuit_of(layers.BernoulliLeaf(2), num_classes=2)
    spn = distributions.SumProductNetwork(circuit)
    assert spn.components_distribution.log_prob(np.zeros([1, 1, 4])).shape == [1, 2]
    alive = weakref.ref(circuit)
    del circuit, spn
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("query", "leaf"),
    [
        ("log_prob", "Normal"),
        pytest.param("log_cdf", "StudentT", marks=pytest.mark.slow),
    ],
)
def test_forward_mode_is_the_gradient_along_a_direction(query, leaf):
    graph = region_graphs.fully_factorized(2)
    leaf = layers.DistributionLeaf(leaf, 2, dtype="float64")
    circuit = circuits.from_region_graph(graph, leaf, 1)
    function = getattr(distributions.SumProductNetwork(circuit), query)
    rng = np.random.default_rng(0)
    x, direction = (tf.constant(rng.normal(size=[3, 2])) for _ in range(2))
    location = circuit.trainable_variables[0].value
    along = tf.constant(rng.normal(size=location.shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    of_x, of_location = tape.gradient(y, [x, location])
    for source, tangent, want in (
        (x, direction, tf.reduce_sum(of_x * direction)),
        (location, along, tf.reduce_sum(of_location * along)),
    ):
        with tf.autodiff.ForwardAccumulator(source, tangent) as forward:
            y = function(x)
        have = tf.reduce_sum(forward.jvp(y))
        np.testing.assert_allclose(have, want, rtol=1e-9)
        assert abs(float(want)) > 1e-3


def test_forward_mode_through_functions_of_ones_own():
    graph = region_graphs.fully_factorized(2)
    circuit = circuits.from_region_graph(graph, layers.NormalLeaf(2), 2)
    spn = distributions.SumProductNetwork(circuit)
    x = np.random.default_rng(0).normal(size=[3, 2]).astype(np.float32)
    location = circuit.trainable_variables[0].value
    along = tf.ones(location.shape)

    def query():
        return spn.log_prob(x)

    with tf.GradientTape() as tape:
        y = query()
    want = tf.reduce_sum(tape.gradient(y, location))
    compiled = tf.function(query)
    with tf.autodiff.ForwardAccumulator(location, along) as forward:
        outside = compiled()
    outside = forward.jvp(outside)

    @tf.function
    def pushed():
        with tf.autodiff.ForwardAccumulator(location, along) as forward:
            y = query()
        return forward.jvp(y)

    for have in (outside, pushed()):
        np.testing.assert_allclose(tf.reduce_sum(have), want, rtol=1e-4)
