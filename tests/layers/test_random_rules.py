"""Rules that draw: what is drawn, how often, and that it depends on the seed only."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests.layers.slow_sums import shares
from tests.layers.stacks import RULES, make_stack, set_accumulators
from tfp_spn import layers
from tfp_spn.sum_ops import (
    SumOpHardEMBackprop,
    SumOpSampleBackprop,
    SumOpUnweightedHardEMBackprop,
)

NUM_EXAMPLES = 4000
FALSE_ALARM = 1e-6


def selections(rule, log_x, weights, wrap=lambda f: f):
    """Which child each sum selects for equal examples: ``[N, I, O]`` of 0 and 1."""
    layer = layers.DenseSum(weights.shape[1], False, sum_op=rule, dtype="float64")
    x = np.tile(log_x, [NUM_EXAMPLES, 1])[:, np.newaxis, np.newaxis]
    layer.build(x.shape)
    set_accumulators(layer, weights[np.newaxis, np.newaxis])

    @wrap
    def flow_to_children(x, flow):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return tape.gradient(y, x, flow)

    columns = []
    for output in range(weights.shape[1]):
        flow = np.zeros([NUM_EXAMPLES, 1, 1, weights.shape[1]])
        flow[..., output] = 1
        columns.append(flow_to_children(tf.constant(x), tf.constant(flow))[:, 0, 0])
    return np.stack(columns, axis=-1)


def assert_distributed(chosen: np.ndarray, probs: np.ndarray) -> None:
    """Chi-square test; children of probability zero are never chosen."""
    np.testing.assert_array_equal(np.unique(chosen), [0, 1])
    np.testing.assert_array_equal(chosen.sum(1), 1)
    for output in range(probs.shape[1]):
        counts, expected = chosen[..., output].sum(0), probs[:, output]
        assert not counts[expected == 0].any()
        possible = expected > 0
        if possible.sum() == 1:
            continue
        test = scipy.stats.chisquare(
            counts[possible], expected[possible] * NUM_EXAMPLES
        )
        assert test.pvalue > FALSE_ALARM


LOG_X = np.array([-1.0, 0.5, -np.inf, 0.5])
WEIGHTS = np.array([[3.0, 0.2], [1.1, 1.0], [5.0, 1.0], [1.0, 0.7]])


@pytest.mark.statistical
@pytest.mark.parametrize("jit", [None, False, True], ids=["eager", "graph", "xla"])
def test_sample_rule_follows_the_posterior(jit):
    wrap = (lambda f: f) if jit is None else (lambda f: tf.function(f, jit_compile=jit))
    chosen = selections(SumOpSampleBackprop(seed=3), LOG_X, WEIGHTS, wrap)
    assert_distributed(chosen, shares("grad", LOG_X[np.newaxis], WEIGHTS)[0])


@pytest.mark.statistical
@pytest.mark.parametrize("sample_prob", [None, 0.0, 0.3, 1.0])
def test_hard_rule_mixes_the_best_with_the_posterior(sample_prob):
    chosen = selections(SumOpHardEMBackprop(sample_prob), LOG_X, WEIGHTS)
    best = shares("hard_em", LOG_X[np.newaxis], WEIGHTS)[0]
    drawn = shares("grad", LOG_X[np.newaxis], WEIGHTS)[0]
    p = sample_prob or 0
    assert_distributed(chosen, p * drawn + (1 - p) * best)


@pytest.mark.statistical
@pytest.mark.parametrize("sample_prob", [None, 0.3, 1.0])
def test_unweighted_hard_rule_ignores_weights_and_breaks_ties_evenly(sample_prob):
    rule = SumOpUnweightedHardEMBackprop(sample_prob)
    chosen = selections(rule, LOG_X, WEIGHTS)
    np.testing.assert_array_equal(chosen[..., 0], chosen[..., 1])  # one for all sums
    even = np.tile([[0.0], [0.5], [0.0], [0.5]], [1, 2])
    drawn = np.tile(np.exp(LOG_X)[:, np.newaxis], [1, 2])
    drawn /= drawn.sum(0)
    p = sample_prob or 0
    assert_distributed(chosen, p * drawn + (1 - p) * even)


@pytest.mark.statistical
def test_sums_draw_independently():
    chosen = selections(SumOpSampleBackprop(), np.zeros(2), np.ones([2, 2]))
    both = chosen[:, 0, 0] == chosen[:, 0, 1]
    # Binomial(4000, 1/2) leaves [1840, 2160] with probability 4e-7.
    assert 1840 < both.sum() < 2160


@pytest.mark.parametrize(
    "rule", [SumOpSampleBackprop, lambda seed: SumOpHardEMBackprop(0.5, seed)]
)
def test_equal_seeds_equal_draws(rule):
    arguments = np.zeros(3), np.ones([3, 1])
    first = selections(rule(seed=1), *arguments)
    np.testing.assert_array_equal(first, selections(rule(seed=1), *arguments))
    assert not np.array_equal(first, selections(rule(seed=2), *arguments))


def test_counts_are_those_of_the_draws():
    layer = layers.DenseSum(2, sum_op=RULES["sample"], dtype="float64")
    x = np.random.default_rng(0).normal(size=[50, 1, 1, 3])
    layer.build(x.shape)
    flow = np.random.default_rng(1).uniform(size=[50, 1, 1, 2])
    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        y = layer(x)
    dx, counts = tape.gradient(y, [x, layer.accumulators.value], tf.constant(flow))
    np.testing.assert_allclose(tf.reduce_sum(counts, 2)[0, 0], flow.sum((0, 1, 2)))
    by_child = tf.reduce_sum(counts, 3)[0, 0]
    np.testing.assert_allclose(tf.reduce_sum(dx, 0)[0, 0], by_child)


def test_one_component_per_variable_receives_the_flow():
    """The upward pass, then draws all the way down: one induced tree per example."""
    model = make_stack(layers.NormalLeaf, num_decomps=2, sum_op=RULES["sample"])
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    leaf = model.layers[1]
    values = leaf(model.layers[0](x))
    with tf.GradientTape() as tape:
        tape.watch(values)
        y = values
        for layer in model.layers[2:]:
            y = layer(y)
    flow = tape.gradient(y, values)  # [batch, scopes, decomps, nodes]
    np.testing.assert_array_equal(np.unique(flow), [0, 1])
    np.testing.assert_array_equal(tf.reduce_sum(flow, [2, 3]), 1)


def test_rules_survive_saving():
    rules = [SumOpHardEMBackprop(0.25, 3), SumOpUnweightedHardEMBackprop(0.5)]
    for rule in [*rules, SumOpSampleBackprop(4)]:
        layer = layers.DenseSum(2, sum_op=rule)
        copy = keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(layer)
        )
        assert copy.sum_op == rule


@pytest.mark.parametrize("sample_prob", [-0.1, 1.5, float("nan"), "0.1"])
def test_sample_prob_must_be_a_probability(sample_prob):
    with pytest.raises((TypeError, ValueError), match="at least 0 and of at most 1"):
        SumOpHardEMBackprop(sample_prob)
