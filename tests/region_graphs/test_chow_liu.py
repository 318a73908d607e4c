"""Mutual information, Chow-Liu trees and their region graphs."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_spn.region_graphs import (
    RegionGraph,
    chow_liu_tree,
    hidden_chow_liu_tree,
    mixture_of_hidden_chow_liu_trees,
    mutual_information,
)
from tfp_spn.region_graphs import mutual_information as function
from tfp_spn.region_graphs.chow_liu_tree import (
    maximum_spanning_tree,
    rooted_at_centre,
)

# A tree over ten variables; its centre is 4.
EDGES = {(4, 0), (4, 1), (1, 2), (2, 3), (4, 5), (5, 6), (5, 7), (7, 8), (1, 9)}


def tree_data(num_examples, kind, seed=0):
    """Samples of a Markov tree over EDGES, from variable 4 outwards."""
    rng = np.random.default_rng(seed)
    graph = nx.Graph(list(EDGES))
    columns = {}
    for parent, child in [(None, 4), *nx.bfs_edges(graph, 4)]:
        if kind == "gaussian":
            noise = rng.normal(size=num_examples)
            signal = 0.0 if parent is None else 0.8 * columns[parent]
            columns[child] = signal + 0.6 * noise
        else:
            columns[child] = rng.integers(0, 4, num_examples)
            if parent is not None:
                keep = rng.random(num_examples) < 0.7
                columns[child][keep] = 3 - columns[parent][keep]
    return np.stack([columns[v] for v in range(10)], axis=1)


def edges_of(parents):
    return {frozenset((v, p)) for v, p in enumerate(parents.tolist()) if p >= 0}


def brute_force_discrete(data, observed, alpha):
    """The definition, pair by pair and value by value."""
    size = data.shape[1]
    result = np.zeros((size, size))
    kinds = [np.unique(data[observed[:, v], v]) for v in range(size)]
    for i, j in itertools.permutations(range(size), 2):
        both = observed[:, i] & observed[:, j]
        joint = np.array(
            [
                [
                    np.sum((data[both, i] == a) & (data[both, j] == b)) + alpha
                    for b in kinds[j]
                ]
                for a in kinds[i]
            ],
            np.float64,
        ).reshape(len(kinds[i]), len(kinds[j]))
        if joint.sum() == 0:
            continue
        joint /= joint.sum()
        for a, b in itertools.product(*map(range, joint.shape)):
            if joint[a, b] > 0:
                ratio = joint[a, b] / (joint[a].sum() * joint[:, b].sum())
                result[i, j] += joint[a, b] * np.log(ratio)
    return result


def brute_force_gaussian(data, observed):
    size = data.shape[1]
    result = np.zeros((size, size))
    for i, j in itertools.permutations(range(size), 2):
        both = observed[:, i] & observed[:, j]
        rho = np.corrcoef(data[both, i], data[both, j])[0, 1]
        result[i, j] = -0.5 * np.log(1 - rho**2)
    return result


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.01, 1.0]), st.booleans())
def test_discrete_information_against_loops(seed, alpha, missing):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, size=5)
    data = rng.integers(0, sizes, size=(rng.integers(1, 40), 5)) * 3 - 2
    observed = rng.random(data.shape) < (0.6 if missing else 2.0)
    actual = mutual_information(data, observed=observed, alpha=alpha)
    expected = brute_force_discrete(data, observed, alpha)
    np.testing.assert_allclose(actual, expected, atol=1e-11)
    assert (actual >= 0).all()
    np.testing.assert_array_equal(actual, actual.T)


@pytest.mark.parametrize("missing", [False, True])
def test_gaussian_information_against_loops(missing):
    rng = np.random.default_rng(3)
    data = rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6)) + 1000.0
    observed = rng.random(data.shape) < (0.7 if missing else 2.0)
    expected = brute_force_gaussian(data, observed)
    holes = np.where(observed, data, np.nan)
    np.testing.assert_allclose(
        mutual_information(data, observed=observed), expected, rtol=1e-8
    )
    np.testing.assert_allclose(mutual_information(holes), expected, rtol=1e-8)
    garbage = np.where(observed, data, np.inf)
    np.testing.assert_allclose(
        mutual_information(garbage, observed=observed), expected, rtol=1e-8
    )
    np.testing.assert_allclose(mutual_information(data * 1e-150)[0, 1:],
                               mutual_information(data)[0, 1:], rtol=1e-6)  # fmt: skip


def test_nan_means_missing_in_discrete_data():
    data = tree_data(300, "discrete")
    observed = np.random.default_rng(1).random(data.shape) < 0.8
    holes = np.where(observed, data, np.nan)
    np.testing.assert_array_equal(
        mutual_information(holes, data_type="discrete"),
        mutual_information(data, observed=observed),
    )


def test_types_of_integers_agree():
    data = tree_data(200, "discrete")
    expected = mutual_information(data)
    for dtype in (np.uint8, np.int8, np.uint64):
        np.testing.assert_array_equal(mutual_information(data.astype(dtype)), expected)
    np.testing.assert_array_equal(
        mutual_information(data.astype(np.float32), data_type="discrete"), expected
    )
    binary = data > 1
    np.testing.assert_array_equal(
        mutual_information(binary), mutual_information(binary.astype(int))
    )


def test_blocks_do_not_change_the_result(monkeypatch):
    data = tree_data(500, "discrete")
    normal = tree_data(500, "gaussian")
    expected = mutual_information(data), mutual_information(normal)
    module = __import__("sys").modules[function.__module__]
    monkeypatch.setattr(module, "_MAX_COLUMNS", 7)
    monkeypatch.setattr(module, "_MAX_CELLS", 300)
    np.testing.assert_allclose(mutual_information(data), expected[0], atol=1e-12)
    np.testing.assert_allclose(mutual_information(normal), expected[1], atol=1e-12)


def test_degenerate_columns_have_no_information():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(50, 3))
    data[:, 1] = 0.1
    information = mutual_information(data)
    assert (information[1] == 0).all()
    assert np.isfinite(information).all()
    data[:, 1] = np.nan
    assert (mutual_information(data)[1] == 0).all()
    data[:, 1] = data[:, 0]
    information = mutual_information(data)
    assert np.isfinite(information).all()
    assert information[0, 1] > 10
    whole = np.round(data)
    whole[:, 1] = np.nan
    np.testing.assert_allclose(mutual_information(whole, data_type="discrete")[1], 0)


def test_bins():
    data = tree_data(2000, "gaussian")
    binned = mutual_information(data, num_bins=8)
    exact = mutual_information(data)
    strong = exact > 0.2
    assert (np.abs(binned - exact)[strong] < 0.3 * exact[strong]).all()
    discrete = tree_data(200, "discrete")
    np.testing.assert_array_equal(
        mutual_information(discrete, num_bins=4), mutual_information(discrete)
    )
    np.testing.assert_allclose(
        mutual_information(discrete, num_bins=2), mutual_information(discrete > 1)
    )
    assert (mutual_information(data, num_bins=1) == 0).all()


@pytest.mark.parametrize("kind", ["discrete", "gaussian"])
@pytest.mark.parametrize("missing", [False, True])
def test_the_tree_is_recovered(kind, missing):
    data = tree_data(3000, kind)
    observed = None
    if missing:
        observed = np.random.default_rng(5).random(data.shape) < 0.8
    parents = chow_liu_tree(data, observed=observed)
    assert edges_of(parents) == {frozenset(edge) for edge in EDGES}
    assert parents[4] == -1
    graph = hidden_chow_liu_tree(data, observed=observed)
    assert graph.is_tree
    assert graph.roots == (0,)
    assert graph.depth == 3
    assert graph.num_partitions == 5  # the inner variables 4, 1, 2, 5, 7
    children = [graph.scopes[child] for child in graph.partitions[0][0]]
    assert children == [(4,), (0,), (1, 2, 3, 9), (5, 6, 7, 8)]
    assert len(graph.leaves) == 10
    assert graph == hidden_chow_liu_tree(data.copy(), observed=observed)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(0, 10**6))
def test_spanning_tree_against_networkx(size, seed):
    weights = np.random.default_rng(seed).integers(0, 4, size=(size, size)) / 4
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    sparse = maximum_spanning_tree(weights)
    tree = nx.Graph(list(zip(*sparse.nonzero(), strict=True)))
    tree.add_nodes_from(range(size))
    assert nx.is_tree(tree)
    parents = rooted_at_centre(sparse)
    assert np.flatnonzero(parents < 0).tolist() == [min(nx.center(tree))]
    assert edges_of(parents) == {frozenset(edge) for edge in tree.edges}
    complete = nx.Graph()
    complete.add_nodes_from(range(size))
    complete.add_weighted_edges_from(
        (i, j, weights[i, j]) for i in range(size) for j in range(i)
    )
    best = nx.maximum_spanning_tree(complete).size(weight="weight")
    assert sum(weights[edge] for edge in tree.edges) == best


def test_independent_and_single_variables():
    assert chow_liu_tree(np.zeros((3, 1), int)).tolist() == [-1]
    assert hidden_chow_liu_tree(np.zeros((3, 1), int)) == RegionGraph([(0,)], [])
    assert chow_liu_tree(np.zeros((3, 2), int)).tolist() == [-1, 0]
    # All weights are equal: ties go to the first variable, a star around it.
    graph = hidden_chow_liu_tree(np.zeros((3, 4), int))
    assert graph.scopes == ((0, 1, 2, 3), (1,), (2,), (3,), (0,))
    assert graph.partitions[0] == ((4, 1, 2, 3),)


DATA = np.zeros((4, 2), int)


@pytest.mark.parametrize(
    ("data", "arguments", "error", "regex"),
    [
        (np.full((4, 2), "a", object), {}, TypeError, r"dtype object"),
        (np.zeros((4, 2), complex), {}, TypeError, r"dtype complex128"),
        (np.zeros(4), {}, ValueError, r"num_examples, num_variables.*\(4,\)"),
        (np.zeros((0, 2)), {}, ValueError, r"neither zero.*\(0, 2\)"),
        (np.array([[0.0, np.inf]]), {}, ValueError, r"infinite"),
        (
            np.array([[0.5, 1.0]]),
            {"data_type": "discrete"},
            ValueError,
            r"Variable 0.*0\.5",
        ),
        (DATA, {"data_type": "poisson"}, ValueError, r"'poisson'.*'gaussian'"),
        (DATA, {"alpha": -1.0}, ValueError, r"alpha=-1\.0"),
        (DATA, {"alpha": np.nan}, ValueError, r"alpha=nan"),
        (DATA, {"num_bins": 0}, ValueError, r"`num_bins` must be at least 1"),
        (DATA, {"num_bins": 2, "data_type": "gaussian"}, ValueError, r"Leave out one"),
        (DATA, {"observed": np.ones((4, 2))}, TypeError, r"boolean.*float64"),
        (DATA, {"observed": np.ones((4, 1), bool)}, ValueError, r"\(4, 2\).*\(4, 1\)"),
    ],
)
def test_wrong_data_are_refused(data, arguments, error, regex):
    for made in (mutual_information, chow_liu_tree, hidden_chow_liu_tree):
        with pytest.raises(error, match=regex):
            made(data, **arguments)


def test_mixtures_of_trees():
    data = tree_data(300, "discrete")
    graph = mixture_of_hidden_chow_liu_trees(data, 3, seed=1)
    assert len(graph.partitions[0]) == 3
    assert graph == mixture_of_hidden_chow_liu_trees(data, 3, seed=1)
    best = hidden_chow_liu_tree(data)
    scopes = [
        sorted(g.scopes[child] for child in g.partitions[0][0]) for g in (graph, best)
    ]
    assert scopes[0] == scopes[1]  # the best tree comes first
    single = [(v,) for v in range(10) for _ in range(3)]
    assert sorted(graph.scopes[leaf] for leaf in graph.leaves) == single
    stars = np.random.default_rng(0).integers(0, 2, [50, 3])  # trees of equal regions
    assert len(mixture_of_hidden_chow_liu_trees(stars).partitions[0]) > 1
    # Without a perturbation all candidates are one; of one variable there is one tree.
    assert mixture_of_hidden_chow_liu_trees(data, perturbation=0) == best
    one = np.zeros((3, 1), int)
    assert mixture_of_hidden_chow_liu_trees(one) == RegionGraph([(0,)], [])
    with pytest.raises(ValueError, match="`perturbation` must be a finite number"):
        mixture_of_hidden_chow_liu_trees(data, perturbation=1)


def test_balanced_trees_are_shallow():
    steps = np.random.default_rng(0).normal(size=(2000, 200))
    walk = np.cumsum(steps, axis=1)
    assert hidden_chow_liu_tree(walk).depth >= 100  # a path
    graph = hidden_chow_liu_tree(walk, balanced=True)
    assert graph.depth <= 10
    parts = [graph.scopes[child] for child in graph.partitions[0][0]]
    assert all(max(part) - min(part) == len(part) - 1 for part in parts)
    data = tree_data(300, "discrete")
    graph = hidden_chow_liu_tree(data, balanced=True)
    assert graph.scopes[0] == tuple(range(10))
    assert graph.is_tree
    assert len(graph.leaves) == 10
    one = np.zeros((3, 1), int)
    assert hidden_chow_liu_tree(one, balanced=True) == RegionGraph([(0,)], [])


@pytest.mark.parametrize("arguments", [{}, {"num_bins": 3}, {"data_type": "gaussian"}])
def test_weights_are_repetitions(arguments):
    rng = np.random.default_rng(0)
    data = tree_data(60, "gaussian" if arguments else "discrete")[:, :5]
    observed = rng.random(data.shape) < 0.9
    # No value has the weight 0, which bins would not see.
    weight = rng.integers(1, 4, 60)
    if "num_bins" in arguments:  # the same bins
        data, arguments = np.floor(data), {"num_bins": 100}
    repeated = mutual_information(
        np.repeat(data, weight, axis=0),
        observed=np.repeat(observed, weight, axis=0),
        **arguments,
    )
    weighted = mutual_information(
        data, observed=observed, sample_weight=weight, **arguments
    )
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-9)
    assert not np.allclose(weighted, mutual_information(data, **arguments), rtol=1e-3)
    for trees in (chow_liu_tree, hidden_chow_liu_tree):
        equal = trees(data, sample_weight=weight) == trees(data, sample_weight=weight)
        assert np.all(equal)
    some = np.where(np.arange(60) < 30, 1.0, 0.0)
    np.testing.assert_allclose(
        mutual_information(data, sample_weight=some, data_type="gaussian"),
        mutual_information(data[:30], data_type="gaussian"),
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize("weight", [[1.0], [0.0] * 4, [1, 1, 1, -1], [1, 1, 1, np.nan]])
def test_wrong_weights_are_refused(weight):
    with pytest.raises(ValueError, match="`sample_weight` must"):
        mixture_of_hidden_chow_liu_trees(np.eye(4, dtype=int), sample_weight=weight)
