"""Scales that stay at 1 whatever the data are."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tests.learning.learning_cases import circuit_of, data_of, leaf_of
from tfp_spn import circuits, layers, losses, models, region_graphs
from tfp_spn.layers.leaves.base_leaf import ParameterSpec
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf
from tfp_spn.learning import fit

X = data_of("normal", 60)


class OwnLeaf(ElementwiseLeaf):
    """A user's family with neither mean nor variance, of locations alone."""

    has_moments = False

    def parameter_specs(self, num_dims):
        start = keras.initializers.Constant(1.7e9)
        return {"place": ParameterSpec((self.num_components, num_dims), start)}

    def component_distribution(self, rows):
        place = rows["place"][..., 0]
        return tfd.StudentT(tf.ones([], place.dtype), place, tf.ones([], place.dtype))

    def location_and_scale(self, params):
        return params["place"], self.fixed_scale(params)

    def fixed_scale(self, params):
        return tf.ones_like(params["place"])

    def spread(self, x):
        return np.nanmax(np.abs(x), axis=0)


def test_leaves_say_it_themselves() -> None:
    graph = region_graphs.fully_factorized(4)
    circuit = circuits.from_region_graph(graph, leaf=OwnLeaf(2), num_sums=2)
    (message,) = run(circuit, np.sign(X) * 7, method="gradient")
    assert "OwnLeaf has fixed scales" in message
    assert "data of deviation 7 in" in message
    assert run(circuit, np.sign(X) * 2, method="gradient") == []
    circuit = circuits.from_region_graph(graph, leaf=OwnLeaf(2), num_sums=2)
    row = np.full([1, 4], 1.7e9) + [0, 0, 5.3, 0]
    with pytest.raises(ValueError, match="rounds the values of column 2"):
        circuit(row)


def run(circuit: Any, x: Any, **kwargs: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(circuit, x, epochs=1, verbose=False, **kwargs)
    return [str(w.message) for w in caught if "fixed scales" in str(w.message)]


@pytest.mark.parametrize("family", ["normal", "laplace", "cauchy"])
def test_scales_far_from_the_data_are_named_once(family) -> None:
    fixed = {"leaf": {"scale_trainable": False}}
    for x, deviation in ((X * 10, "1|2"), (X / 10, "0.0|0.1")):
        (message,) = run(circuit_of(family, **fixed), x)
        assert f"{family.title()}Leaf" in message
        assert "4 variables (0, 1, 2, 3)" in message
        assert "scale_trainable=True" in message
        assert message.split("of deviation ")[1].startswith(tuple(deviation.split("|")))
    for x in (X, X * 10) if family == "normal" else (X,):
        assert run(circuit_of(family), x) == []
    assert run(circuit_of(family, **fixed), X) == []


def test_only_what_is_observed_counts() -> None:
    fixed = {"leaf": {"scale_trainable": False}}
    x = X * [1, 1, 1, 100]
    observed = np.array([True, True, True, False])
    assert run(circuit_of("normal", **fixed), x, observed=observed) == []
    x = np.where(np.arange(60)[:, None] < 30, X, np.nan)
    assert run(circuit_of("normal", **fixed), x, observed=~np.isnan(x)) == []
    (message,) = run(circuit_of("normal", **fixed), X * [1, 100, 1, 1])
    assert "1 variables (1)" in message


def test_of_mixed_leaves_sequences_and_frozen_ones() -> None:
    leaf = layers.MixedLeaf(
        [
            (layers.NormalLeaf(2), [2]),
            (leaf_of("normal"), [0, 1]),
            (layers.BernoulliLeaf(2), [3]),
        ]
    )
    graph = region_graphs.fully_factorized(4)
    circuit = circuits.from_region_graph(graph, leaf=leaf, num_sums=2)
    x = X * 50
    x[:, 3] = x[:, 3] > 0
    (message,) = run(circuit, x)
    assert "1 variables (2)" in message
    template = circuit_of("normal", num_classes=2, leaf={"scale_trainable": False})
    sequences = circuits.dynamic_from_circuit(template, num_steps=3)
    (message,) = run(sequences, (X * 50).reshape(20, 3, 4))
    assert "4 variables" in message
    frozen = circuit_of("normal", leaf={"scale_trainable": False})
    frozen.leaf.trainable = False
    assert run(frozen, X * 50) == []


def test_of_datasets() -> None:
    data = tf.data.Dataset.from_tensor_slices(X * 50).batch(20)
    (message,) = run(circuit_of("normal", leaf={"scale_trainable": False}), data)
    assert "4 variables" in message


def test_of_fit_of_keras() -> None:
    tf.config.run_functions_eagerly(True)
    circuit = circuit_of("normal", leaf={"scale_trainable": False})
    circuit.compile("sgd", losses.NegativeLogLikelihood())
    mask = np.ones(X.shape, bool)
    for data in (X * 50, (X * 50, mask), {"x": X * 50, "observed": mask}):
        with pytest.warns(UserWarning, match="fixed scales.* 4 variables") as caught:
            circuit.fit(data, verbose=0, batch_size=60)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*fixed scales")
        circuit.fit((X * 50, mask & [False]), verbose=0, batch_size=60)
        circuit.fit(X, verbose=0, batch_size=60)


def test_of_fit_of_stacks() -> None:
    tf.config.run_functions_eagerly(True)
    stack = [
        keras.Input((4,)),
        layers.FlatToRegions(1),
        layers.NormalLeaf(2),
        layers.DenseProduct(4),
        layers.RootSum(return_weighted_child_logits=False),
    ]
    model = models.SequentialSumProductNetwork(stack)
    normalized = models.SequentialSumProductNetwork(
        [stack[0], layers.NormalizeStandardScore(), *stack[1:]]
    )
    for of in (model, normalized):
        of.compile("sgd", losses.NegativeLogLikelihood())
    with pytest.warns(UserWarning, match="fixed scales.* 4 variables") as caught:
        model.fit(X * 50, verbose=0, batch_size=60)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*fixed scales")
        model.fit(X, verbose=0, batch_size=60)
        normalized.fit(X * 50, verbose=0, batch_size=60)
