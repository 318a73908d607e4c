"""Weights of examples without targets count in Keras' own `fit` and `evaluate`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn

L = tfp_spn.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=[20, 4]).astype("float32")
W = np.repeat([0.0, 2.0], 10).astype("float32")


def _circuit() -> Any:
    return tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(4), L.NormalLeaf(2), num_sums=2
    )


def _stack() -> Any:
    return tfp_spn.models.SequentialSumProductNetwork(
        [
            keras.Input((4,)),
            L.FlatToRegions(1),
            L.NormalLeaf(2),
            L.ReduceProduct(4),
            L.RootSum(return_weighted_child_logits=False),
        ]
    )


@pytest.mark.parametrize("make", [_circuit, _stack])
def test_weights_without_targets_count(make: Any) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    metric = tfp_spn.metrics.LogLikelihood()
    loss = tfp_spn.losses.NegativeLogLikelihood()
    model.compile(keras.optimizers.SGD(0.1), loss, weighted_metrics=[metric])
    log_p = np.asarray(model(X))[:, 0]
    right = float(log_p @ W) / 20
    plain: dict[str, Any] = {"verbose": 0, "batch_size": 20}
    assert abs(right - log_p.mean()) > 0.01
    for found in (
        model.evaluate(X, sample_weight=W, **plain),
        model.evaluate(X, None, 20, 0, W),
        *(
            []
            if make is _stack
            else [model.evaluate((X, None), sample_weight=W, **plain)]
        ),
    ):
        np.testing.assert_allclose(found, [-right, right], rtol=1e-5)
    start = model.get_weights()

    def after(y: Any, weight: Any, **more: Any) -> Any:
        model.set_weights(start)
        history = model.fit(X, y, sample_weight=weight, shuffle=False, **plain, **more)
        return np.concatenate([np.ravel(w) for w in model.get_weights()]), history

    targets = np.zeros(20)
    weighted, history = after(None, W, validation_data=(X, None, W))
    np.testing.assert_array_equal(weighted, after(targets, W)[0])
    assert np.abs(weighted - after(None, None)[0]).max() > 1e-4
    np.testing.assert_allclose(history.history["loss"], [-right], rtol=1e-5)
    model.set_weights(weighted_of(model, weighted))
    right = float(np.asarray(model(X))[:, 0] @ W) / 20
    np.testing.assert_allclose(history.history["val_loss"], [-right], rtol=1e-5)


def weighted_of(model: Any, flat: np.ndarray) -> list[np.ndarray]:
    """The model's weights from one flat array."""
    shapes = [w.shape for w in model.get_weights()]
    parts = np.split(flat, np.cumsum([np.prod(s, dtype=int) for s in shapes])[:-1])
    return [part.reshape(s) for part, s in zip(parts, shapes, strict=True)]


def test_online_em_needs_no_targets_for_weights() -> None:
    found = []
    for y in (None, np.zeros(20, int)):
        keras.utils.set_random_seed(0)
        circuit = _circuit()
        em = tfp_spn.optimizers.OnlineExpectationMaximization()
        circuit.compile(em, tfp_spn.losses.NegativeLogLikelihood())
        circuit.fit(X, y, sample_weight=W, batch_size=20, verbose=0)
        found.append(circuit.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_weights_of_classes_need_labels() -> None:
    model = _circuit()
    model.compile("sgd", tfp_spn.losses.NegativeLogLikelihood())
    with pytest.raises(ValueError, match="class_weight weighs classes.*sample_weight"):
        model.fit(X, class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ValueError, match="train_on_batch: class_weight weighs"):
        model.train_on_batch(X, class_weight={0: 1.0})


def test_streams_bring_their_own_weights() -> None:
    circuit = _circuit()
    circuit.compile("sgd", tfp_spn.losses.NegativeLogLikelihood())
    data = tf.data.Dataset.from_tensors(X)
    with pytest.raises(ValueError, match="sample_weight"):  # Keras' own message
        circuit.evaluate(data, sample_weight=W, verbose=0)


def test_losses_of_plain_models_ask_for_targets() -> None:
    # Keras would drop weights that are given without targets.
    layers = [keras.Input((4,)), *_stack().layers]
    plain = keras.Sequential(layers)
    functional = keras.Model(plain.inputs, plain.outputs)
    cases = (
        (tfp_spn.losses.NegativeLogLikelihood(), r"fit\(x, x\)"),
        (tfp_spn.losses.NegativeLogJoint(), r"fit\(x, labels\)"),
        (tfp_spn.losses.HybridGenerativeDiscriminative(), r"fit\(x, labels\)"),
    )
    for model in (plain, functional):
        for loss, remedy in cases:
            model.compile("sgd", loss)
            with pytest.raises(ValueError, match=f"no targets.*{remedy}"):
                model.fit(X, verbose=0)
    plain.compile("sgd", tfp_spn.losses.NegativeLogLikelihood())
    right = -float(np.asarray(plain(X))[:, 0] @ W) / 20
    data = tf.data.Dataset.from_tensors((X, W)).map(lambda x, w: (x, None, w))
    np.testing.assert_allclose(plain.evaluate(data, verbose=0), right, rtol=1e-5)
    found = plain.evaluate(X, X, sample_weight=W, batch_size=20, verbose=0)
    np.testing.assert_allclose(found, right, rtol=1e-5)


def test_one_hot_vectors_are_no_labels() -> None:
    joint = np.log([[0.25, 0.75], [0.5, 0.5]]).astype("float32")
    for loss in (
        tfp_spn.losses.NegativeLogJoint(),
        tfp_spn.losses.HybridGenerativeDiscriminative(generative_term="joint"),
    ):
        with pytest.raises(ValueError, match=r"no labels.*\(2, 2\).*argmax"):
            loss(np.eye(2), joint)
        column = loss(np.array([[0], [1]]), joint)
        np.testing.assert_allclose(column, loss(np.array([0, 1]), joint))


def test_half_a_label_is_no_class() -> None:
    joint = np.log([[0.25, 0.75]]).astype("float32")
    for y, right in ((1.0, np.log(0.75)), (0.5, -np.inf), (np.nan, -np.inf)):
        label = np.array([y])
        found = tfp_spn.losses.NegativeLogJoint()(label, joint)
        np.testing.assert_allclose(found, -right, rtol=1e-6)
        found = tfp_spn.metrics.LogJoint()(label, joint)
        np.testing.assert_allclose(found, right, rtol=1e-6)
