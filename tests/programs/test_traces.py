"""Densities outside of graphs: compiled once, for all views and shapes."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.autograph.impl import api as autograph_api
from tensorflow.python.framework.ops import gradient_registry

from tests.cases import CASES
from tests.tracing import num_traces
from tfp_spn import layers, region_graphs
from tfp_spn.circuits import clear_traces, from_region_graph
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import fit
from tfp_spn.ops.shared_functions import shared_function

pytestmark = pytest.mark.compiled


@pytest.fixture
def circuit():
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=0)
    return from_region_graph(graph, layers.NormalLeaf(3), 3)


def test_traced_at_most_twice(circuit):
    clear_traces()
    for count in (3, 3, 5, 7, 1, 9):
        x = np.zeros([count, 4], np.float32)
        assert SumProductNetwork(circuit).log_prob(x).shape == [count]
    assert num_traces(circuit) == 2


def test_computed_operation_by_operation_if_tensorflow_is_told_so(circuit):
    """Answers are the same, and draws of equal seeds, however they are computed."""
    clear_traces()
    spn, x = SumProductNetwork(circuit), np.ones([3, 4], np.float32)
    hidden = spn.condition(x, [True, False, True, False])
    queries = {
        "log_prob": lambda: spn.log_prob(x),
        "sample": lambda: spn.sample(5, seed=(1, 2)),
        "mean": lambda: hidden.mean(),
        "mode": lambda: hidden.mode(),
        "draws": lambda: hidden.sample(5, seed=(1, 2)),
        "covariance": lambda: hidden.covariance(),
        "cdf": lambda: spn.cdf(x),
    }
    tf.config.run_functions_eagerly(True)
    try:
        found = {name: query() for name, query in queries.items()}
        with tf.GradientTape() as tape:
            value = spn.log_prob(x)
        gradients = tape.gradient(value, spn.trainable_variables)
    finally:
        tf.config.run_functions_eagerly(False)
    assert num_traces(circuit) == 0
    for name, query in queries.items():
        np.testing.assert_allclose(query(), found[name], rtol=1e-5, err_msg=name)
    with tf.GradientTape() as tape:
        value = spn.log_prob(x)
    want = tape.gradient(value, spn.trainable_variables)
    for gradient, wanted in zip(gradients, want, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-6)


def test_draws_from_long_chains_are_compiled():
    graph = region_graphs.linear_tree(120)
    circuit = from_region_graph(graph, layers.BernoulliLeaf(2), 2)
    clear_traces()
    spn = SumProductNetwork(circuit)
    drawn = [spn.sample(3, seed=(1, 2)) for _ in range(2)]
    assert num_traces(circuit) == 1
    np.testing.assert_array_equal(*drawn)
    assert drawn[0].shape == (3, 120)


def test_circuits_of_equal_structure_share_a_trace(circuit):
    clear_traces()
    x = np.ones([3, 4], np.float32)
    want = SumProductNetwork(circuit).log_prob(x)
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=0)
    other = from_region_graph(graph, layers.NormalLeaf(3), 3)
    assert other.program.traces is circuit.program.traces
    before = SumProductNetwork(other).log_prob(x)
    other.set_weights(circuit.get_weights())
    assert not np.allclose(before, want)
    np.testing.assert_allclose(SumProductNetwork(other).log_prob(x), want, rtol=1e-6)
    assert num_traces(circuit) == 1


def test_circuits_of_mixed_leaves_share_traces():
    """Keras gives each leaf a name of its own."""

    def made(num_categories):
        leaf = layers.MixedLeaf(
            [
                (layers.NormalLeaf(2), [0, 1]),
                (layers.CategoricalLeaf(2, num_categories=num_categories), [2, 3]),
            ]
        )
        graph = region_graphs.random_binary_trees(4, 2, 2, seed=0)
        return from_region_graph(graph, leaf, 2).program

    first, second, third = made(3), made(3), made(4)
    assert first.traces is second.traces
    assert first.traces is not third.traces


def test_threads_trace_a_query_once(circuit):
    clear_traces()
    spn, x = SumProductNetwork(circuit), np.ones([3, 4], np.float32)
    start = threading.Barrier(4)

    def ask(_):
        start.wait()
        return spn.log_prob(x).numpy()

    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(ask, range(4)))
    assert num_traces(circuit) == 1
    for value in values:
        np.testing.assert_allclose(value, spn.log_prob(x), rtol=1e-6)


def test_an_interrupted_trace_leaves_the_circuit_usable(circuit, monkeypatch):
    clear_traces()
    spn, x = SumProductNetwork(circuit), np.ones([3, 4], np.float32)
    program_class = type(circuit.program)
    evaluate = program_class.tables

    def interrupted(*arguments, **options):
        evaluate(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program_class, "tables", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                spn.log_prob(x)
    found = spn.log_prob(x)
    assert num_traces(circuit) == 1
    want = tf.function(spn.log_prob, autograph=False)(x)
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_follows_training_and_has_gradients(circuit):
    spn, x = SumProductNetwork(circuit), np.ones([2, 4], np.float32)
    for _ in range(3):
        with tf.GradientTape() as tape:
            value = spn.log_prob(x)
        gradients = tape.gradient(value, spn.trainable_variables)
        assert all(g is not None for g in gradients)
        fresh = tf.function(spn.log_prob, autograph=False)(x)
        np.testing.assert_allclose(value, fresh, rtol=1e-6)
        for variable, gradient in zip(spn.trainable_variables, gradients, strict=True):
            variable.assign_add(0.1 * gradient)


def test_other_parameters_are_not_those_of_the_circuit(circuit):
    x = np.ones([2, 4], np.float32)
    live = circuit.live_params()
    moved = {name: value + 0.5 for name, value in live.items()}
    before = [SumProductNetwork(circuit).log_prob(x) for _ in range(3)][-1]
    after = [SumProductNetwork(circuit, moved).log_prob(x) for _ in range(3)][-1]
    assert not np.allclose(before, after)


def test_circuits_are_forgotten(circuit):
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=0)
    other = from_region_graph(graph, layers.NormalLeaf(3), 3)
    for _ in range(2):
        SumProductNetwork(other).log_prob(np.zeros([2, 4], np.float32))
    reference = weakref.ref(other)
    del other
    gc.collect()
    assert reference() is None


def test_traces_go_with_the_last_circuit_of_their_structure():
    def used(seed):
        graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=seed)
        other = from_region_graph(graph, layers.NormalLeaf(2), 2)
        x = tf.zeros([2, 4])
        fit(other, x, epochs=2, verbose=False)
        spn = SumProductNetwork(other)
        spn.log_prob(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = spn.log_prob(x)
        tape.gradient(value, x)
        return weakref.ref(other.program.traces)

    references = [used(seed) for seed in (11, 12)]
    gc.collect()
    registered = len(gradient_registry.list())
    references.append(used(13))
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    assert len(gradient_registry.list()) == registered


def test_functions_of_users_keep_their_gradients(circuit):
    """Also where the traces that they call are forgotten meanwhile."""
    spn, x = SumProductNetwork(circuit), tf.ones([2, 4])

    @tf.function(autograph=False)
    def log_prob(x):
        return spn.log_prob(x)

    log_prob(x)
    clear_traces()
    gc.collect()
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = log_prob(x)
    found = tape.gradient(value, x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = spn.log_prob(x)
    np.testing.assert_allclose(found, tape.gradient(value, x), rtol=1e-6)


def test_autograph_rewrites_nothing_of_the_package(monkeypatch):
    """It takes seconds to parse all that a user's function reaches."""
    convert, seen = autograph_api._convert_actual, []

    def noted(entity, program_ctx):
        seen.append(entity.__module__)
        return convert(entity, program_ctx)

    monkeypatch.setattr(autograph_api, "_convert_actual", noted)
    spn = CASES["classes"]().distribution

    @tf.function
    def posterior(x):
        return spn.posterior_marginal(x).logits_parameter(), spn.circuit(x)

    posterior(tf.zeros([2, 4], tf.int32))
    assert __name__ in seen
    assert not [module for module in seen if module.startswith("tfp_spn")]


def test_clear_traces_forgets_exact_sums(circuit):
    @tf.function(autograph=False)
    def log_prob(x):
        return SumProductNetwork(circuit).log_prob(x)

    x = np.zeros([3, 4], np.float32)
    before = log_prob(x)
    assert shared_function.cache_info().currsize > 0
    clear_traces()
    assert shared_function.cache_info().currsize == 0
    np.testing.assert_array_equal(log_prob(x), before)
