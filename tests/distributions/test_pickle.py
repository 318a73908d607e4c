"""Distributions and leaves are pickled and copied, with parameters of their own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn

L = tfp_spn.layers
X = np.random.default_rng(0).integers(0, 2, [3, 4]).astype("float32")
LEAVES = {
    "Normal": lambda: L.NormalLeaf(2, scale_trainable=True),
    "Categorical": lambda: L.CategoricalLeaf(2, num_categories=3),
    "family": lambda: L.DistributionLeaf("Gamma", 2),
    "mixed": lambda: L.MixedLeaf(
        [(L.NormalLeaf(2), [0, 2]), (L.BernoulliLeaf(2), [1, 3])]
    ),
}


def _circuit(leaf: Any = None, **arguments: Any) -> Any:
    graph = tfp_spn.region_graphs.random_binary_trees(4, 2, 2, seed=0)
    leaf = leaf or L.BernoulliLeaf(2)
    return tfp_spn.circuits.from_region_graph(graph, leaf, num_sums=2, **arguments)


SPN = tfp_spn.distributions.SumProductNetwork(_circuit(num_classes=2))
OTHER = {name: tf.identity(value) + 0.5 for name, value in SPN.params.items()}
STEPS = tfp_spn.circuits.dynamic_from_circuit(_circuit(num_classes=2), 2)
SEQUENCES = tfp_spn.distributions.DynamicSumProductNetwork(STEPS)
STACK = keras.Sequential(
    [
        keras.Input((4,)),
        L.FlatToRegions(1),
        L.BernoulliLeaf(2),
        L.DenseProduct(4),
        L.RootSum(False),
    ]
)
DISTRIBUTIONS = {
    "view": (SPN, X),
    "stack": (tfp_spn.distributions.SumProductNetwork(STACK), X),
    "parameters": (SPN.copy(params=OTHER), X),
    "marginal": (SPN.marginal([0, 2]), X[:, :2]),
    "conditional": (SPN.condition(X, observed=[True, False] * 2), X),
    "sequences": (SEQUENCES, np.stack([X, X], axis=1)),
    "sequences, conditional": (
        SEQUENCES.condition(np.stack([X, X], axis=1), observed=[[True] * 4] * 2),
        np.stack([X, X], axis=1),
    ),
}


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name: str) -> None:
    distribution, x = DISTRIBUTIONS[name]
    want = distribution.log_prob(x)
    for copied in (_pickled(distribution), copy.deepcopy(distribution)):
        assert type(copied) is type(distribution)
        assert copied.name == distribution.name
        np.testing.assert_allclose(copied.log_prob(x), want, rtol=1e-5)
        for variable in copied.trainable_variables:
            variable.assign_add(tf.random.stateless_normal(variable.shape, [0, 1]))
        if copied.trainable_variables and "conditional" not in name:
            assert np.abs(copied.log_prob(x) - want).max() > 1e-3
    np.testing.assert_array_equal(distribution.log_prob(x), want)


@pytest.mark.parametrize("name", LEAVES)
def test_leaves(name: str) -> None:
    leaf = LEAVES[name]()
    circuit = _circuit(leaf)
    for copied in (_pickled(leaf), copy.deepcopy(leaf)):
        np.testing.assert_equal(copied.get_weights(), leaf.get_weights())
        assert copied.num_slots == leaf.num_slots
    del circuit
    built = LEAVES[name]()
    built.build((None, 4, 1, 1))
    x = np.ones([2, 4, 1, 1], "float32")
    np.testing.assert_allclose(_pickled(built)(x), built(x), rtol=1e-6)
    fresh = _pickled(LEAVES[name]())
    assert not fresh.num_slots
    assert not fresh.weights
