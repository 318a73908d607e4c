"""The hybrid loss against plain NumPy and the losses that it lies between."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.learning.learning_cases import circuit_of, data_of
from tfp_spn import losses, optimizers
from tfp_spn.learning import (
    HybridGenerativeDiscriminative,
    NegativeLogJoint,
    OnlineExpectationMaximization,
)

JOINT = np.log([[0.1, 0.2], [0.3, 0.15], [0.05, 0.4]])
LABELS = np.array([0, 1, 1])
LOG_PROB = np.log(np.exp(JOINT).sum(1))


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("num_variables", [1, 4])
def test_hybrid_loss(weight, num_variables):
    joint = JOINT[np.arange(3), LABELS]
    conditional = joint - LOG_PROB
    terms = {"marginal": LOG_PROB, "joint": joint, "conditional": joint + np.log(2)}
    for term, generative in terms.items():
        loss = HybridGenerativeDiscriminative(weight, num_variables, term)
        want = -weight * conditional - (1 - weight) / num_variables * generative
        for labels in (LABELS, LABELS[:, np.newaxis]):
            np.testing.assert_allclose(loss(labels, JOINT), want.mean(), rtol=1e-5)
        copy = keras.losses.deserialize(keras.losses.serialize(loss))
        assert copy.get_config() == loss.get_config()


def test_the_default_is_conditional_and_warns():
    with pytest.warns(FutureWarning, match=r"log p\(x \| y\) where none .* 'marginal'"):
        loss = HybridGenerativeDiscriminative(0.5)
    same = HybridGenerativeDiscriminative(0.5, generative_term="conditional")
    assert loss.get_config() == same.get_config()
    config = same.get_config()
    del config["generative_term"], config["unlabelled"]  # of an older file
    assert HybridGenerativeDiscriminative.from_config(config).generative_term == (
        "marginal"
    )
    with pytest.raises(ValueError, match="generative_term='both', expected 'marg"):
        HybridGenerativeDiscriminative(generative_term="both")
    with pytest.raises(
        TypeError, match="`unlabelled` must be an integer. Received 'none'"
    ):
        HybridGenerativeDiscriminative(generative_term="joint", unlabelled="none")


def test_examples_without_a_label_count_by_what_they_show():
    for term in ("marginal", "joint", "conditional"):
        loss = HybridGenerativeDiscriminative(
            0.5, generative_term=term, unlabelled=-1, reduction=None
        )
        want = loss(LABELS, JOINT).numpy()
        want[1] = -LOG_PROB[1] / 2
        have = loss(np.array([0, -1, 1]), JOINT)
        np.testing.assert_allclose(have, want, rtol=1e-6)
        assert loss(np.array([0, -2, 1]), JOINT)[1] == np.inf


def test_class_probabilities_are_those_of_the_circuit():
    circuit, x = circuit_of(num_classes=2), data_of("bernoulli", 12)
    labels = np.arange(12) % 2
    circuit.live_params()["prior"].assign(np.log([0.2, 0.8]).astype("float32"))
    loss = HybridGenerativeDiscriminative(0.0, generative_term="conditional")
    circuit.compile("adam", loss)
    joint = circuit(x).numpy()[np.arange(12), labels]
    want = -np.mean(joint - np.log([0.2, 0.8])[labels])
    have = circuit.evaluate(x, labels, verbose=0)
    np.testing.assert_allclose(have, want, rtol=1e-5)
    uniform = -np.mean(joint + np.log(2))
    np.testing.assert_allclose(loss(labels, circuit(x)), uniform, rtol=1e-5)
    mixed = np.where(np.arange(12) < 6, labels, -1)
    loss = HybridGenerativeDiscriminative(0.5, 4, "conditional", unlabelled=-1)
    circuit.compile("adam", loss)
    history = circuit.fit(x, mixed, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_hybrid_loss_is_half_of_the_joint_in_the_middle():
    half = HybridGenerativeDiscriminative(0.5, generative_term="marginal")(
        LABELS, JOINT
    )
    np.testing.assert_allclose(half, NegativeLogJoint()(LABELS, JOINT) / 2, rtol=1e-6)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    one = HybridGenerativeDiscriminative(1.0, 1, "joint")(LABELS, JOINT)
    np.testing.assert_allclose(one, entropy(LABELS, JOINT), rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_hybrid_loss_of_impossible_examples_is_no_nan(weight):
    for term in ("marginal", "joint", "conditional"):
        loss = HybridGenerativeDiscriminative(weight, 1, term, reduction=None)
        joint = np.array([[-np.inf, -np.inf], [-1.0, -2.0]])
        impossible = loss(np.array([0, 7]), joint)
        assert not np.any(np.isnan(impossible))
        assert impossible[0] == np.inf


def test_names_of_libspn_keras():
    assert losses.HybridGenerativeDiscriminative is HybridGenerativeDiscriminative
    assert losses.NegativeLogJoint is NegativeLogJoint
    assert optimizers.OnlineExpectationMaximization is OnlineExpectationMaximization


def test_weight_must_be_a_fraction():
    with pytest.raises(
        ValueError, match="of at most 1. Received discriminative_weight=1.5"
    ):
        HybridGenerativeDiscriminative(1.5)
