"""Components begin apart from each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfp_spn import circuits, layers, learning, region_graphs
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
