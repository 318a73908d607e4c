"""Region graphs from nested lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_spn.region_graphs import RegionGraph, from_nested_lists


def test_notation():
    assert from_nested_lists(0) == RegionGraph([(0,)], [])
    assert from_nested_lists((1, 0)) == RegionGraph([(0, 1)], [])
    assert from_nested_lists([np.int64(0), [(1, 3), 2]]) == RegionGraph(
        [(0, 1, 2, 3), (0,), (1, 2, 3), (1, 3), (2,)], [(0, (1, 2)), (2, (3, 4))]
    )
    graph = from_nested_lists({"partitions": [[0, 1, 2], [0, (1, 2)]]})
    assert graph.partitions[0] == ((1, 2, 3), (4, 5))
    assert graph.is_tree
    assert graph.scopes[1] == graph.scopes[4] == (0,)


def test_deep_nests_need_no_recursion():
    nested = [4999, 5000]
    for variable in range(4998, 4000, -1):
        nested = [variable, nested]
    shifted = from_nested_lists([tuple(range(4001)), nested])
    assert shifted.depth == 1000


nests = st.recursive(
    st.just(0), lambda inner: st.lists(inner, min_size=2, max_size=3), max_leaves=12
)


@settings(deadline=None, max_examples=30)
@given(nests)
def test_random_nests(nested):
    count = 0

    def numbered(element):
        nonlocal count
        if isinstance(element, list):
            return [numbered(child) for child in element]
        count += 1
        return count - 1

    def nest(graph, region):
        if region in graph.leaves:
            return graph.scopes[region][0]
        return [nest(graph, child) for child in graph.partitions[region][0]]

    nested = numbered(nested)
    assert nest(from_nested_lists(nested), 0) == nested


@pytest.mark.parametrize(
    ("nested", "error", "regex"),
    [
        ([0, [1, "2"]], TypeError, r"at nested\[1\]\[1\].*'2' of type str.*tuple of"),
        ([0, {1, 2}], TypeError, r"at nested\[1\].*type set"),
        ([0, 1.0], TypeError, r"at nested\[1\].*1\.0"),
        ([0, None], TypeError, r"at nested\[1\].*NoneType"),
        ([0, True], TypeError, r"at nested\[1\].*bool"),
        ([0, (1, "x")], TypeError, r"nested\[1\]\[1\] must be an integer"),
        ([0, ()], ValueError, r"tuple at nested\[1\] is empty"),
        ([0, [1]], ValueError, r"list at nested\[1\] has 1 elements.*two"),
        ([], ValueError, r"list at nested has 0 elements"),
        ({"partition": [[0, 1]]}, ValueError, r"dictionary at nested .*partitions"),
        ({"partitions": 3}, ValueError, r"dictionary at nested .*list of lists"),
        ({"partitions": []}, ValueError, r"dictionary at nested has no partition"),
        (
            {"partitions": [[0, 1], (0, 1)]},
            TypeError,
            r"nested\['partitions'\]\[1\] must be a list",
        ),
        (
            {"partitions": [[0, 1], [0]]},
            ValueError,
            r"nested\['partitions'\]\[1\] has 1 elements",
        ),
        ([0, [1, 0]], ValueError, r"overlap in the variables \{0\}"),
        ([0, [2, 3]], ValueError, r"\{1\} are in no region"),
        (
            {"partitions": [[0, 1], [0, 2]]},
            ValueError,
            r"do not make up|surplus|missing",
        ),
    ],
)
def test_wrong_nests_are_refused(nested, error, regex):
    with pytest.raises(error, match=regex):
        from_nested_lists(nested)
