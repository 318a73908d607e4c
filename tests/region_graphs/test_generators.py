"""The generators of region graphs that need no data."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_spn import region_graphs

small = settings(deadline=None, max_examples=25)
sides = st.tuples(st.integers(1, 9), st.integers(1, 9))


def parts(graph):
    """The graph as a map from scopes to sets of partitions; scopes must differ."""
    assert len(set(graph.scopes)) == graph.num_regions
    return {
        scope: {frozenset(graph.scopes[child] for child in entry) for entry in entries}
        for scope, entries in zip(graph.scopes, graph.partitions, strict=True)
    }


def rectangle(width, top, bottom, left, right):
    return tuple(i * width + j for i in range(top, bottom) for j in range(left, right))


# ---- random binary trees


@small
@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 10**6), st.data())
def test_random_binary_trees_are_balanced(num_variables, repetitions, seed, data):
    depth = data.draw(st.integers(1, num_variables.bit_length() - 1))
    make = region_graphs.random_binary_trees
    graph = make(num_variables, depth, repetitions, seed)
    assert graph.roots == (0,)
    assert graph.is_tree
    assert len(graph.partitions[0]) == repetitions
    assert graph.num_partitions == repetitions * (2**depth - 1)
    assert graph.num_regions == 1 + 2 * graph.num_partitions
    assert graph.depth == depth
    for entries in graph.partitions[1:]:
        assert len(entries) <= 1
    for children in itertools.chain(*graph.partitions):
        first, second = (len(graph.scopes[child]) for child in children)
        assert abs(first - second) <= 1
    assert graph == make(num_variables, depth, repetitions, seed)


def test_random_binary_trees_differ_by_seed_and_repetition():
    make = region_graphs.random_binary_trees
    assert make(32, 3, 2, seed=0) != make(32, 3, 2, seed=1)
    graph = make(32, 3, 2)
    one, two = graph.partitions[0]
    assert graph.scopes[one[0]] not in (graph.scopes[two[0]], graph.scopes[two[1]])


def test_the_global_random_state_is_untouched():
    def state():
        return np.random.get_state()[1].tolist()  # noqa: NPY002 - the one to watch

    before = state()
    region_graphs.random_binary_trees(32, 3, 2)
    region_graphs.linear_tree(5, randomize=True)
    assert state() == before


def test_equal_scopes_of_repetitions_stay_apart():
    graph = region_graphs.random_binary_trees(2, 1, 3)
    assert sorted(graph.scopes) == [(0,)] * 3 + [(0, 1)] + [(1,)] * 3


def test_halves_are_uniform():
    # 600 draws of which half (of 4 variables) holds variable 0 together with 1:
    # probability 1/3. Six standard deviations: false alarm below 1e-8.
    together = 0
    for seed in range(600):
        graph = region_graphs.random_binary_trees(4, 1, 1, seed)
        together += any(set(scope) in ({0, 1}, {2, 3}) for scope in graph.scopes)
    assert abs(together - 200) < 6 * np.sqrt(600 * 2 / 9) + 1


# ---- quad trees


@small
@given(sides, st.sampled_from([2, 4]))
def test_quad_trees_end_in_pixels(shape, num_splits):
    graph = region_graphs.quad_tree(shape, num_splits)
    pixels = shape[0] * shape[1]
    assert graph.is_tree
    assert graph.is_structured_decomposable
    assert graph.roots == (0,)
    assert sorted(graph.scopes[leaf] for leaf in graph.leaves) == [
        (pixel,) for pixel in range(pixels)
    ]
    arities = {len(p) for entries in graph.partitions for p in entries}
    assert arities <= {2, num_splits}
    assert graph.depth <= sum((side - 1).bit_length() for side in shape)
    if num_splits == 2:
        assert graph.num_partitions == pixels - 1
    else:
        assert graph.depth == max((side - 1).bit_length() for side in shape)


def test_quad_tree_cuts():
    graph = parts(region_graphs.quad_tree((2, 2)))
    assert graph[0, 1, 2, 3] == {frozenset({(0, 1), (2, 3)})}  # horizontal cut first
    graph = parts(region_graphs.quad_tree((2, 3)))
    assert graph[0, 1, 2, 3, 4, 5] == {frozenset({(0, 1, 3, 4), (2, 5)})}
    graph = parts(region_graphs.quad_tree((3, 3), num_splits=4))
    assert graph[tuple(range(9))] == {
        frozenset({(0, 1, 3, 4), (2, 5), (6, 7), (8,)}),
    }


@small
@given(sides, st.sampled_from([2, 4]), st.integers(1, 3), st.integers(0, 99))
def test_random_quad_trees_end_in_pixels(shape, num_splits, num_repetitions, seed):
    arguments = (shape, num_splits, num_repetitions, seed)
    graph = region_graphs.random_quad_tree(*arguments)
    pixels = shape[0] * shape[1]
    assert graph == region_graphs.random_quad_tree(*arguments)
    assert sorted(graph.scopes[leaf] for leaf in graph.leaves) == [
        (pixel,) for pixel in range(pixels)
    ]
    whole, *others = graph.partitions
    assert (pixels > 1) <= len(whole) <= num_repetitions
    assert all(len(partitions) <= 1 for partitions in others)
    assert graph.is_tree or num_repetitions > 1
    arities = {len(p) for entries in graph.partitions for p in entries}
    assert arities <= {2, num_splits}


def test_random_quad_trees_cut_elsewhere_each_time():
    graphs = {region_graphs.random_quad_tree((8, 8), seed=s).to_json() for s in [0, 1]}
    assert len(graphs) == 2
    halves = set()
    for seed in range(200):
        [[top, _]] = region_graphs.random_quad_tree((8, 8), seed=seed).partitions[0]
        halves.add(region_graphs.random_quad_tree((8, 8), seed=seed).scopes[top])
    # Rows or columns 2 to 6: false alarm 10 * 0.9^200 < 1e-8.
    assert {len(scope) for scope in halves} == {16, 24, 32, 40, 48}
    assert len(halves) == 10


# ---- quad graphs


def bottom_up_quad_graph(height, width):
    """The published algorithm: merge 2x2 neighbours of a grid, level by level."""
    grid = {(i, j): (i * width + j,) for i in range(height) for j in range(width)}
    result = {scope: set() for scope in grid.values()}

    def merge(*scopes):
        whole = tuple(sorted(sum(scopes, ())))
        result.setdefault(whole, set()).add(frozenset(scopes))
        return whole

    while height > 1 or width > 1:
        height, width = -(-height // 2), -(-width // 2)
        coarse = {}
        for i, j in itertools.product(range(height), range(width)):
            places = [(2 * i + a, 2 * j + b) for a in (0, 1) for b in (0, 1)]
            found = [grid[place] for place in places if place in grid]
            if len(found) == 4:
                a, b, c, d = found
                coarse[i, j] = merge(merge(a, b), merge(c, d))
                merge(merge(a, c), merge(b, d))
            else:
                coarse[i, j] = merge(*found) if len(found) == 2 else found[0]
        grid = coarse
    return result


@small
@given(sides)
def test_quad_graph_is_the_published_one(shape):
    assert parts(region_graphs.quad_graph(shape)) == bottom_up_quad_graph(*shape)


def test_quad_graph_of_mnist():
    # Sides of 28, 14, 7, 4, 2 blocks. Full 2x2 groups: 14*14, 7*7, 3*3 (one row and
    # one column of the 7 are left over), 2*2, 1. A full group has 5 new regions (the
    # whole and four halves) and 6 partitions; a pair at the border, 3 + 3 of them,
    # one of each; the corner is passed on.
    groups = 14 * 14 + 7 * 7 + 3 * 3 + 2 * 2 + 1
    graph = region_graphs.quad_graph((28, 28))
    assert graph.num_regions == 784 + 5 * groups + 6 == 2085
    assert graph.num_partitions == 6 * groups + 6 == 1560
    assert len(graph.leaves) == 784
    assert graph.depth == 10
    assert parts(graph) == bottom_up_quad_graph(28, 28)
    assert graph.roots == (0,)
    assert len(graph.partitions[0]) == 2


# ---- Poon-Domingos


def brute_force_poon_domingos(height, width, delta):
    """All rectangles whose sides lie on the grid, and all cuts of each."""
    rows = sorted({0, height, *range(delta, height, delta)})
    columns = sorted({0, width, *range(delta, width, delta)})
    result = {}
    for top, bottom in itertools.combinations(rows, 2):
        for left, right in itertools.combinations(columns, 2):
            cuts = {
                frozenset(
                    {
                        rectangle(width, top, row, left, right),
                        rectangle(width, row, bottom, left, right),
                    }
                )
                for row in rows
                if top < row < bottom
            } | {
                frozenset(
                    {
                        rectangle(width, top, bottom, left, column),
                        rectangle(width, top, bottom, column, right),
                    }
                )
                for column in columns
                if left < column < right
            }
            result[rectangle(width, top, bottom, left, right)] = cuts
    return result


@small
@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(1, 6))
def test_poon_domingos_against_brute_force(shape, delta):
    graph = region_graphs.poon_domingos(shape, delta)
    assert parts(graph) == brute_force_poon_domingos(*shape, delta)
    assert graph.roots == (0,)
    assert graph == region_graphs.poon_domingos(shape, [delta])


def test_poon_domingos_coarse_then_fine():
    graph = parts(region_graphs.poon_domingos((1, 6), [4, 1]))
    assert graph[0, 1, 2, 3, 4, 5] == {frozenset({(0, 1, 2, 3), (4, 5)})}
    assert len(graph[0, 1, 2, 3]) == 3
    assert graph[4, 5] == {frozenset({(4,), (5,)})}


def test_poon_domingos_max_depth():
    graph = region_graphs.poon_domingos((1, 8), 1, max_depth=1)
    assert graph.depth == 1
    assert graph.num_partitions == 7
    full = region_graphs.poon_domingos((3, 3), 1)
    assert region_graphs.poon_domingos((3, 3), 1, max_depth=4) == full


# ---- chains and full factorization


@small
@given(st.integers(1, 12), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_linear_trees_are_chains(num_variables, repetitions, randomize, seed):
    graph = region_graphs.linear_tree(
        num_variables, repetitions, randomize=randomize, seed=seed
    )
    assert graph.is_tree
    assert graph.depth == num_variables - 1
    assert graph.num_partitions == repetitions * (num_variables - 1)
    for children in itertools.chain(*graph.partitions):
        assert len(graph.scopes[children[0]]) == 1
    again = region_graphs.linear_tree(
        num_variables, repetitions, randomize=randomize, seed=seed
    )
    assert graph == again


def test_linear_tree_orders():
    graph = region_graphs.linear_tree(3)
    assert graph.scopes == ((0, 1, 2), (0,), (1, 2), (1,), (2,))
    one = region_graphs.linear_tree(20, randomize=True, seed=0)
    assert one != region_graphs.linear_tree(20, randomize=True, seed=1)
    assert one != region_graphs.linear_tree(20)


@small
@given(st.integers(1, 20))
def test_fully_factorized(num_variables):
    graph = region_graphs.fully_factorized(num_variables)
    assert graph.num_partitions == (num_variables > 1)
    assert graph.depth == (num_variables > 1)
    assert sorted(graph.scopes[leaf] for leaf in graph.leaves) == [
        (v,) for v in range(num_variables)
    ]


# ---- wrong arguments

WRONG = [
    ("random_binary_trees", (7, 3, 1), ValueError, r"depth=3; the largest.* is 2\."),
    ("random_binary_trees", (1, 1, 1), ValueError, r"largest depth possible is 0\."),
    ("random_binary_trees", (8, 0, 1), ValueError, r"`depth` must be at least 1.*0"),
    ("random_binary_trees", (8, 1, 0), ValueError, r"`num_repetitions`"),
    ("random_binary_trees", (8.0, 1, 1), TypeError, r"`num_variables`.*8\.0"),
    ("random_binary_trees", (8, True, 1), TypeError, r"`depth`.*bool"),
    ("quad_tree", ((4, 4), 3), ValueError, r"`num_splits`.*Received 3.*2 or 4"),
    ("quad_tree", ((1, 4, 4),), ValueError, r"\(height, width\).*3 sides.*channels"),
    ("quad_tree", (4,), TypeError, r"pair \(height, width\).*Received 4"),
    ("random_quad_tree", ((4, 4), 3), ValueError, r"`num_splits`.*Received 3.*2 or 4"),
    ("random_quad_tree", ((4, 4), 2, 0), ValueError, r"`num_repetitions`.*Received"),
    ("quad_graph", ((0, 4),), ValueError, r"`shape\[0\]` must be at least 1"),
    ("quad_graph", ((4, 2.5),), TypeError, r"`shape\[1\]` must be an integer"),
    ("poon_domingos", ((4, 4), 0), ValueError, r"`delta` must be at least 1"),
    ("poon_domingos", ((4, 4), 1.5), TypeError, r"`delta`.*1\.5"),
    ("poon_domingos", ((4, 4), [1, 2]), ValueError, r"\(1, 2\).*strictly decreasing"),
    ("poon_domingos", ((4, 4), []), ValueError, r"at least one"),
    ("poon_domingos", ((4, 4), 1, 0), ValueError, r"`max_depth`"),
    ("linear_tree", (0,), ValueError, r"`num_variables` must be at least 1"),
    ("linear_tree", (4, 0), ValueError, r"`num_repetitions`"),
    ("fully_factorized", (0,), ValueError, r"`num_variables`"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "regex"), WRONG)
def test_wrong_arguments_are_refused(name, arguments, error, regex):
    with pytest.raises(error, match=regex):
        getattr(region_graphs, name)(*arguments)
