"""Products of weights and units, whichever of them has a batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.ops.matrix_products import (
    fold_batch,
    unfold_batch,
    weight_gradient,
    weighted_units,
)

RNG = np.random.default_rng(0)
# Batch of the weights, batch of the units, examples.
BATCHES = [
    ((), (), 5),
    ((), (4,), 1),
    ((), (2, 3), 2),
    ((4,), (4,), 1),
    ((4,), (4,), 3),
    ((4,), (), 3),
    ((1,), (4,), 2),
    ((4, 1), (3,), 2),
    ((), (0,), 2),
    ((), (4,), 0),
]


@pytest.mark.parametrize("num_inputs", [1, 3])
@pytest.mark.parametrize(("weights_batch", "units_batch", "count"), BATCHES)
def test_value_and_gradients(weights_batch, units_batch, count, num_inputs):
    w = tf.constant(RNG.normal(size=(*weights_batch, 2, num_inputs, 4)))
    x = tf.constant(RNG.normal(size=(*units_batch, 2, num_inputs, count)))

    def with_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([w, x])
            y = function(w, x)
            total = tf.reduce_sum(tf.sin(y))
        return y, *tape.gradient(total, [w, x])

    want = with_gradients(lambda w, x: tf.einsum("...rio,...rin->...ron", w, x))
    got = with_gradients(weighted_units)
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("batch", "count"), [((), 3), ((4,), 1), ((2, 3), 2)])
def test_gradient_of_weights(batch, count):
    w = tf.constant(RNG.normal(size=(2, 3, 4)))
    x = tf.constant(RNG.normal(size=(*batch, 2, 3, count)))
    flow = tf.constant(RNG.normal(size=(*batch, 2, 4, count)))
    got = weight_gradient(x, flow, w)
    assert got.shape == w.shape
    np.testing.assert_allclose(
        got, np.einsum("prin,pron->rio", *(_one_batch(v) for v in (x, flow)))
    )


def _one_batch(value):
    return np.reshape(value, [-1, *value.shape[-3:]])


def test_unknown_batch():
    @tf.function(input_signature=[tf.TensorSpec([None, 2, 3, None], tf.float64)])
    def product(x):
        y = weighted_units(weights, x)
        assert y.shape.as_list() == [None, 2, 4, None]
        return y

    weights = tf.constant(RNG.normal(size=(2, 3, 4)))
    for batch in (5, 0):
        x = RNG.normal(size=(batch, 2, 3, 2))
        np.testing.assert_allclose(
            product(x), np.einsum("rio,prin->pron", weights, x), rtol=1e-12
        )


def test_folding_is_undone():
    x = tf.constant(RNG.normal(size=(2, 3, 4, 5, 6)))
    folded = fold_batch(x)
    assert folded.shape == (4, 5, 36)
    np.testing.assert_array_equal(unfold_batch(folded, x), x)
    np.testing.assert_array_equal(folded[1, 2], np.reshape(x[:, :, 1, 2], [-1]))
