"""Partitions of leaves next to partitions of sums, below one region."""

from __future__ import annotations

import itertools

import numpy as np

from tfp_spn import layers
from tfp_spn.circuits import from_region_graph
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.region_graphs import RegionGraph


def test_total_probability_is_one() -> None:
    scopes = [(0, 1, 2), (0, 1), (2,), (0,), (1, 2), (1,), (2,)]
    graph = RegionGraph(scopes, [(0, [1, 2]), (0, [3, 4]), (4, [5, 6])])
    states = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    for width in (1, 3):
        leaf = layers.BernoulliLeaf(width, dtype="float64")
        spn = SumProductNetwork(from_region_graph(graph, leaf, width, leaf_sums=False))
        total = np.exp(spn.log_prob(states)).sum()
        np.testing.assert_allclose(total, 1.0, rtol=1e-12)
