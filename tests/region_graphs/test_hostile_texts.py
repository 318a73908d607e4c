"""Texts, numbers and nests that might cost more than they are long."""

from __future__ import annotations

import itertools
import json
import time
import tracemalloc

import pytest

from tfp_spn import region_graphs
from tfp_spn.region_graphs import (
    RegionGraph,
    RegionNode,
    RegionVariable,
    arguments,
    from_nested_lists,
)

GOOD = {
    "format": "tfp_spn.RegionGraph",
    "version": 1,
    "scopes": [[0, 1], [0], [1]],
    "partitions": [[0, [1, 2]]],
    "roots": [0],
}
WRONG = (
    *(True, -1, 0.5, float("nan"), float("inf"), 3 * 10**8, 2**62, 2**64, 10**4200),
    *("", "0", "01", [], [[]], [None], [True], [1.5], ["0"], [10**18], [-5], {}),
    *({"a": 1}, [[[0]]]),
)
# Where one value of the good text is replaced by a wrong one.
PLACES = {
    "format": lambda v: {"format": v},
    "version": lambda v: {"version": v},
    "scopes": lambda v: {"scopes": v},
    "scope": lambda v: {"scopes": [[0, 1], v, [1]]},
    "variable": lambda v: {"scopes": [[0, 1], [0], [v]]},
    "partitions": lambda v: {"partitions": v},
    "partition": lambda v: {"partitions": [v]},
    "region": lambda v: {"partitions": [[v, [1, 2]]]},
    "children": lambda v: {"partitions": [[0, v]]},
    "child": lambda v: {"partitions": [[0, [1, v]]]},
    "roots": lambda v: {"roots": v},
    "root": lambda v: {"roots": [v]},
}
TEXTS = (
    *(
        None,
        3,
        ["[]"],
        "",
        "nul",
        "{}",
        "[]",
        "3",
        b"\xff\xfe\x00",
        b"\x80abc",
        "[" * 9,
    ),
    *("[" * 100_000, '{"a":' * 100_000, "[" * 990 + "]" * 990, "1" * 5000, "\ufeff{}"),
    *("[1e400]", '{"format": NaN}', "-" * 1000, '"' + "a" * 100_000, "[1]" * 9),
    '{"format": "tfp_spn.RegionGraph", "version": 1}',
)
LONG = 60_000
DEEP = 20_000


def refused(make) -> str:
    """The message, of which neither length nor cost follow from what numbers say."""
    tracemalloc.start()
    try:
        with pytest.raises((TypeError, ValueError)) as raised:
            make()
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert len(str(raised.value)) < 1000
    return str(raised.value)


def test_good_text_is_good():
    assert RegionGraph.from_json(json.dumps(GOOD)).num_variables == 2


@pytest.mark.parametrize("place", PLACES)
def test_wrong_values_in_a_text_are_refused(place):
    for value in WRONG:
        text = json.dumps({**GOOD, **PLACES[place](value)})
        assert "RegionGraph" in refused(lambda t=text: RegionGraph.from_json(t))


def test_texts_that_are_no_region_graph_are_refused(tmp_path):
    for text in TEXTS:
        assert "RegionGraph" in refused(lambda t=text: RegionGraph.from_json(t))
    (tmp_path / "graph.json").write_bytes(b"\xff\xff\xff")
    assert "RegionGraph" in refused(lambda: RegionGraph.load(tmp_path / "graph.json"))


def long_cycle():
    return [(i, ((i + 1) % LONG, (i + 2) % LONG)) for i in range(LONG)]


# What takes a time that is quadratic in the length, unless one takes care.
LONG_GRAPHS = {
    "cycle": lambda: RegionGraph([[0]] * LONG, long_cycle()),
    "roots": lambda: RegionGraph([[0]] * LONG, [], range(LONG // 2)),
    "children": lambda: RegionGraph(
        [[0, 1]] * LONG + [[0], [1]],
        [(i, (LONG, LONG + 1)) for i in range(LONG)],
        range(LONG + 2),
    ),
    "overlap": lambda: RegionGraph(
        [range(LONG), *([i] for i in range(LONG)), [LONG - 1]],
        [(0, range(1, LONG + 2))],
    ),
    "repeated child": lambda: RegionGraph([[0, 1], [0], [1]], [(0, [1] * LONG)]),
    "unknown child": lambda: RegionGraph([[0, 1], [0], [1]], [(0, range(LONG))]),
}


@pytest.mark.parametrize("name", LONG_GRAPHS)
def test_long_wrong_graphs_are_refused_in_linear_time(name):
    start = time.perf_counter()
    with pytest.raises(ValueError, match="RegionGraph") as raised:
        LONG_GRAPHS[name]()
    assert len(str(raised.value)) < 1000
    assert time.perf_counter() - start < 20  # takes one second, quadratic a minute


def test_numbers_of_any_size_are_refused():
    for value in (10**5000, -(10**5000), 2**62):
        variables = (1, value)
        assert "RegionGraph" in refused(lambda v=value: RegionGraph([[0, v]], []))
        refused(lambda v=value: from_nested_lists([0, v]))
        refused(lambda v=variables: from_nested_lists([0, v]))
        refused(lambda v=variables: from_nodes(*v))


def from_nodes(*variables):
    return RegionNode([RegionVariable(v) for v in variables]).to_region_graph()


def chain(depth, tail=()):
    nested = 0
    for variable in range(1, depth):
        nested = [nested, variable, *tail]
    return nested


def brackets(depth):
    nested = 0
    for _ in range(depth):
        nested = [nested]
    return nested


def node_chain(depth):
    node = RegionVariable(0)
    for variable in range(1, depth):
        node = RegionNode([node, RegionVariable(variable)])
    return node


def test_nests_may_be_deep():
    graph = from_nested_lists(chain(1200))
    assert graph.depth == 1199
    assert node_chain(1200).to_region_graph() == graph
    node = RegionVariable(0)
    for _ in range(DEEP):
        node = RegionNode([node])
    assert node.to_region_graph() == from_nested_lists(0)
    deep_and_wrong = RegionNode([node, RegionVariable(1)])
    assert "overlap" in refused(lambda: RegionNode([deep_and_wrong, node]))


def test_nests_that_are_too_deep_or_endless_are_refused():
    for nested in (
        chain(DEEP, tail=["x"]),
        brackets(DEEP),
        (brackets(DEEP),),
        {"partitions": brackets(DEEP)},
        {"partition": brackets(DEEP)},
        [0, {brackets: 1}],
    ):
        assert "nested" in refused(lambda n=nested: from_nested_lists(n))
    with pytest.raises(ValueError, match="too deep for a region graph.*Nest evenly"):
        from_nested_lists(chain(DEEP))
    itself = [0]
    itself.append(itself)
    assert r"nested[1] holds itself" in refused(lambda: from_nested_lists(itself))
    partitions = [[1, 2]]
    partitions.append([{"partitions": partitions}, 3])
    assert "holds itself" in refused(
        lambda: from_nested_lists({"partitions": partitions})
    )


def test_graphs_that_no_memory_holds_are_refused_before_they_are_made():
    many = 10**9
    for make in (
        lambda: RegionGraph([range(10**12)], []),
        lambda: RegionGraph([range(10**30)], []),
        lambda: RegionGraph([range(3), range(many)], []),
        lambda: region_graphs.fully_factorized(many),
        lambda: region_graphs.random_binary_trees(3 * 10**8, 2, 1),
        lambda: region_graphs.random_binary_trees(10**4, 10, 10**6),
        lambda: region_graphs.linear_tree(2**62),
        lambda: region_graphs.linear_tree(10**6),
        lambda: region_graphs.linear_tree(100, 10**9, randomize=True),
        lambda: region_graphs.quad_tree((10**5, 10**5)),
        lambda: region_graphs.quad_tree((10**9, 10**9), num_splits=4),
        lambda: region_graphs.quad_graph((10**9, 1)),
        lambda: region_graphs.poon_domingos((500, 500), delta=1),
    ):
        tracemalloc.start()
        start = time.perf_counter()
        try:
            with pytest.raises(
                ValueError, match=r"(too large for|out of range).* at most 2.*Pass"
            ):
                make()
            assert tracemalloc.get_traced_memory()[1] < 2**29
        finally:
            tracemalloc.stop()
        assert time.perf_counter() - start < 10


def test_endless_scopes_are_refused(monkeypatch):
    monkeypatch.setattr(arguments, "_MOST_IN_SCOPES", 1000)
    with pytest.raises(ValueError, match="RegionGraph: The list of scopes is too larg"):
        RegionGraph([itertools.count()], [])
    assert RegionGraph([range(1000)], []).num_variables == 1000


def test_values_of_any_kind_are_named_in_short():
    class Long:
        def __repr__(self):
            raise RuntimeError

    for value in (Long(), [[Long()]], "x" * 10**6, brackets(DEEP)):
        refused(lambda v=value: RegionGraph([v], []))
        refused(lambda v=value: RegionGraph([[0]], [v]))
        refused(lambda v=value: RegionGraph([[0]], v))
    for value in (None, 3, [None], [3], "ab", itertools):
        refused(lambda v=value: RegionNode(v))
