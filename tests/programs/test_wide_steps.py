"""Sums of some regions after others equal sums of all regions at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs
from tfp_spn.programs import scaled_pass, wide_steps


def _quad_graph():
    leaf = layers.CategoricalLeaf(3, num_categories=4)
    return circuits.from_region_graph(
        region_graphs.quad_graph((4, 3)), leaf, 3, num_classes=2
    )


def _tucker():
    graph = region_graphs.random_binary_trees(10, 3, num_repetitions=3, seed=1)
    return circuits.from_region_graph(graph, layers.BernoulliLeaf(3), 2, "tucker")


def _many_leaves():
    # Products of five leaves, in log space, and of leaves with inner regions.
    graph = region_graphs.from_nested_lists(
        [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14], 15]
    )
    return circuits.from_region_graph(
        graph, layers.BernoulliLeaf(2), 2, leaf_sums=False
    )


CIRCUITS = {"quad": _quad_graph, "tucker": _tucker, "many_leaves": _many_leaves}


def _value_and_gradient(circuit, x, observed, jit_compile):
    spn = distributions.SumProductNetwork(circuit)
    variables = [v.value for v in circuit.trainable_variables]

    @tf.function(jit_compile=jit_compile, autograph=False)
    def compiled():
        with tf.GradientTape() as tape:
            log_prob = spn.log_prob(x, observed=observed)
        return log_prob, tape.gradient(log_prob, variables)

    return compiled()


@pytest.mark.parametrize("name", CIRCUITS)
def test_parts_change_nothing(name, monkeypatch):
    circuit = CIRCUITS[name]()
    num_variables = circuit.program.num_variables
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, [6, num_variables])
    observed = rng.random(x.shape) < 0.7
    whole = _value_and_gradient(circuit, x, observed, False)
    monkeypatch.setattr(wide_steps, "UNITS_PER_PART", 3)
    assert max(len(wide_steps.parts_of(s)) for s in circuit.program.steps) > 2
    parts = _value_and_gradient(circuit, x, observed, False)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        whole,
        parts,
    )


def test_xla_takes_all_regions_at_once(monkeypatch):
    circuit = _quad_graph()
    x = np.random.default_rng(0).integers(0, 2, [6, 12])
    whole = _value_and_gradient(circuit, x, None, False)
    monkeypatch.setattr(wide_steps, "UNITS_PER_PART", 3)

    def refuse(*arguments):
        raise AssertionError("in parts")

    monkeypatch.setattr(scaled_pass, "sums_in_parts", refuse)
    with pytest.raises(AssertionError, match="in parts"):
        _value_and_gradient(circuit, x, None, False)
    compiled = _value_and_gradient(circuit, x, None, True)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        whole,
        compiled,
    )


@pytest.mark.slow
def test_second_derivatives_pass_through_parts(monkeypatch):
    circuit = _tucker()
    x = np.random.default_rng(0).integers(0, 2, [3, 10])
    spn = distributions.SumProductNetwork(circuit)
    [weights, *_] = [layer.accumulators.value for layer in circuit.sums]

    def hessian_row():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                log_prob = tf.reduce_sum(spn.log_prob(x))
            gradient = tf.reshape(inner.gradient(log_prob, weights), [-1])
            first = tf.reduce_sum(
                gradient * tf.range(gradient.shape[0], dtype=tf.float32)
            )
        return outer.gradient(first, weights)

    whole = tf.function(hessian_row, autograph=False)()
    monkeypatch.setattr(wide_steps, "UNITS_PER_PART", 5)
    parts = tf.function(hessian_row, autograph=False)()
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_recompute_changes_nothing_and_is_saved(jit_compile, monkeypatch):
    if jit_compile:  # in parts then
        monkeypatch.setattr(wide_steps, "UNITS_PER_PART", 3)
    graph = region_graphs.random_binary_trees(8, 2, num_repetitions=2, seed=0)
    plain, again = (
        circuits.from_region_graph(
            graph, layers.BernoulliLeaf(2), 3, num_classes=2, recompute=recompute
        )
        for recompute in (False, True)
    )
    again.set_weights(plain.get_weights())
    x = np.random.default_rng(0).integers(0, 2, [5, 8])
    results = [_value_and_gradient(c, x, None, jit_compile) for c in (plain, again)]
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *results
    )
    restored = type(again).from_config(again.get_config())
    assert restored.program.recompute
    assert not plain.program.recompute


def _num_kept(circuit, num_examples):
    """Elements that the forward pass keeps for the gradient."""
    spn = distributions.SumProductNetwork(circuit)

    @tf.function(autograph=False)
    def log_prob(x):
        return spn.log_prob(x)

    variables = [v.value for v in circuit.trainable_variables]
    x = tf.zeros([num_examples, circuit.program.num_variables])
    with tf.GradientTape() as tape:
        tape.watch(variables)
        log_prob(x)
    forward = log_prob.get_concrete_function(x)._delayed_rewrite_functions
    outputs = forward.forward().graph.outputs
    return sum(int(np.prod(o.shape)) for o in outputs if num_examples in o.shape)


def test_products_are_not_kept():
    graph = region_graphs.random_binary_trees(16, 3, num_repetitions=2, seed=0)
    kept = [
        _num_kept(
            circuits.from_region_graph(
                graph, layers.BernoulliLeaf(6), 6, "tucker", recompute=recompute
            ),
            num_examples=17,
        )
        for recompute in (False, True)
    ]
    assert kept[1] < 0.6 * kept[0]
