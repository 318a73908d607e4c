"""Whole stacks as keras.Sequential: normalised, trainable, saved and loaded."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.stacks import RULES, binary_states, make_stack
from tfp_spn import layers

STACKS = {
    "one decomposition": {},
    "several decompositions": {"num_decomps": 3},
    "padding": {"num_variables": 5, "factors": (2, 3), "num_decomps": 2},
    "wide factors": {"num_variables": 3, "factors": (3,)},
    "no permutation": {"permute": False},
}
LEAVES = {"indicator": layers.IndicatorLeaf, "bernoulli": layers.BernoulliLeaf}


@pytest.mark.parametrize("arguments", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize("logits", [True, False])
def test_sums_to_one_over_all_states(arguments, leaf, logits):
    model = make_stack(leaf, logits=logits, **arguments)
    states = binary_states(arguments.get("num_variables", 4))
    assert np.exp(model(states)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_stays_normalized_after_optimizer_steps(rule):
    model = make_stack(layers.BernoulliLeaf, sum_op=RULES[rule], num_decomps=2)
    states = binary_states(4)
    optimizer = keras.optimizers.Adam(0.3)
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(model(states[:5]))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
    assert np.exp(model(states)).sum() == pytest.approx(1, abs=1e-5)


def test_fit_lowers_the_loss():
    model = make_stack(layers.NormalLeaf, num_decomps=2)
    x = np.random.default_rng(0).normal(size=(64, 4), loc=1.0).astype("float32")
    model.compile(keras.optimizers.Adam(0.05), loss=lambda _, log_prob: -log_prob)
    history = model.fit(x, np.zeros(64), epochs=4, batch_size=16, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("logits", [True, False])
def test_save_and_load(rule, logits, tmp_path):
    model = make_stack(
        layers.NormalLeaf,
        num_variables=5,
        factors=(2, 3),
        num_decomps=2,
        logits=logits,
        sum_op=RULES[rule],
    )
    x = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[-1].sum_op == RULES[rule]
    model.save_weights(tmp_path / "model.weights.h5")
    other = keras.models.clone_model(model)
    assert not np.array_equal(other(x), model(x))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))


def test_eager_graph_and_xla_agree():
    """One rule: `test_sum_layers` runs each of them in all three ways."""
    model = make_stack(
        layers.BernoulliLeaf,
        num_variables=2,
        factors=(2,),
        num_decomps=2,
        sum_op=RULES["hard_em"],
    )
    x = tf.constant(binary_states(2))

    def run(x):
        with tf.GradientTape() as tape:
            log_prob = model(x)
        return log_prob, *tape.gradient(log_prob, model.trainable_variables)

    expected = run(x)
    for jit in (False, True):
        got = tf.function(run, jit_compile=jit)(x)
        for have, want in zip(got, expected, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)


def test_dynamic_and_empty_batches():
    model = make_stack(layers.NormalLeaf)
    traced = tf.function(model, input_signature=[tf.TensorSpec([None, 4])])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(traced(x), model(x), rtol=1e-6)
    assert traced(x[:0]).shape == model(x[:0]).shape == (0, 1)


def test_an_impossible_example_has_zero_gradient():
    model = make_stack(layers.IndicatorLeaf, num_decomps=2)
    with tf.GradientTape() as tape:
        log_prob = model(np.full([2, 4], 7.0, "float32"))
    assert np.all(np.isneginf(log_prob))
    for gradient in tape.gradient(log_prob, model.trainable_variables):
        np.testing.assert_array_equal(gradient, 0)
