"""Leaves that store moments: values, online EM, every query, saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import data_of
from tfp_spn import circuits, constraints, distributions, layers, region_graphs
from tfp_spn.layers.leaves.accumulators import NAMES
from tfp_spn.learning import (
    NegativeLogLikelihood,
    OnlineExpectationMaximization,
    fit,
    initialize_leaves,
)
from tfp_spn.sum_ops import SumOpEMBackprop

LEAVES = {
    "normal": layers.NormalLeaf,
    "laplace": layers.LaplaceLeaf,
    "cauchy": layers.CauchyLeaf,
}
each_leaf = pytest.mark.parametrize("kind", LEAVES)
X = np.random.default_rng(0).normal(1.0, 2.0, size=(40, 3, 2, 2))


def pair(kind, scale_trainable=True, **arguments):
    """A leaf with accumulators and a plain one of equal parameters, built."""
    arguments = {
        "scale_trainable": scale_trainable,
        "scale_initializer": keras.initializers.RandomUniform(0.5, 2.0, seed=1),
        "location_initializer": keras.initializers.RandomNormal(seed=2),
        "dtype": "float64",
        **arguments,
    }
    with_moments = LEAVES[kind](
        4,
        use_accumulators=True,
        accumulator_initializer=keras.initializers.RandomUniform(1.0, 3.0, seed=3),
        **arguments,
    )
    plain = LEAVES[kind](4, **arguments)
    with_moments.build(X.shape)
    plain.build(X.shape)
    return with_moments, plain


@each_leaf
@pytest.mark.parametrize("scale_trainable", [True, False])
def test_values_and_input_gradients_are_those_of_the_plain_leaf(kind, scale_trainable):
    results = []
    for leaf in pair(kind, scale_trainable):
        x = tf.constant(X)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = leaf(x)
        results.append((y, tape.gradient(y, x)))
    for have, want in zip(*results, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-9)


@each_leaf
def test_names_and_what_is_trainable(kind):
    leaf, _ = pair(kind)
    assert set(leaf.parameters) == set(NAMES)
    assert len(leaf.trainable_variables) == 4
    leaf, _ = pair(kind, scale_trainable=False)
    assert set(leaf.parameters) == {*NAMES[:2], "scale"}
    assert len(leaf.trainable_variables) == 2
    leaf, _ = pair(kind, scale_trainable=False, location_trainable=False)
    assert leaf.trainable_variables == []


def weighted_step(kind, x, flow, location, scale):
    """One M-step of a single component and variable, written out."""
    if kind == "normal":
        new = np.sum(flow * x) / np.sum(flow)
        square = np.sum(flow * x**2) / np.sum(flow)
        return new, np.sqrt(square - new**2)
    if kind == "laplace":
        weight = flow / np.abs(x - location)
        deviation = np.sum(flow * np.abs(x - location)) / np.sum(flow)
        return np.sum(weight * x) / np.sum(weight), deviation
    weight = flow * 2 / (1 + ((x - location) / scale) ** 2)
    new = np.sum(weight * x) / np.sum(weight)
    return new, np.sqrt(np.sum(weight * (x - new) ** 2) / np.sum(flow))


@each_leaf
def test_a_full_step_is_an_m_step(kind):
    leaf, _ = pair(kind, min_scale=0.0)
    rng = np.random.default_rng(4)
    flow = rng.uniform(size=(40, 3, 2, 4))
    before = leaf.canonical(leaf.live_params())
    location = before["location"].numpy().reshape(3, 2, 4, 2)
    scale = leaf.scale(before).numpy().reshape(3, 2, 4, 2)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_sum(flow * leaf(X))
    gradients = tape.gradient(loss, leaf.trainable_variables)
    OnlineExpectationMaximization(1.0).apply(gradients, leaf.trainable_variables)
    after = leaf.canonical(leaf.live_params())
    new_location = after["location"].numpy().reshape(3, 2, 4, 2)
    new_scale = leaf.scale(after).numpy().reshape(3, 2, 4, 2)
    for s, d, k, v in [(0, 0, 0, 0), (2, 1, 3, 1), (1, 0, 2, 0)]:
        want = weighted_step(
            kind,
            X[:, s, d, v],
            flow[:, s, d, k],
            location[s, d, k, v],
            scale[s, d, k, v],
        )
        got = new_location[s, d, k, v], new_scale[s, d, k, v]
        np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize("gliding_average", [True, False])
def test_a_step_is_an_average_that_fades_or_a_sum(gliding_average):
    leaf, _ = pair("normal")
    old = {name: v.numpy() for name, v in leaf.parameters.items()}
    flow = np.random.default_rng(4).uniform(size=(40, 3, 2, 4))
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.reduce_sum(flow * leaf(X), [1, 2, 3]))
    gradients = tape.gradient(loss, leaf.trainable_variables)
    optimizer = OnlineExpectationMaximization(0.2, gliding_average=gliding_average)
    optimizer.apply(gradients, leaf.trainable_variables)
    kept = 0.8 if gliding_average else 1.0
    weight = flow[..., np.newaxis] / 40
    x = X[..., np.newaxis, :]
    count = weight + 0 * x
    moments = [count, weight * x, count, weight * x**2]
    sums = dict(zip(NAMES, moments, strict=True))
    for name, variable in leaf.parameters.items():
        want = kept * old[name] + 0.2 * sums[name].sum(0)
        np.testing.assert_allclose(variable, want, rtol=1e-6, atol=1e-7)


def test_a_component_without_flow_stays_and_zeros_are_data():
    leaf, _ = pair("normal")
    old = {name: v.numpy() for name, v in leaf.parameters.items()}
    flow = np.ones([40, 3, 2, 4])
    flow[..., 1] = 0
    with tf.GradientTape() as tape:
        loss = -tf.reduce_sum(flow * leaf(np.zeros_like(X)))
    gradients = tape.gradient(loss, leaf.trainable_variables)
    OnlineExpectationMaximization(0.5).apply(gradients, leaf.trainable_variables)
    for name, variable in leaf.parameters.items():
        np.testing.assert_allclose(variable[:, :, :, 1], old[name][:, :, :, 1])
    location = leaf.canonical(leaf.live_params())["location"]
    before = old[NAMES[1]] / old[NAMES[0]]
    moved = np.abs(location) < np.abs(before.reshape(location.shape))
    assert np.all(moved[:, [0, 2, 3]])


def stack(kind, **arguments):
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.FlatToRegions(2),
            LEAVES[kind](3, scale_trainable=True, use_accumulators=True, **arguments),
            layers.PermuteAndPadScopesRandom([2, 2], seed=3),
            layers.DenseProduct(2),
            layers.DenseSum(3, sum_op=SumOpEMBackprop()),
            layers.ReduceProduct(2),
            layers.RootSum(False, sum_op=SumOpEMBackprop()),
        ]
    )


@pytest.mark.parametrize(
    ("kind", "jit_compile"),
    [
        ("normal", False),
        pytest.param("normal", True, marks=pytest.mark.slow),
        ("cauchy", False),
    ],
)
def test_online_em_trains_a_whole_keras_model(kind, jit_compile, tmp_path):
    model, x = stack(kind), data_of("normal", 96).astype("float32")
    model.compile(
        OnlineExpectationMaximization(0.2),
        NegativeLogLikelihood(),
        jit_compile=jit_compile,
    )
    before = model.evaluate(x, np.zeros(96), verbose=0)
    model.fit(x, np.zeros(96), epochs=6, batch_size=32, verbose=0)
    after = model.evaluate(x, np.zeros(96), verbose=0)
    assert after < before - 0.3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


@each_leaf
def test_online_em_of_the_stack_is_that_of_its_circuit_in_the_first_step(kind):
    """Both move expectations; from counts of one the new parameters agree at rate 1."""
    x = data_of("normal", 96).astype("float32")
    keras.utils.set_random_seed(1)
    model = stack(kind)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    circuit = circuits.from_layers(twin)
    model.compile(OnlineExpectationMaximization(1.0), NegativeLogLikelihood())
    circuit.compile(OnlineExpectationMaximization(1.0, pseudocount=0.0))
    model.train_on_batch(x, np.zeros(96))
    circuit.train_on_batch(x)
    np.testing.assert_allclose(circuit(x), model(x), rtol=1e-3, atol=1e-3)


@each_leaf
def test_every_query_and_fit(kind):
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=0)
    keras.utils.set_random_seed(0)
    leaf = LEAVES[kind](3, scale_trainable=True, use_accumulators=True)
    circuit = circuits.from_region_graph(graph, leaf, 3)
    x = data_of("normal", 96).astype("float32")
    initialize_leaves(circuit, x)
    spn = distributions.SumProductNetwork(circuit)
    location = leaf.canonical(leaf.live_params())["location"].numpy()
    for value in np.ravel(location)[:5]:
        assert np.abs(x - value).min() < 1e-4  # of the data
    before = np.mean(spn.log_prob(x))
    fit(spn, x, epochs=5)
    assert np.mean(spn.log_prob(x)) > before + 0.1
    observed = [True, False, True, False]
    given = spn.condition(x[:3], observed)
    assert np.all(np.isfinite(given.sample(2, seed=1)))
    assert np.all(np.isfinite(given.mode()))
    if kind != "cauchy":
        assert np.all(np.isfinite(spn.covariance()))
    marginal = spn.marginal([2, 0]).log_prob(x[:, [2, 0]])
    np.testing.assert_allclose(
        marginal, spn.log_prob(x, observed=observed), rtol=1e-5, atol=1e-5
    )


@each_leaf
def test_constant_data_and_one_example_give_no_nan(kind):
    for x in (np.full([8, 4], 3.0, "float32"), np.full([1, 4], 3.0, "float32")):
        model, optimizer = stack(kind), OnlineExpectationMaximization(1.0)
        for _ in range(2):
            with tf.GradientTape() as tape:
                loss = NegativeLogLikelihood()(np.zeros(len(x)), model(x))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
        assert np.all(np.isfinite(model(x)))
        leaf = model.layers[1]
        scale = leaf.scale(leaf.canonical(leaf.live_params()))
        assert np.min(scale) >= leaf.min_scale


@each_leaf
def test_scale_constraint_acts_wherever_the_scale_is_used(kind):
    for use_accumulators in (False, True):
        leaf = LEAVES[kind](
            2,
            scale_initializer="ones",
            use_accumulators=use_accumulators,
            scale_constraint=constraints.Clip(2.0),
        )
        leaf.build((None, 1, 1, 1))
        wide = LEAVES[kind](2, scale_initializer=keras.initializers.Constant(2.0))
        wide.build((None, 1, 1, 1))
        wide.parameters["location"].assign(
            tf.reshape(leaf.canonical(leaf.live_params())["location"], [1, 1, 1, 2, 1])
        )
        x = np.linspace(-3, 3, 5, dtype="float32").reshape(5, 1, 1, 1)
        np.testing.assert_allclose(leaf(x), wide(x), rtol=1e-5)
        copy = type(leaf).from_config(leaf.get_config())
        assert copy.scale_constraint.get_config() == {"min": 2.0, "max": None}
        assert copy.use_accumulators == use_accumulators
