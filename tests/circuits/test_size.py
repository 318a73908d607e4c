"""What no machine can hold is refused before it is made."""

from __future__ import annotations

import time

import pytest

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.circuits import size

GRAPH = region_graphs.random_binary_trees(8, depth=3, num_repetitions=2, seed=0)


@pytest.mark.parametrize(
    ("arguments", "num_components"),
    [
        ({"num_sums": 2**30}, 2),
        ({"num_sums": 2**18, "sum_product": "tucker"}, 2**18),
        ({"num_sums": 2, "num_classes": 2**31 - 1}, 2),
        ({"num_sums": 2}, 2**30),
    ],
)
def test_circuits_that_are_too_wide(arguments, num_components):
    start = time.perf_counter()
    leaf = layers.NormalLeaf(num_components)
    with pytest.raises(ValueError, match=r"does not fit into memory, received .* Pass"):
        circuits.from_region_graph(GRAPH, leaf, **arguments)
    assert time.perf_counter() - start < 5


def test_circuits_that_are_too_deep(monkeypatch):
    monkeypatch.setattr(size, "_MAX_STEPS", 3)
    deep = region_graphs.random_binary_trees(32, depth=5, num_repetitions=1, seed=0)
    with pytest.raises(ValueError, match=r"too deep, received \d+ steps .* balanced"):
        circuits.from_region_graph(deep, layers.NormalLeaf(2), 2)
    chain = region_graphs.linear_tree(40)  # one loop
    circuits.from_region_graph(chain, layers.NormalLeaf(2), 2)
