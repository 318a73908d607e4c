"""The class RegionGraph: what it accepts, refuses, keeps and writes."""

import copy
import json
import pickle
import re

import numpy as np
import pytest

from tests.region_graphs.region_graph_examples import EXAMPLES
from tfp_spn import region_graphs
from tfp_spn.region_graphs import RegionGraph

FULL = [(0, 1), (0,), (1,)]

# name: (scopes, partitions, roots, error, regex)
WRONG = {
    "overlap": (
        [(0, 1, 2), (0, 1), (1, 2)],
        [(0, (1, 2))],
        None,
        ValueError,
        r"region 0 \{0, 1, 2\}.*region 1 \{0, 1\} and region 2 \{1, 2\} overlap in the "
        r"variables \{1\}.*disjoint.*Remove",
    ),
    "same child twice": (
        FULL,
        [(0, (1, 1))],
        None,
        ValueError,
        r"region 1 \{0\} and region 1 \{0\} overlap",
    ),
    "missing variables": (
        [(0, 1, 2), (0,), (1,)],
        [(0, (1, 2))],
        None,
        ValueError,
        r"region 0 .*the missing variables \{2\}.*region 1 \{0\}, region 2 \{1\}.*Add",
    ),
    "surplus variables": (
        [(0, 1), (0,), (1, 2)],
        [(0, (1, 2))],
        None,
        ValueError,
        r"region 0 \{0, 1\}.*the surplus variables \{2\}",
    ),
    "missing and surplus": (
        [(0, 1), (0,), (2,)],
        [(0, (1, 2))],
        None,
        ValueError,
        r"missing variables \{1\} and the surplus variables \{2\}",
    ),
    "cycle": (
        [(0, 1), (0, 1), (1,)],
        [(0, (1, 2)), (1, (0, 2))],
        None,
        ValueError,
        r"cycle: region 0 \{0, 1\} -> region 1 \{0, 1\} -> region 0 \{0, 1\}\..*Remove",
    ),
    "cycle below a root": (
        [(0, 1, 2), (0, 1), (2,), (0,), (1,)],
        [(0, (1, 2)), (1, (3, 4)), (3, (1, 4))],
        None,
        ValueError,
        r"cycle: region 1 \{0, 1\} -> region 3 \{0\} -> region 1",
    ),
    "region in its own partition": (
        FULL,
        [(0, (0, 1))],
        None,
        ValueError,
        r"cycle: region 0 \{0, 1\} -> region 0",
    ),
    "two roots": (
        [(0, 1), (0, 1)],
        [],
        None,
        ValueError,
        r"Several regions have no parent: region 0 \{0, 1\}, region 1 \{0, 1\}\. "
        r"Expected exactly one.*roots=",
    ),
    "unreachable region": (
        [*FULL, (1,)],
        [(0, (1, 2))],
        None,
        ValueError,
        r"region 0 \{0, 1\}, region 3 \{1\}.*unreachable.*remove them",
    ),
    "unreachable from the given roots": (
        [*FULL, (1,)],
        [(0, (1, 2))],
        (0,),
        ValueError,
        r"Unreachable from roots=\(0,\): region 3 \{1\}",
    ),
    "root is a child": (
        FULL,
        [(0, (1, 2))],
        (0, 1),
        ValueError,
        r"names regions that are children: region 1 \{0\}\. .*\(0,\)",
    ),
    "unknown root": (
        FULL,
        [(0, (1, 2))],
        (7,),
        ValueError,
        r"unknown region 7.*0 to 2",
    ),
    "repeated root": (
        FULL,
        [(0, (1, 2))],
        (0, 0),
        ValueError,
        r"each root once.*\(0, 0\)",
    ),
    "no root": (FULL, [(0, (1, 2))], (), ValueError, r"roots=\(\)"),
    "root without full scope": (
        [(0, 1), (0,)],
        [],
        (0, 1),
        ValueError,
        r"root region 1 \{0\} lacks the variables \{1\}.*full scope of 2",
    ),
    "empty scope": (
        [(0,), ()],
        [],
        None,
        ValueError,
        r"Region 1 has an empty scope.*at least one variable",
    ),
    "no regions": ([], [], None, ValueError, r"no regions.*length 0"),
    "one child": (
        FULL,
        [(0, (1,))],
        None,
        ValueError,
        r"region 0 \{0, 1\} has 1 children, \(1,\)\. Expected at least two",
    ),
    "no child": (FULL, [(0, ())], None, ValueError, r"has 0 children"),
    "unknown child": (
        FULL,
        [(0, (1, 5))],
        None,
        ValueError,
        r"Partition number 0, \(1, 5\) of region 0, names the unknown region 5.*0 to 2",
    ),
    "negative region": (FULL, [(-1, (1, 2))], None, ValueError, r"unknown region -1"),
    "negative variable": (
        [(0, -3)],
        [],
        None,
        ValueError,
        r"Region 0 has the negative variable -3 in its scope \{-3, 0\}",
    ),
    "repeated variable": (
        [(0, 1, 1)],
        [],
        None,
        ValueError,
        r"Region 0 repeats .*\{1\}",
    ),
    "gap in the variables": (
        [(0, 3)],
        [],
        None,
        ValueError,
        r"variables \{1, 2\} are in no region.*largest variable 3",
    ),
    "duplicate partition": (
        FULL,
        [(0, (1, 2)), (0, (2, 1))],
        None,
        ValueError,
        r"region 0 \{0, 1\} is a duplicate.*\(2, 1\) twice",
    ),
    "long scope": (
        [range(20), range(10)],
        [],
        None,
        ValueError,
        r"region 0 \{0, 1, 2, 3, 4, 5, 6, 7, \.\.\.\} \(20 in all\)",
    ),
    "float variable": (
        [(0, 1.0)],
        [],
        None,
        TypeError,
        r"region 0 .*1\.0 of type float",
    ),
    "bool variable": (
        [(0, True)],
        [],
        None,
        TypeError,
        r"region 0 .*True of type bool",
    ),
    "scope is a number": (
        [3],
        [],
        None,
        TypeError,
        r"scope of region 0.*iterable.*\(3,\)",
    ),
    "scope is text": (["01"], [], None, TypeError, r"scope of region 0.*'01'"),
    "scopes are a number": (5, [], None, TypeError, r"`scopes` must be a sequence"),
    "partitions are a number": (FULL, 5, None, TypeError, r"`partitions` must be"),
    "roots are a number": (FULL, [(0, (1, 2))], 0, TypeError, r"`roots` must be a seq"),
    "partition is no pair": (FULL, [(0, 1, 2)], None, TypeError, r"number 0 .*pair"),
    "children are a number": (FULL, [(0, 1)], None, TypeError, r"pair.*\(0, 1\)"),
    "child is a float": (FULL, [(0, (1, 2.0))], None, TypeError, r"child .*2\.0"),
    "region is text": (FULL, [("0", (1, 2))], None, TypeError, r"region of .*'0'"),
    "root is a float": (FULL, [(0, (1, 2))], (0.0,), TypeError, r"A root .*0\.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_graphs_are_refused(name):
    scopes, partitions, roots, error, regex = WRONG[name]
    with pytest.raises(error, match=regex) as raised:
        RegionGraph(scopes, partitions, roots)
    assert len(str(raised.value)) < 600


def test_attributes():
    graph = RegionGraph(
        [{2, 1, 0}, [1, 0], np.array([2]), (0,), (1,), (1, 2)],
        iter([(0, [1, 2]), (np.int64(1), (4, 3)), (0, (3, 5))]),
    )
    assert graph.scopes == ((0, 1, 2), (0, 1), (2,), (0,), (1,), (1, 2))
    assert graph.partitions == (((1, 2), (3, 5)), ((4, 3),), (), (), (), ())
    assert all(type(v) is int for scope in graph.scopes for v in scope)
    assert graph.roots == (0,)
    assert graph.leaves == (2, 3, 4, 5)
    assert (graph.num_variables, graph.num_regions, graph.num_partitions) == (3, 6, 3)
    assert graph.heights == (2, 1, 0, 0, 0, 0)
    assert graph.depth == 2
    assert graph.topological_order == (2, 3, 4, 5, 1, 0)
    assert graph.parents(3) == (0, 1)
    assert graph.parents(0) == ()
    assert not graph.is_tree
    assert not graph.is_structured_decomposable
    assert repr(graph) == (
        "RegionGraph(num_variables=3, num_regions=6, num_partitions=3, depth=2)"
    )
    for wrong in (-1, 6):
        with pytest.raises(ValueError, match=rf"Received {wrong}; expected.*0 to 5"):
            graph.parents(wrong)


@pytest.mark.parametrize(
    ("name", "is_tree", "is_structured"),
    [
        ("single_region", True, True),
        ("two_roots", False, True),
        ("random_binary_trees", True, False),
        ("quad_tree_2", True, True),
        ("quad_tree_4", True, True),
        ("quad_graph", False, False),
        ("poon_domingos", False, False),
        ("linear_tree", True, True),
        ("linear_tree_random", True, False),
        ("fully_factorized", True, True),
        ("hidden_chow_liu_tree", True, True),
    ],
)
def test_kinds_of_graphs(name, is_tree, is_structured):
    assert EXAMPLES[name].is_tree == is_tree
    assert EXAMPLES[name].is_structured_decomposable == is_structured


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_keeps_its_invariants(name):
    graph = EXAMPLES[name]
    position = {region: i for i, region in enumerate(graph.topological_order)}
    assert sorted(position) == list(range(graph.num_regions))
    for region, entries in enumerate(graph.partitions):
        for children in entries:
            variables = [v for child in children for v in graph.scopes[child]]
            assert tuple(sorted(variables)) == graph.scopes[region]
            assert all(position[child] < position[region] for child in children)
            assert all(region in graph.parents(child) for child in children)
    assert graph.depth == max(graph.heights)
    assert graph.leaves == tuple(
        region for region, entries in enumerate(graph.partitions) if not entries
    )
    for root in graph.roots:
        assert graph.scopes[root] == tuple(range(graph.num_variables))


@pytest.mark.parametrize("name", EXAMPLES)
def test_json_and_copies_are_the_identity(name, tmp_path):
    graph = EXAMPLES[name]
    path = tmp_path / "graph.json"
    graph.save(path)
    for other in (
        RegionGraph.from_json(graph.to_json()),
        RegionGraph.load(str(path)),
        pickle.loads(pickle.dumps(graph)),
        copy.copy(graph),
        copy.deepcopy(graph),
    ):
        assert other == graph
        assert hash(other) == hash(graph)
        assert other.topological_order == graph.topological_order


def test_the_registry_has_every_generator():
    others = {"RegionGraph", "chow_liu_tree", "mutual_information"}
    others |= {"RegionNode", "RegionVariable"}  # parts of a graph, see test_region_node
    for generator in set(region_graphs.__all__) - others:
        assert any(name.startswith(generator) for name in EXAMPLES), generator


def test_different_graphs_are_not_equal():
    assert EXAMPLES["quad_tree_2"] != EXAMPLES["quad_tree_4"]
    assert EXAMPLES["quad_tree_2"] != "a region graph"


def test_order_of_children_and_of_roots_counts():
    one = RegionGraph(FULL, [(0, (1, 2))])
    assert one != RegionGraph(FULL, [(0, (2, 1))])
    assert one == RegionGraph([[1, 0], [0], [1]], [[0, [1, 2]]], roots=[0])


@pytest.mark.parametrize("name", [*RegionGraph.__slots__, "depth", "anything"])
def test_graphs_are_immutable(name):
    graph = EXAMPLES["quad_tree_2"]
    with pytest.raises(AttributeError, match=f"cannot be changed.*{name}.*new Region"):
        setattr(graph, name, ())
    with pytest.raises(AttributeError, match=f"cannot be changed.*{name}"):
        delattr(graph, name)
    if name in RegionGraph.__slots__:
        hash(getattr(graph, name))  # tuples of tuples and numbers all the way down


@pytest.mark.parametrize(
    ("change", "error", "regex"),
    [
        (lambda content: "no json", ValueError, r"not JSON.*to_json"),
        (lambda content: "[1]", ValueError, r"format None, version None; expected"),
        (lambda content: content | {"version": 9}, ValueError, r"version 9; expected"),
        (lambda content: content | {"format": "x"}, ValueError, r"format 'x'"),
        (
            lambda content: {k: v for k, v in content.items() if k != "roots"},
            ValueError,
            r"lacks \['roots'\].*'partitions'",
        ),
        (lambda content: content | {"scopes": 3}, TypeError, r"`scopes`"),
        (
            lambda content: content | {"scopes": [[0, 1], [0], [0]]},
            ValueError,
            "overlap",
        ),
    ],
)
def test_wrong_json_is_refused(change, error, regex):
    changed = change(json.loads(RegionGraph(FULL, [(0, (1, 2))]).to_json()))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    with pytest.raises(error, match=regex):
        RegionGraph.from_json(text)


def test_messages_are_ascii_and_abbreviate_many_regions():
    scopes = [range(30), *((v,) for v in range(29))]
    with pytest.raises(ValueError, match=r"missing variables \{29\}") as raised:
        RegionGraph(scopes, [(0, range(1, 30))])
    assert str(raised.value).isascii()
    assert len(re.findall(r"region \d+ ", str(raised.value))) < 12
