"""In which order the regions of a step lie."""

from __future__ import annotations

import numpy as np
import pytest

from tfp_spn.programs import storage
from tfp_spn.programs.folding import FoldedGraph, fold
from tfp_spn.region_graphs import RegionGraph, quad_graph, quad_tree
from tfp_spn.sum_ops import SumOpGradBackprop


def folded(graph: RegionGraph) -> FoldedGraph:
    return fold(
        graph,
        num_components=2,
        num_sums=2,
        num_root_units=1,
        product="hadamard",
        leaf_sums="shared",
        rule=SumOpGradBackprop(),
    )


def test_trees_are_read_by_slices():
    factors = [f for step in folded(quad_tree((8, 8))).steps for f in step.factors]
    assert all(np.all(np.diff(f.index) == 1) for f in factors)


@pytest.mark.parametrize("size", [12, 14, 28])
def test_weights_of_shared_regions_lie_as_they_are_stored(size, monkeypatch):
    monkeypatch.setattr(storage, "MAX_BLOCK", 0)  # a variable each, as if it were large
    graph = folded(quad_graph((size, size)))
    blocks = [block for block in graph.blocks.values() if block.sizes[0] > 42]
    assert len(blocks) >= 2
    assert all(block.rows is None for block in blocks)
