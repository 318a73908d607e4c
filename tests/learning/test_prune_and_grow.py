"""Pruned and grown circuits: the same distribution where nothing is lost."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import assert_same, circuit_of, data_of, values_of
from tfp_spn import layers, region_graphs
from tfp_spn.circuits import dynamic_from_circuit, from_region_graph
from tfp_spn.learning import Pruning, fit, grow, prune

X = data_of("bernoulli", 100)
STATES = np.array(list(itertools.product([0, 1], repeat=4)), np.float32)


def log_prob(circuit: Any, x: Any = STATES) -> np.ndarray:
    return np.asarray(circuit(x), np.float64)


def mixed() -> Any:
    keras.utils.set_random_seed(0)
    leaf = layers.MixedLeaf(
        [
            (layers.CategoricalLeaf(2, 3), [0, 2]),
            (layers.NormalLeaf(2, scale_trainable=True), [1, 3]),
        ]
    )
    graph = region_graphs.random_binary_trees(4, 2, 2, seed=0)
    return from_region_graph(graph, leaf, 2)


GROWN = {
    "cp": circuit_of,
    "tucker, classes": lambda: circuit_of(sum_product="tucker", num_classes=2),
    "tied to leaves": lambda: circuit_of(leaf_sums=False),
    "mixed": mixed,
}


@pytest.mark.parametrize("name", GROWN)
def test_growing_without_noise_changes_nothing(name: str) -> None:
    circuit = GROWN[name]()
    before = values_of(circuit)
    grown = grow(circuit, 3, noise=0.0)
    np.testing.assert_allclose(log_prob(grown), log_prob(circuit), rtol=1e-5, atol=1e-5)
    assert grown.arguments["num_sums"] == 6
    assert grown.leaf.num_components == 6
    assert_same(before, values_of(circuit))


def test_a_grown_circuit_learns_more() -> None:
    x = np.concatenate([np.eye(4)] * 10)  # each pair of variables has three states
    circuit = circuit_of()
    settings = {"pseudocount": 0.0, "verbose": False, "tolerance": 1e-4}
    before = fit(circuit, x, epochs=200, **settings).log_likelihood[-1]
    grown, same = grow(circuit, noise=0.3), grow(circuit, noise=0.3)
    assert_same(values_of(grown), values_of(same))
    settings["tolerance"] = 1e-7  # slow at first: the copies differ a little only
    values = fit(grown, x, epochs=200, **settings).log_likelihood
    assert values[0] > before - 0.2
    assert values[-1] > before + 0.05


def unused(circuit: Any) -> Any:
    """Twice the units, of which every second one has no edge."""
    grown = grow(circuit, noise=0.0)
    for spec in grown.program.sum_specs:
        variable = grown.live_params()[spec.parameter]
        value = variable.numpy()
        value[:, 1::2] = -np.inf
        variable.assign(value)
    return grown


@pytest.mark.parametrize("leaf_sums", [True, False])
def test_pruning_units_that_are_not_used_costs_nothing(leaf_sums: bool) -> None:
    circuit = circuit_of(leaf_sums=leaf_sums)
    wide = unused(circuit)
    np.testing.assert_allclose(log_prob(wide), log_prob(circuit), rtol=1e-5, atol=1e-5)
    pruned = prune(wide, X, 0.5, epochs=0)
    assert pruned.arguments["num_sums"] == pruned.leaf.num_components == 2
    assert_same(  # as it was, up to the order of equal units
        {n: np.sort(v.shape) for n, v in values_of(circuit).items()},
        {n: np.sort(v.shape) for n, v in values_of(pruned).items()},
    )
    np.testing.assert_allclose(log_prob(pruned), log_prob(circuit), rtol=1e-5)
    report = pruned.pruning
    assert isinstance(report, Pruning)
    assert report.bound == pytest.approx(0.0, abs=1e-5)
    assert report.num_edges <= report.num_edges_before


def test_a_bound_on_what_is_lost_and_files(tmp_path: Any) -> None:
    circuit = circuit_of(num_components=4)
    fit(circuit, X, epochs=3, pseudocount=0.0, verbose=False, tolerance=0.1)
    before = values_of(circuit)
    weight = np.linspace(0.5, 1.5, 100)
    for by in ("flow", "edge_flow"):
        settings = {"by": by, "sample_weight": weight}
        pruned = prune(circuit, X, 0.4, **settings, epochs=0)
        report = pruned.pruning
        lost = report.log_likelihood_before - report.log_likelihood
        assert lost < report.bound
        assert report.bound > 1e-4
        assert report.num_edges <= 0.65 * report.num_edges_before
        mean = np.average(log_prob(pruned, X)[:, 0], weights=weight)
        assert report.log_likelihood == pytest.approx(mean, abs=1e-5)
        total = np.exp(log_prob(pruned)).sum()
        assert total == pytest.approx(1.0, abs=1e-5)
        settled = prune(circuit, X, 0.4, **settings)
        assert settled.pruning.log_likelihood > report.log_likelihood
        assert settled.pruning.num_edges == report.num_edges  # EM revives nothing
        path = tmp_path / f"{by}.keras"
        settled.save(path)
        restored = keras.models.load_model(path)
        np.testing.assert_array_equal(log_prob(restored), log_prob(settled))
    assert_same(before, values_of(circuit))


def test_edges_are_pruned_by_their_expected_counts() -> None:
    """A mixture of two products: the component that explains fewer examples goes."""
    circuit = circuit_of(
        graph=region_graphs.fully_factorized(4), num_components=2, leaf_sums=False
    )
    fit(circuit, X, epochs=5, pseudocount=0.0, verbose=False, tolerance=0.0)
    (name,) = (n for n in values_of(circuit) if n.startswith("sums"))
    share = tf.nn.softmax(circuit.live_params()[name][0, :, 0]).numpy()
    pruned = prune(circuit, X, 0.5, by="edge_flow", epochs=0)
    left = np.isfinite(values_of(pruned)[name][0, :, 0])
    np.testing.assert_array_equal(left, share == share.max())
    nothing = prune(circuit, X, 0.0, by="edge_flow", epochs=0)
    np.testing.assert_allclose(log_prob(nothing), log_prob(circuit), rtol=1e-6)


def test_errors() -> None:
    circuit = circuit_of()
    sequences = dynamic_from_circuit(circuit_of(num_classes=2), 3)
    for call, message in (
        (lambda: prune(circuit, X, 1.0), "below 1. Received fraction=1.0"),
        (lambda: prune(circuit, X, 0.5, by="luck"), "'edge_flow'. Received by='luck'"),
        (lambda: prune(circuit, X + 1, 0.5), "received 2 at row"),
        (lambda: grow(circuit, 0), "`factor` must be at least 1"),
        (lambda: grow(circuit, noise=-1.0), "grow: `noise` must be .* at least 0"),
        (lambda: prune(sequences, X, 0.5), "of a region graph, received DynamicCir"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()
