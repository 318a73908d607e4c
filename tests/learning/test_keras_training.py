"""Circuits and other Keras models that Keras trains: optimizer and losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.learning.learning_cases import assert_same, circuit_of, data_of, values_of
from tfp_spn.learning import (
    Batches,
    Data,
    MinibatchExpectationMaximization,
    NegativeLogJoint,
    NegativeLogLikelihood,
    OnlineExpectationMaximization,
)
from tfp_spn.ops.sum_rules import SumOpEMBackprop
from tfp_spn.ops.weighted_sum import weighted_sum
from tfp_spn.ops.weights import normalized_log_weights

X = data_of("bernoulli", 96)


class Mixture(keras.Model):
    """Three fixed Bernoulli products under one sum with linear accumulators."""

    def __init__(self) -> None:
        super().__init__()
        rows = np.linspace(0.1, 0.9, 12).reshape(3, 4)
        self.probs = np.concatenate([rows[:2], np.zeros([1, 4])]).astype("float32")
        self.accumulators = self.add_weight(
            name="accumulators", shape=(3, 1), initializer=lambda *_, **__: [[1.0]] * 3
        )
        self.accumulators.is_em_accumulator = True

    def log_components(self, x):
        return tfp.distributions.Independent(
            tfp.distributions.Bernoulli(probs=self.probs, dtype=tf.float32), 1
        ).log_prob(tf.cast(x, tf.float32)[:, tf.newaxis])

    def call(self, x):
        rule = SumOpEMBackprop()
        log_w = normalized_log_weights(self.accumulators.value, rule, logspace=False)
        log_x = tf.transpose(self.log_components(x))
        return tf.transpose(weighted_sum(log_x, log_w, rule))


def accumulator(values: list[list[float]]) -> keras.Variable:
    variable = keras.Variable(values)
    variable.is_em_accumulator = True
    return variable


def test_a_keras_step_is_a_step_of_em() -> None:
    model = Mixture()
    model.compile(OnlineExpectationMaximization(1.0), NegativeLogLikelihood())
    joint = model.log_components(X) - np.log(3)
    want = np.mean(tf.nn.softmax(joint), axis=0)
    model.fit(X, X[:, 0], batch_size=96, epochs=1, verbose=0)
    np.testing.assert_allclose(model.accumulators[:, 0], want, rtol=1e-5)


def test_a_keras_fit_raises_the_likelihood() -> None:
    model = Mixture()
    model.compile(OnlineExpectationMaximization(0.3), NegativeLogLikelihood())
    losses = model.fit(X, X[:, 0], batch_size=32, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_sum_without_flow_keeps_its_weights() -> None:
    variable = accumulator([[0.2, 0.3], [0.8, 0.7]])
    optimizer = OnlineExpectationMaximization(0.5)
    optimizer.apply([tf.constant([[-1.0, 0.0], [0.0, 0.0]])], [variable])
    np.testing.assert_allclose(variable, [[0.6, 0.3], [0.4, 0.7]])


def test_gradients_accumulate() -> None:
    variable = accumulator([[0.5], [0.5]])
    optimizer = OnlineExpectationMaximization(1.0, accumulate_batches=2)
    optimizer.apply([tf.constant([[-1.0], [0.0]])], [variable])
    np.testing.assert_allclose(variable, [[0.5], [0.5]])
    optimizer.apply([tf.constant([[-0.5], [-0.5]])], [variable])
    np.testing.assert_allclose(variable, [[0.75], [0.25]])


@pytest.mark.parametrize(
    "family", ["normal", pytest.param("bernoulli", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_circuits_are_trained_by_online_em(family, jit_compile) -> None:
    x = data_of(family, 96)
    circuit, twin = circuit_of(family), circuit_of(family)
    circuit.compile(
        OnlineExpectationMaximization(0.2),
        NegativeLogLikelihood(),
        jit_compile=jit_compile,
    )
    history = circuit.fit(
        x, batch_size=32, epochs=3, shuffle=False, verbose=0, validation_data=(x, None)
    ).history
    em = MinibatchExpectationMaximization(twin, 0.2)
    batches = Batches(twin.program, Data(x), 32)
    want = [em.epoch(batches()) for _ in range(3)]
    np.testing.assert_allclose(history["log_likelihood"], want, rtol=1e-4)
    np.testing.assert_allclose(history["loss"], -np.array(want), rtol=1e-4)
    assert history["val_loss"][-1] < history["val_loss"][0]
    for name, value in values_of(twin).items():
        np.testing.assert_allclose(value, values_of(circuit)[name], atol=1e-3)


def test_two_batches_accumulate_to_one() -> None:
    accumulated, whole = circuit_of("normal"), circuit_of("normal")
    x = data_of("normal", 64)
    for circuit, number in ((accumulated, 2), (whole, 1)):
        circuit.compile(OnlineExpectationMaximization(0.5, number))
        circuit.fit(x, batch_size=64 // number, epochs=2, shuffle=False, verbose=0)
    for name, value in values_of(whole).items():
        np.testing.assert_allclose(value, values_of(accumulated)[name], atol=1e-4)


def test_missing_values_labels_and_weights() -> None:
    circuit = circuit_of("normal", num_classes=2)
    x = data_of("normal", 64)
    observed = np.random.default_rng(0).random(x.shape) < 0.7
    x = np.where(observed, x, np.nan)
    labels, weight = np.arange(64) % 2, np.linspace(0, 1, 64)
    circuit.compile(OnlineExpectationMaximization(0.2))
    values = circuit.fit(
        (x, observed), labels, sample_weight=weight, epochs=3, verbose=0
    ).history["log_likelihood"]
    assert np.isfinite(values[0])
    assert values[-1] > values[0]


def test_schedules_and_metrics() -> None:
    circuit = circuit_of(num_classes=2)
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 2, 0.0)
    circuit.compile(
        OnlineExpectationMaximization(schedule), metrics=["sparse_categorical_accuracy"]
    )
    labels = X[:, 0]
    history = circuit.fit(X, labels, batch_size=96, epochs=2, verbose=0).history
    assert 0 < history["sparse_categorical_accuracy"][-1] <= 1
    before = values_of(circuit)  # the learning rate has come down to zero
    circuit.fit(X, labels, batch_size=96, verbose=0)
    for name, value in before.items():
        np.testing.assert_allclose(values_of(circuit)[name], value, atol=1e-5)


def test_gradient_optimizers_train_circuits_as_ever() -> None:
    circuit = circuit_of()
    circuit.compile(keras.optimizers.Adam(0.05), NegativeLogLikelihood())
    losses = circuit.fit(X, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_frozen_variables_stay() -> None:
    circuit = circuit_of()
    circuit.leaf.trainable = False
    before = values_of(circuit)["leaf_logits"]
    circuit.compile(OnlineExpectationMaximization(0.2))
    circuit.fit(X, verbose=0)
    assert_same({"": before}, {"": values_of(circuit)["leaf_logits"]})


def test_configurations_are_complete() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    optimizer = OnlineExpectationMaximization(schedule, 3, 0.5, False, "em")
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is OnlineExpectationMaximization
    assert copy.get_config() == optimizer.get_config()
    for loss in (NegativeLogLikelihood("sum"), NegativeLogJoint(name="joint")):
        copy = keras.losses.deserialize(keras.losses.serialize(loss))
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"accumulate_batches": 0}, "at least 1. Received accumulate_batches=0"),
        ({"pseudocount": -1.0}, "of at least 0. Received pseudocount=-1.0"),
    ],
)
def test_errors(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        OnlineExpectationMaximization(**kwargs)


def test_counts_of_a_circuit_do_not_add_up() -> None:
    circuit = circuit_of("bernoulli")
    circuit.compile(OnlineExpectationMaximization(0.1, gliding_average=False))
    with pytest.raises(ValueError, match="gliding_average=False for the circuit"):
        circuit.fit(X, verbose=0)


def test_losses() -> None:
    y_pred = np.log([[0.1, 0.2], [0.3, 0.4]])
    labels = np.array([0, 1])
    nll = NegativeLogLikelihood()(labels, y_pred)
    np.testing.assert_allclose(nll, -np.mean(np.log([0.3, 0.7])), rtol=1e-6)
    for y_true in (labels, labels[:, np.newaxis]):
        joint = NegativeLogJoint()(y_true, y_pred)
        np.testing.assert_allclose(joint, -np.mean(np.log([0.1, 0.4])), rtol=1e-6)
    weighted = NegativeLogJoint("sum")(labels, y_pred, np.array([1.0, 0.0]))
    np.testing.assert_allclose(weighted, -np.log(0.1), rtol=1e-6)


def test_a_model_may_return_a_distribution() -> None:
    normal = tfp.distributions.Normal([0.0, 1.0], 1.0)
    value = np.array([0.5, 0.5], "float32")
    have = NegativeLogLikelihood()(value, normal)
    np.testing.assert_allclose(have, -np.mean(normal.log_prob(value)), rtol=1e-6)
