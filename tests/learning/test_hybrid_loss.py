"""The hybrid loss against plain NumPy and the losses that it lies between."""

from __future__ import annotations

import keras
import numpy as np
import pytest

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
    loss = HybridGenerativeDiscriminative(weight, num_variables)
    conditional = JOINT[np.arange(3), LABELS] - LOG_PROB
    want = -weight * conditional - (1 - weight) / num_variables * LOG_PROB
    for labels in (LABELS, LABELS[:, np.newaxis]):
        np.testing.assert_allclose(loss(labels, JOINT), want.mean(), rtol=1e-5)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()


def test_hybrid_loss_is_half_of_the_joint_in_the_middle():
    half = HybridGenerativeDiscriminative(0.5)(LABELS, JOINT)
    np.testing.assert_allclose(half, NegativeLogJoint()(LABELS, JOINT) / 2, rtol=1e-6)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    one = HybridGenerativeDiscriminative(1.0)(LABELS, JOINT)
    np.testing.assert_allclose(one, entropy(LABELS, JOINT), rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_hybrid_loss_of_impossible_examples_is_no_nan(weight):
    loss = HybridGenerativeDiscriminative(weight, reduction=None)
    impossible = loss(np.array([0, 7]), np.array([[-np.inf, -np.inf], [-1.0, -2.0]]))
    assert not np.any(np.isnan(impossible))
    assert impossible[0] == np.inf


def test_names_of_libspn_keras():
    assert losses.HybridGenerativeDiscriminative is HybridGenerativeDiscriminative
    assert losses.NegativeLogJoint is NegativeLogJoint
    assert optimizers.OnlineExpectationMaximization is OnlineExpectationMaximization


def test_weight_must_be_a_fraction():
    with pytest.raises(ValueError, match="weight=1.5 and.*expected a number from 0 to"):
        HybridGenerativeDiscriminative(1.5)
