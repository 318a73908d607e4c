"""Sums of some regions after others equal sums of all regions at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs
from tfp_spn.programs import recomputed_steps


def _quad_graph(**options):
    leaf = layers.CategoricalLeaf(3, num_categories=4)
    return circuits.from_region_graph(
        region_graphs.quad_graph((4, 3)), leaf, 3, num_classes=2, **options
    )


def _tucker(**options):
    graph = region_graphs.random_binary_trees(10, 3, num_repetitions=3, seed=1)
    leaf = layers.BernoulliLeaf(3)
    return circuits.from_region_graph(graph, leaf, 2, "tucker", **options)


def _many_leaves(**options):
    # Products of five leaves, in log space, and of leaves with inner regions.
    graph = region_graphs.from_nested_lists(
        [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14], 15]
    )
    return circuits.from_region_graph(
        graph, layers.BernoulliLeaf(2), 2, leaf_sums=False, **options
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


def _whole_and_in_parts(make):
    """Equal circuits, of which one keeps products and the other does not."""
    whole, parts = make(), make(recompute=True)
    parts.set_weights(whole.get_weights())
    assert max(len(recomputed_steps.parts_of(s)) for s in parts.program.steps) > 2
    return whole, parts


@pytest.mark.parametrize("name", CIRCUITS)
@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_parts_change_nothing(name, jit_compile, monkeypatch):
    monkeypatch.setattr(recomputed_steps, "UNITS_PER_PART", 3)
    pair = _whole_and_in_parts(CIRCUITS[name])
    num_variables = pair[0].program.num_variables
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, [6, num_variables])
    observed = rng.random(x.shape) < 0.7
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        *(_value_and_gradient(c, x, observed, jit_compile) for c in pair),
    )


@pytest.mark.slow
def test_second_derivatives_pass_through_parts(monkeypatch):
    monkeypatch.setattr(recomputed_steps, "UNITS_PER_PART", 5)
    x = np.random.default_rng(0).integers(0, 2, [3, 10])

    def hessian_row(circuit):
        spn = distributions.SumProductNetwork(circuit)
        [weights, *_] = [layer.accumulators.value for layer in circuit.sums]
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                log_prob = tf.reduce_sum(spn.log_prob(x))
            gradient = tf.reshape(inner.gradient(log_prob, weights), [-1])
            first = tf.reduce_sum(
                gradient * tf.range(gradient.shape[0], dtype=tf.float32)
            )
        return outer.gradient(first, weights)

    whole, parts = (
        tf.function(lambda c=c: hessian_row(c), autograph=False)()
        for c in _whole_and_in_parts(_tucker)
    )
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-5)


def test_recompute_changes_nothing_and_is_saved():
    graph = region_graphs.random_binary_trees(8, 2, num_repetitions=2, seed=0)
    plain, again = (
        circuits.from_region_graph(
            graph, layers.BernoulliLeaf(2), 3, num_classes=2, recompute=recompute
        )
        for recompute in (False, True)
    )
    again.set_weights(plain.get_weights())
    x = np.random.default_rng(0).integers(0, 2, [5, 8])
    results = [_value_and_gradient(c, x, None, False) for c in (plain, again)]
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
