"""Region trees written node by node."""

from __future__ import annotations

import pytest

from tfp_spn.region_graphs import RegionNode, RegionVariable, from_nested_lists

A, B, C, D, E = map(RegionVariable, range(5))


def test_scopes_and_depths():
    root = RegionNode([RegionNode([A, RegionNode([C, B])]), D])
    assert root.scope == {0, 1, 2, 3}
    assert (root.depth, A.depth) == (3, 0)
    assert A.children == ()
    assert "RegionNode([RegionVariable(0), RegionNode(" in repr(root)


def test_region_graph():
    root = RegionNode([RegionNode([A, B, C]), RegionNode([D, E])])
    assert root.to_region_graph() == from_nested_lists([[0, 1, 2], [3, 4]])
    single = RegionNode([RegionNode([RegionNode([A]), B])])
    assert single.to_region_graph() == from_nested_lists([0, 1])


WRONG = {
    "overlap": (
        lambda: RegionNode([RegionNode([A, B]), B]),
        ValueError,
        r"more than one holds the variables \[1\]. Let each variable occur once",
    ),
    "same child": (lambda: RegionNode([A, A]), ValueError, r"variables \[0\]"),
    "empty": (lambda: RegionNode([]), ValueError, "has no children. Expected at lea"),
    "integer": (
        lambda: RegionNode([A, 1]),
        TypeError,
        r"is of type int. Expected a RegionNode or.*RegionVariable\(i\)",
    ),
    "negative": (lambda: RegionVariable(-1), ValueError, "negative. Received -1. Num"),
    "fraction": (lambda: RegionVariable(0.5), TypeError, "must be an integer"),
    "gap": (
        lambda: RegionNode([A, C]).to_region_graph(),
        ValueError,
        "variable",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
