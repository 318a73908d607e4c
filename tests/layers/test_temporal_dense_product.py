"""Products over time, and weights that are held for several calls."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import layers, sum_ops
from tfp_spn.layers.regions.held_weights import hold_log_weights

RNG = np.random.default_rng(0)
PREVIOUS = RNG.normal(size=(5, 2, 3, 4))
CURRENT = RNG.normal(size=(5, 2, 3, 2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_all_pairs_the_previous_step_first(dtype):
    layer = layers.TemporalDenseProduct()
    pair = [PREVIOUS.astype(dtype), CURRENT.astype(dtype)]
    found = layer([tf.constant(x) for x in pair])
    assert found.dtype == dtype
    for i in range(4):
        for j in range(2):
            want = pair[0][..., i] + pair[1][..., j]
            np.testing.assert_array_equal(found[..., i * 2 + j], want)
    inputs = [keras.Input(x.shape[1:], dtype=dtype) for x in pair]
    symbolic = layer(inputs)
    assert symbolic.shape == (None, 2, 3, 8)
    assert symbolic.dtype == dtype
    assert layer.compute_output_shape([x.shape for x in pair]) == (5, 2, 3, 8)
    assert layer([x[:0] for x in map(tf.constant, pair)]).shape == (0, 2, 3, 8)


def test_impossible_nodes_make_impossible_products():
    previous, current = tf.constant(PREVIOUS), tf.constant(CURRENT)
    previous = tf.where(previous > 0, previous, -np.inf)
    with tf.GradientTape() as tape:
        tape.watch([previous, current])
        value = layers.TemporalDenseProduct()([previous, current])
        total = tf.reduce_sum(tf.exp(value))
    assert not np.any(np.isnan(value))
    for gradient in tape.gradient(total, [previous, current]):
        assert np.all(np.isfinite(gradient))


def test_saved_in_a_functional_model(tmp_path):
    inputs = [keras.Input((2, 3, 4)), keras.Input((2, 3, 2))]
    model = keras.Model(inputs, layers.TemporalDenseProduct(name="mine")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    layer = loaded.get_layer("mine")
    assert type(layer) is layers.TemporalDenseProduct
    assert layer.get_config() == model.get_layer("mine").get_config()
    pair = [PREVIOUS.astype("float32"), CURRENT.astype("float32")]
    np.testing.assert_array_equal(loaded(pair), model(pair))


WRONG = {
    "one input": (
        lambda: tf.zeros([5, 2, 3, 4]),
        r"received the shape \(5, 2, 3, 4\), expected a pair",
    ),
    "three inputs": (lambda: [tf.zeros([5, 2, 3, 4])] * 3, "received 3 inputs"),
    "other regions": (
        lambda: [tf.zeros([5, 2, 3, 4]), tf.zeros([5, 1, 3, 4])],
        r"\(5, 2, 3, 4\) and \(5, 1, 3, 4\), .* first has 2 and 3, the second 1 and 3",
    ),
    "other ranks": (
        lambda: [tf.zeros([5, 2, 3, 4]), tf.zeros([5, 4])],
        r"input shape \(5, 4\), expected \[batch, scopes, decomps, nodes\]",
    ),
    "other dtypes": (
        lambda: [tf.zeros([5, 2, 3, 4]), tf.zeros([5, 2, 3, 4], "float64")],
        "dtypes float32 and float64, expected one dtype",
    ),
}


@pytest.mark.parametrize(("inputs", "message"), WRONG.values(), ids=WRONG)
def test_errors(inputs, message):
    with pytest.raises(ValueError, match=message):
        layers.TemporalDenseProduct()(inputs())


def test_held_weights_are_read_once_and_counted_together():
    layer = layers.DenseSum(2, sum_op=sum_ops.SumOpEMBackprop())
    x = tf.constant(PREVIOUS, "float32")
    want = layer(x)
    with tf.GradientTape() as tape, hold_log_weights([layer]):
        held = layer.log_weights()
        assert layer.log_weights() is held
        total = -tf.reduce_sum(layer(x)) - tf.reduce_sum(layer(x + 1))
        seen: list = []
        thread = threading.Thread(target=lambda: seen.append(layer.log_weights()))
        thread.start()
        thread.join()
        assert seen[0] is not held  # other threads, that is replicas, read their own
    assert layer.log_weights() is not held
    counts = tape.gradient(total, layer.accumulators.value)
    np.testing.assert_allclose(tf.reduce_sum(counts, -2), -1, rtol=1e-5)
    layer.accumulators.assign(layer.accumulators * tf.constant([1.0, 2, 3, 4])[:, None])
    assert not np.allclose(layer(x), want)  # nothing is held for longer
