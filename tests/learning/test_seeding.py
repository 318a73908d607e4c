"""Components begin apart from each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfp_spn import circuits, layers, learning, region_graphs
from tfp_spn.learning.initialization import repeated
from tfp_spn.learning.seeding import disjoint_groups, seeds_of_regions


def mixture(leaf: Any, num_variables: int) -> circuits.Circuit:
    return circuits.from_region_graph(
        region_graphs.fully_factorized(num_variables),
        leaf=leaf,
        num_sums=leaf.num_components,
        leaf_sums=False,
    )


@pytest.mark.parametrize("kind", ["Normal", "Laplace", "Gamma"])
def test_no_twins_as_long_as_there_are_different_values(kind: str) -> None:
    x = np.array([[1.0], [2.0], [3.0], [4.0], [4.0], [4.0]])
    if kind == "Gamma":
        circuit = mixture(layers.DistributionLeaf(kind, 4), 1)
        name = "leaf_concentration"
    else:
        circuit = mixture(getattr(layers, f"{kind}Leaf")(4), 1)
        name = "leaf_location"
    for seed in range(10):
        learning.initialize_leaves(circuit, x, seed=seed)
        found = circuit.live_params()[name].numpy()
        assert len(np.unique(found)) == 4
        assert np.isfinite(found).all()


def test_every_region_has_rows_of_its_own_different_values() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, [200, 4, 1]).astype(float)
    scopes = [(0, 1), (2, 3), (0,), (1, 2, 3), (3,)]
    assert disjoint_groups(scopes) == [[0, 1], [2, 3], [4]]
    rows, deviations = seeds_of_regions(x, scopes, 5, rng)
    assert rows.shape == (5, 5)
    assert deviations.shape == (5, 4, 1)
    for region, scope in enumerate(scopes):
        values = x[rows[region]][:, list(scope), 0]
        assert len(np.unique(values, axis=0)) == 5
    assert (deviations <= x.std(0)).all()
    assert (deviations > 0).all()
    few, _ = seeds_of_regions(x[:, :1] // 3, [(0,)], 5, rng)
    assert set((x[:, 0, 0] // 3)[few[0]]) == {0.0, 1.0}


def test_separated_clusters_are_found() -> None:
    """All of twelve clusters in eight dimensions, by each of five seeds."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 10, (12, 8))
    x = np.concatenate([center + rng.normal(0, 0.5, (40, 8)) for center in centers])
    scale = x.reshape(12, 40, 8).std(1)
    best = (-0.5 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(1).mean() - np.log(12)
    for seed in range(5):
        circuit = mixture(layers.NormalLeaf(12, scale_trainable=True), 8)
        history = learning.fit(
            circuit, x, epochs=25, initialize=True, seed=seed, verbose=False
        )
        assert history.log_likelihood[-1] > best - 0.1


def test_each_cluster_has_a_seed() -> None:
    """Twelve clusters whose centres are eight deviations apart, unequally frequent."""
    rng = np.random.default_rng(4)
    share = rng.dirichlet(np.full(12, 2.0))
    cluster = rng.choice(12, 480, p=share)
    x = rng.normal(0, 4, (12, 8))[cluster] + rng.normal(0, 0.5, (480, 8))
    for seed in range(10):
        rows, _ = seeds_of_regions(
            x[..., np.newaxis], [range(8)], 12, np.random.default_rng(seed)
        )
        assert len(set(cluster[rows[0]])) == len(set(cluster))


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(0)
    weight = np.array([2, 0, 3, 1, 0])
    for unit in (1, 0.1, 1e-30, 1e30):
        found = repeated(weight * unit, rng)
        np.testing.assert_array_equal(found, np.repeat(np.arange(5), weight))
    found = repeated(np.array([1e-30, 0.0, 3.0, 1.0, 0.0]), rng)
    share = np.bincount(found, minlength=5) / len(found)
    np.testing.assert_allclose(share, [0, 0, 0.75, 0.25, 0], atol=1e-4)


def test_examples_without_weight_are_none_to_start_from() -> None:
    x = np.concatenate(
        [np.random.default_rng(0).normal(0, 1, (40, 2)), np.full((40, 2), 1e3)]
    )
    weight = np.repeat([1.0, 0.0], 40)
    circuit = mixture(layers.NormalLeaf(3, scale_trainable=True), 2)
    start: Any = dict(epochs=0, sample_weight=weight, verbose=False)
    for seed in range(5):
        learning.initialize_leaves(circuit, x, seed=seed, sample_weight=weight)
        assert (np.abs(circuit.live_params()["leaf_location"]) < 10).all()
    learning.fit(circuit, x, initialize=True, **start)
    assert (np.abs(circuit.live_params()["leaf_location"]) < 10).all()
    counts = mixture(layers.CategoricalLeaf(400, 3), 1)
    values = np.array([[0], [1], [2]])
    learning.initialize_leaves(counts, values, sample_weight=[1, 6, 3])
    logits = counts.live_params()["leaf_logits"].numpy()
    probs = np.exp(logits) / np.exp(logits).sum(-2, keepdims=True)
    mean = probs.mean(-1).ravel()
    np.testing.assert_allclose(mean, [0.1, 0.6, 0.3], atol=0.06)
    template = mixture(layers.NormalLeaf(2), 1)
    of_steps = circuits.dynamic_from_circuit(template, 2)
    steps = np.array([[[0.0], [1.0]], [[50.0], [60.0]]])
    learning.initialize_leaves(of_steps, steps, sample_weight=[1, 0])
    found = np.ravel(of_steps.live_params()["leaf_location"])
    assert sorted(found.tolist()) == [0.0, 1.0]


def test_missing_values_are_none_to_start_from() -> None:
    x = np.random.default_rng(0).normal(50, 1, [100, 2])
    observed = np.random.default_rng(1).random([100, 2]) < 0.5
    circuit = mixture(layers.NormalLeaf(3), 2)
    hidden = np.where(observed, x, np.nan)
    learning.initialize_leaves(circuit, hidden, observed)
    found = circuit.live_params()["leaf_location"].numpy()
    assert (np.abs(found - 50) < 5).all()
    counts = mixture(layers.BinomialLeaf(3, total_count=60), 2)
    learning.initialize_leaves(counts, np.where(observed, 50, 0), observed)
    assert np.isfinite(counts.live_params()["leaf_logits"].numpy()).all()
