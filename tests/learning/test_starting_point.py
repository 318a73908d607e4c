"""Where `fit` starts: a new circuit from seed and data, any other where it is."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.learning import fit
from tfp_spn.learning.data_validation import Data
from tfp_spn.learning.starting_point import is_new, start_from

X = np.random.default_rng(0).normal(100.0, 1.0, [40, 4]).astype(np.float32)
GRAPH = region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=0)
QUIET = {"verbose": False, "jit_compile": False}


def circuit_of(python_seed, leaf=None):
    random.seed(python_seed)  # what Keras' global seed sets
    return circuits.from_region_graph(GRAPH, leaf or layers.NormalLeaf(2), num_sums=2)


def values(circuit):
    return {name: value.numpy() for name, value in circuit.live_params().items()}


def still():
    return keras.optimizers.SGD(0.0)


def are_equal(one, other):
    return all(np.array_equal(value, other[name]) for name, value in one.items())


def test_the_seed_alone_says_what_a_fit_of_a_new_circuit_gives():
    fitted = []
    for python_seed, seed in [(1, 0), (2, 0), (1, 1)]:
        circuit = circuit_of(python_seed)
        fit(circuit, X, epochs=1, seed=seed, **QUIET)
        fitted.append(values(circuit))
    assert are_equal(fitted[0], fitted[1])
    assert not are_equal(fitted[0], fitted[2])
    assert fitted[0]["leaf_location"].min() > 90
    for python_seed in (1, 2):
        circuit = circuit_of(python_seed)
        fit(circuit, X, epochs=1, initialize=True, **QUIET)
        fitted.append(values(circuit))
    assert are_equal(fitted[3], fitted[4])


def test_python_draws_what_it_would_have_drawn():
    circuit = circuit_of(1)
    random.seed(5)
    expected = random.random()
    random.seed(5)
    start_from(circuit, Data(X), 0)
    assert random.random() == expected


def test_each_family_is_drawn_from_the_seed():
    for make in (
        lambda: layers.BernoulliLeaf(2),
        lambda: layers.LaplaceLeaf(2, use_accumulators=True),
        lambda: layers.MixedLeaf(
            [(layers.BernoulliLeaf(2), [0, 1]), (layers.CategoricalLeaf(2, 2), [2, 3])]
        ),
    ):
        started = []
        for python_seed in (1, 2):
            circuit = circuit_of(python_seed, make())
            start_from(circuit, Data((X > 100).astype(int)), 0)
            started.append(values(circuit))
        assert are_equal(*started)


def test_what_was_given_is_kept():
    chosen = keras.initializers.Constant(99.0)
    circuit = circuit_of(1, layers.NormalLeaf(2, location_initializer=chosen))
    start_from(circuit, Data(X), 0)
    assert np.all(values(circuit)["leaf_location"] == 99.0)
    fit(circuit, X, epochs=0, initialize=True, **QUIET)
    assert not np.any(values(circuit)["leaf_location"] == 99.0)


def fitted(circuit, path):
    fit(circuit, X, epochs=1, **QUIET)
    return circuit


def loaded(circuit, path):
    circuit.save(path)
    return keras.saving.load_model(path)


def assigned(circuit, path):
    location = circuit.leaf.parameters["location"]
    location.assign(location + 1.0)
    return circuit


@pytest.mark.parametrize("change", [fitted, loaded, assigned])
def test_other_circuits_start_where_they_are(change, tmp_path):
    circuit = circuit_of(1)
    assert is_new(circuit)
    circuit = change(circuit, tmp_path / "circuit.keras")
    assert not is_new(circuit)
    location = values(circuit)["leaf_location"]
    fit(circuit, X, method="gradient", optimizer=still(), epochs=1, **QUIET)
    np.testing.assert_allclose(values(circuit)["leaf_location"], location, rtol=1e-6)


def test_a_new_circuit_stays_as_it_is_if_asked_to():
    circuit = circuit_of(1)
    before = values(circuit)
    settings = {"method": "gradient", "optimizer": still(), **QUIET}
    fit(circuit, X, epochs=1, initialize=False, **settings)
    assert are_equal(before, values(circuit))
    fit(circuit, X, epochs=0, **QUIET)
    assert are_equal(before, values(circuit))
    fit(circuit, X, epochs=1, **settings)
    assert values(circuit)["leaf_location"].min() > 90


def test_stacks_and_sequences_are_new_as_well():
    stack = keras.Sequential(
        [
            keras.Input((4,)),
            layers.FlatToRegions(num_decomps=1),
            layers.NormalLeaf(2),
            layers.ReduceProduct(num_factors=4),
            layers.RootSum(return_weighted_child_logits=False),
        ]
    )
    fit(stack, X, epochs=1, **QUIET)
    assert values(circuits.from_layers(stack))["leaf_location"].min() > 90
    template = circuits.from_region_graph(
        GRAPH, layers.NormalLeaf(2), num_sums=2, num_classes=2
    )
    chain = circuits.dynamic_from_circuit(template, num_steps=2)
    fit(chain, np.stack([X, X], 1), epochs=1, **QUIET)
    assert values(chain)["leaf_location"].min() > 90
