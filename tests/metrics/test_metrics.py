"""Metrics against plain NumPy, and in Keras training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.learning.learning_cases import circuit_of, data_of
from tfp_spn import losses, metrics

JOINT = np.log([[0.1, 0.2], [0.3, 0.15], [0.05, 0.4]])
LABELS = np.array([0, 1, 1])
LOG_PROB = np.log(np.exp(JOINT).sum(1))

# name: (metric, value of each example)
CASES = {
    "LogLikelihood": (metrics.LogLikelihood, LOG_PROB),
    "LogJoint": (metrics.LogJoint, JOINT[np.arange(3), LABELS]),
    "BitsPerDimension": (
        lambda **kw: metrics.BitsPerDimension(4, scale=8.0, **kw),
        -LOG_PROB / np.log(2) / 4 + 3,
    ),
}


def test_every_metric_has_a_case():
    assert set(CASES) == set(metrics.__all__)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_mean_over_batches(name, shape):
    make, values = CASES[name]
    metric = make()
    labels = LABELS.reshape(shape)
    metric.update_state(labels[:2], JOINT[:2])
    metric.update_state(labels[2:], JOINT[2:])
    np.testing.assert_allclose(metric.result(), values.mean(), rtol=1e-5)
    metric.reset_state()
    weight = np.array([1.0, 0.0, 3.0])
    metric.update_state(labels, JOINT, weight.reshape(shape))
    want = np.average(values, weights=weight)
    np.testing.assert_allclose(metric.result(), want, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_impossible_examples(name):
    make, values = CASES[name]
    joint = np.where([[True], [False], [True]], JOINT, -np.inf)
    metric = make()
    metric.update_state(LABELS, joint, np.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(metric.result(), values[[0, 2]].mean(), rtol=1e-5)
    metric.update_state(LABELS, joint)
    assert abs(metric.result()) == np.inf


def test_one_hot_vectors_are_no_labels() -> None:
    metric = metrics.LogJoint()
    for labels in (np.eye(2)[LABELS], np.eye(2, dtype=int)[LABELS].tolist()):
        with pytest.raises(ValueError, match=r"LogJoint: targets are no .*argmax"):
            metric.update_state(labels, JOINT)
    metric.update_state(LABELS[:, np.newaxis].tolist(), JOINT[..., :])
    np.testing.assert_allclose(metric.result(), CASES["LogJoint"][1].mean(), rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_config_is_complete(name):
    metric = CASES[name][0](name="other", dtype="float64")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()


def test_in_keras_training():
    circuit = circuit_of(num_classes=2)
    x = data_of("bernoulli", 96)
    labels = x[:, 0]
    circuit.compile(
        keras.optimizers.Adam(0.05),
        losses.HybridGenerativeDiscriminative(0.5, 4, "joint"),
        metrics=[metrics.LogJoint(), metrics.LogLikelihood()],
        weighted_metrics=[metrics.BitsPerDimension(4)],
    )
    history = circuit.fit(x, labels, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    found = circuit.evaluate(x, labels, return_dict=True, verbose=0)
    joint = np.asarray(circuit(x))
    log_prob = np.log(np.exp(joint).sum(1))
    np.testing.assert_allclose(found["llh"], log_prob.mean(), rtol=1e-4)
    want = -log_prob.mean() / np.log(2) / 4
    np.testing.assert_allclose(found["bits_per_dimension"], want, rtol=1e-4)
    want = joint[np.arange(96), labels].mean()
    np.testing.assert_allclose(found["log_joint"], want, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.BitsPerDimension(0), "at least 1. Received num_dimensions=0"),
        (
            lambda: metrics.BitsPerDimension(1, 0.0),
            "number above 0. Received scale=0.0",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
