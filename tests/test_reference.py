"""The reference checks itself against enumeration and finite differences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from tests.reference import (
    Bernoulli,
    Binomial,
    Categorical,
    Cauchy,
    Family,
    Indicator,
    Laplace,
    Leaf,
    Normal,
    Product,
    Sum,
    Vector,
    leaves_of,
    nodes_of,
    random_circuit,
    rebuild,
    sums_of,
)
from tests.reference import enumerate_states as brute
from tests.reference import evaluate as ref

SEEDS = range(4)
CASES = [(seed, sharing) for seed in SEEDS for sharing in (True, False)]
cases = pytest.mark.parametrize(("seed", "sharing"), CASES)


def small(seed: int, sharing: bool, zeros: float = 0.2) -> Sum:
    """Four ternary variables."""
    rng = np.random.default_rng(seed)
    return random_circuit(rng, 4, 3, 2, 2, sharing, zeros)


def mixed_family(rng: np.random.Generator, variable: int) -> Family:
    """A normal, binomial, categorical or Bernoulli variable, in turn."""
    kind = variable % 4
    if kind == 0:
        return Normal(rng.normal(), 0.5 + rng.random())
    if kind == 1:
        return Binomial(5, rng.uniform(0.1, 0.9))
    if kind == 2:
        return Categorical(rng.dirichlet(np.ones(3)))
    return Bernoulli(rng.uniform(0.1, 0.9))


def evidences(seed: int, num: int = 6) -> list[tuple[list[int], list[bool]]]:
    """Random examples and masks, and both extreme masks."""
    rng = np.random.default_rng(1000 + seed)
    masks = [[bool(b) for b in rng.random(4) < 0.5] for _ in range(num)]
    masks += [[True] * 4, [False] * 4]
    return [([int(k) for k in rng.integers(0, 3, 4)], mask) for mask in masks]


def two_sums(weights: tuple[list[float], list[float]]) -> Sum:
    """Two sums over the same two leaves, each above its own product."""
    shared = [Leaf(0, Bernoulli(0.2)), Leaf(0, Bernoulli(0.7))]
    tops = []
    for row, p in zip(weights, (0.3, 0.6), strict=True):
        tops.append(Product([Sum(shared, row), Leaf(1, Bernoulli(p))]))
    return Sum(tops, [0.5, 0.5])


# Families.


@pytest.mark.parametrize(
    ("family", "judge"),
    [
        (Normal(0.3, 1.7), scipy.stats.norm(0.3, 1.7)),
        (Laplace(-0.2, 0.6), scipy.stats.laplace(-0.2, 0.6)),
        (Cauchy(0.1, 2.0), scipy.stats.cauchy(0.1, 2.0)),
    ],
)
def test_continuous_families(family: Family, judge: Any) -> None:
    for x in (-3.0, -0.2, 0.1, 0.3, 2.5):
        assert family.log_prob(x) == pytest.approx(judge.logpdf(x), rel=1e-12)
    mass, _ = scipy.integrate.quad(
        lambda x: math.exp(family.log_prob(x)), -np.inf, np.inf
    )
    assert mass == pytest.approx(1.0, abs=1e-7)
    assert family.log_prob(family.mode()) >= family.log_prob(family.mode() + 0.01)
    assert family.support() is None
    if not isinstance(family, Cauchy):
        assert family.mean() == pytest.approx(judge.mean())
        assert family.variance() == pytest.approx(judge.var())
    else:
        assert math.isnan(family.mean())
        assert math.isnan(family.variance())


@pytest.mark.parametrize(
    ("family", "judge"),
    [
        (Bernoulli(0.3), scipy.stats.bernoulli(0.3)),
        (Bernoulli(1.0), scipy.stats.bernoulli(1.0)),
        (Binomial(5, 0.4), scipy.stats.binom(5, 0.4)),
        (Binomial(5, 0.0), scipy.stats.binom(5, 0.0)),
        (Categorical([0.5, 0.0, 0.5]), None),
        (Indicator(2, 4), None),
    ],
)
def test_finite_families(family: Family, judge: Any) -> None:
    support = family.support()
    masses = np.array([math.exp(family.log_prob(k)) for k in support])
    assert masses.sum() == pytest.approx(1.0, abs=1e-14)
    assert family.mean() == pytest.approx((masses * support).sum())
    centred = np.array(support) - family.mean()
    assert family.variance() == pytest.approx((masses * centred**2).sum())
    assert family.mode() == np.argmax(masses)
    for outside in (-1, len(support), 0.5, math.nan, math.inf):
        assert family.log_prob(outside) == -math.inf
    if judge is not None:
        np.testing.assert_allclose(masses, judge.pmf(support), atol=1e-14)
    draws = {family.sample(np.random.default_rng(s)) for s in range(20)}
    assert all(masses[k] > 0 for k in draws)


def test_vector_family() -> None:
    family = Vector([Normal(0.0, 1.0), Bernoulli(0.25)])
    parts = Normal(0.0, 1.0).log_prob(0.4) + math.log(0.25)
    assert family.log_prob([0.4, 1]) == pytest.approx(parts)
    np.testing.assert_allclose(family.mean(), [0.0, 0.25])
    np.testing.assert_allclose(family.variance(), [1.0, 0.1875])
    np.testing.assert_array_equal(family.mode(), [0.0, 0.0])
    assert family.support() is None
    finite = Vector([Bernoulli(0.2), Categorical([0.1, 0.2, 0.7])])
    total = sum(math.exp(finite.log_prob(v)) for v in finite.support())
    assert total == pytest.approx(1.0)


# Structure.


def test_bad_circuits_are_refused() -> None:
    a, b = Leaf(0, Bernoulli(0.2)), Leaf(1, Bernoulli(0.2))
    with pytest.raises(ValueError, match="smooth"):
        Sum([a, b], [0.5, 0.5])
    with pytest.raises(ValueError, match="decomposable"):
        Product([a, Product([b, a])])
    for weights in ([0.5, 0.6], [1.5, -0.5], [1.0], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="weight"):
            Sum([a, a], weights)
    with pytest.raises(ValueError, match="child"):
        Sum([], [])
    with pytest.raises(ValueError, match="child"):
        Product([])


def test_rebuild_keeps_sharing() -> None:
    root = small(0, sharing=True)
    copy = rebuild(root, lambda leaf: leaf.family, lambda node: node.weights)
    old, new = nodes_of(root), nodes_of(copy)
    place = {id(node): i for i, node in enumerate(new)}
    assert len(old) == len(new)
    assert not {id(n) for n in old} & set(place)
    for a, b in zip(old, new, strict=True):
        assert [place[id(c)] for c in b.children] == [old.index(c) for c in a.children]
    assert len(brute.induced_trees(root)) > 1


# Values.


@cases
def test_total_mass_is_one(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    assert abs(brute.total_mass(root) - 1.0) < 1e-12
    assert ref.log_prob(root, None) == pytest.approx(0.0, abs=1e-12)


@cases
def test_marginals_equal_enumeration(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    trees = brute.induced_trees(root)
    for x, mask in evidences(seed):
        value = ref.log_prob(root, x, mask)
        assert value == pytest.approx(brute.brute_marginal(root, x, mask), abs=1e-12)
        upward = ref.values(root, x, mask)[id(root)]
        assert value == pytest.approx(upward, abs=1e-12)
        by_tree = ref.log_sum_exp([tree.log_prob(x, mask) for tree in trees])
        assert value == pytest.approx(by_tree, abs=1e-12)
        hidden = [k if m else math.nan for k, m in zip(x, mask, strict=True)]
        assert ref.log_prob(root, hidden, mask) == value


@cases
def test_posterior_marginals(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    for x, mask in evidences(seed, 1):
        for variable in range(4):
            support, chances = ref.posterior_marginals(root, x, mask, variable)
            expected = brute.brute_posterior_marginal(root, x, mask, variable)
            assert support == [0, 1, 2]
            np.testing.assert_allclose(chances, expected, atol=1e-12)


def test_batch() -> None:
    root = small(0, sharing=True)
    pairs = evidences(0)
    data = np.array([x for x, _ in pairs])
    masks = np.array([mask for _, mask in pairs])
    answer = ref.batch(ref.log_prob, root, data, masks)
    assert answer.tolist() == [ref.log_prob(root, x, m) for x, m in pairs]
    one_mask = ref.batch(ref.log_prob, root, data, masks[0])
    assert one_mask.tolist() == [ref.log_prob(root, x, masks[0]) for x in data]
    assert isinstance(ref.batch(ref.values, root, data), list)


# Gradient.


@cases
def test_gradient_equals_finite_differences(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    step = 1e-5
    for x, mask in evidences(seed, 2):
        nodes, _ = ref.gradient(root, x, mask)
        for node in nodes_of(root):
            up = ref.values(root, x, mask, {id(node): step})[id(root)]
            down = ref.values(root, x, mask, {id(node): -step})[id(root)]
            assert nodes[id(node)] == pytest.approx((up - down) / (2 * step), abs=1e-8)


@cases
def test_gradient_equals_tree_posterior(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    for x, mask in evidences(seed, 3):
        nodes, edges = ref.gradient(root, x, mask)
        brute_nodes, brute_edges = brute.brute_gradient(root, x, mask)
        assert nodes == pytest.approx(brute_nodes, abs=1e-12)
        assert edges == pytest.approx(brute_edges, abs=1e-12)
        for variable in range(4):
            own = [nodes[id(f)] for f in leaves_of(root) if f.variable == variable]
            assert sum(own) == pytest.approx(1.0)


def test_impossible_evidence() -> None:
    root = small(1, sharing=True)
    x = [0, 7, 1, 2]
    assert ref.log_prob(root, x) == -math.inf
    nodes, edges = ref.gradient(root, x)
    assert not any(nodes.values())
    assert not any(edges.values())
    hard_edges, flows = ref.hard_counts(root, x, None, "hard")
    assert not any(hard_edges.values())
    assert not any(flows.values())
    assert ref.max_product(root, x)[0] == -math.inf
    assert np.isnan(ref.mean(root, x)).all()
    assert np.isnan(ref.posterior_marginals(root, x, None, 0)[1]).all()
    counts = ref.em_counts(root, [x])
    assert not any(counts.edges.values())
    after = ref.em_step(root, [x])
    for old, new in zip(sums_of(root), sums_of(after), strict=True):
        np.testing.assert_array_equal(old.weights, new.weights)


# Moments.


@cases
def test_moments_equal_enumeration(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    for x, mask in evidences(seed, 3):
        mean, covariance = brute.brute_moments(root, x, mask)
        np.testing.assert_allclose(ref.mean(root, x, mask), mean, atol=1e-12)
        found = ref.covariance(root, x, mask)
        np.testing.assert_allclose(found, covariance, atol=1e-12)
        spread = ref.variance(root, x, mask)
        np.testing.assert_allclose(spread, np.diag(covariance), atol=1e-12)


def test_moments_of_vectors() -> None:
    def pair(rng: np.random.Generator, variable: int) -> Family:
        return Vector([Bernoulli(rng.random()), Binomial(2, rng.random())])

    root = random_circuit(np.random.default_rng(3), 2, 0, 1, 2, make_family=pair)
    x, mask = [(1, 2), None], [True, False]
    for evidence in ((None, None), (x, mask)):
        mean, covariance = brute.brute_moments(root, *evidence)
        found = ref.mean(root, *evidence)
        assert found.shape == (2, 2)
        np.testing.assert_allclose(found.ravel(), mean, atol=1e-12)
        np.testing.assert_allclose(
            ref.covariance(root, *evidence), covariance, atol=1e-12
        )


def test_moments_of_a_normal_mixture() -> None:
    leaves = [Leaf(0, Normal(1e6 - 1, 1.0)), Leaf(0, Normal(1e6 + 1, 2.0))]
    root = Sum(leaves, [0.25, 0.75])
    assert ref.mean(root)[0] == pytest.approx(1e6 + 0.5, rel=1e-15)
    expected = 0.25 * (1 + 1.5**2) + 0.75 * (4 + 0.5**2)
    assert ref.variance(root)[0] == pytest.approx(expected, rel=1e-9)


# Learning.


@cases
def test_em_step_never_lowers_the_likelihood(seed: int, sharing: bool) -> None:
    rng = np.random.default_rng(seed)
    root = random_circuit(rng, 4, 3, 2, 2, sharing, make_family=mixed_family)
    truth = random_circuit(rng, 4, 3, 2, 2, sharing, make_family=mixed_family)
    data = [ref.sample(truth, rng) for _ in range(30)]
    masks = rng.random((30, 4)) < 0.7
    weights = rng.integers(0, 3, 30)
    last = -math.inf
    for _ in range(5):
        counts = ref.em_counts(root, data, masks, weights)
        assert counts.log_likelihood >= last - 1e-9
        last = counts.log_likelihood
        root = ref.em_step(root, data, masks, weights)


def test_em_counts_add_up() -> None:
    root = small(2, sharing=True)
    data = [x for x, _ in evidences(2)]
    masks = np.array([mask for _, mask in evidences(2)])
    counts = ref.em_counts(root, data, masks)
    top = [counts.edges[id(root), i] for i in range(len(root.children))]
    assert sum(top) == pytest.approx(len(data))
    for variable in range(4):
        own = [leaf for leaf in leaves_of(root) if leaf.variable == variable]
        total = sum(counts.leaf_total(leaf) for leaf in own)
        assert total == pytest.approx(masks[:, variable].sum())


def test_example_weights_are_repetitions() -> None:
    root = small(0, sharing=True)
    data = [x for x, _ in evidences(0)][:3]
    once = ref.em_counts(root, [data[0], data[2], data[2]])
    weighted = ref.em_counts(root, data, weights=[1, 0, 2])
    assert weighted.edges == pytest.approx(once.edges)
    assert weighted.log_likelihood == pytest.approx(once.log_likelihood)
    for leaf in leaves_of(root):
        assert weighted.leaf_total(leaf) == pytest.approx(once.leaf_total(leaf))


def test_em_fits_the_dimensions_of_a_vector() -> None:
    leaf = Leaf(0, Vector([Normal(0.0, 1.0), Bernoulli(0.5)]))
    family = ref.em_step(leaf, [[(1.0, 1)], [(3.0, 0)], [(5.0, 0)], [(3.0, 0)]]).family
    np.testing.assert_allclose(family.mean(), [3.0, 0.25])
    assert family.families[0].variance() == pytest.approx(2.0)


def test_em_of_a_single_leaf_is_maximum_likelihood() -> None:
    data = [[0.0], [1.0], [3.0]]
    normal = ref.em_step(Leaf(0, Normal(9.0, 5.0)), data).family
    assert normal.loc == pytest.approx(4 / 3)
    assert normal.variance() == pytest.approx(np.var([0.0, 1.0, 3.0]))
    floored = ref.em_step(Leaf(0, Normal(0.0, 1.0)), [[2.0]], variance_floor=0.25)
    assert (floored.family.loc, floored.family.scale) == (2.0, 0.5)
    binomial = ref.em_step(Leaf(0, Binomial(4, 0.5)), data).family
    assert binomial.p == pytest.approx(1 / 3)
    bernoulli = ref.em_step(Leaf(0, Bernoulli(0.5)), [[1], [1], [0], [1]]).family
    assert isinstance(bernoulli, Bernoulli)
    assert bernoulli.p == 0.75
    categorical = ref.em_step(Leaf(0, Categorical([0.2] * 5)), data).family
    np.testing.assert_allclose(categorical.probs, [1 / 3, 1 / 3, 0, 1 / 3, 0])


def test_hard_counts_by_hand() -> None:
    root = two_sums(([0.95, 0.05], [0.4, 0.6]))
    first, second = (product.children[0] for product in root.children)
    x = [1, 1]
    by_weight = ref.winners(root, x, None, "hard")
    by_value = ref.winners(root, x, None, "unweighted")
    assert by_weight[id(first)] == {0}
    assert by_weight[id(second)] == {1}
    assert by_value[id(first)] == by_value[id(second)] == {1}
    assert by_weight[id(root)] == by_value[id(root)] == {1}
    edges, flows = ref.hard_counts(root, x, None, "hard")
    assert edges[id(root), 1] == 1.0
    assert edges[id(second), 1] == 1.0
    assert sum(edges.values()) == 2.0
    assert flows[id(first)] == 0.0
    assert flows[id(second)] == 1.0


def test_ties() -> None:
    root = two_sums(([0.5, 0.5], [0.5, 0.5]))
    nothing = [False, False]
    with pytest.raises(ref.TieError):
        ref.hard_counts(root, None, nothing, "unweighted")
    with pytest.raises(ref.TieError):
        ref.hard_counts(root, None, nothing, "hard")
    assert ref.winners(root, None, None, "hard")[id(root)] == {0, 1}
    edges, _ = ref.hard_counts(root, None, None, "hard", choose=max)
    assert edges[id(root), 1] == 1.0
    assert edges[id(root), 0] == 0.0
    with pytest.raises(ValueError, match="rule"):
        ref.winners(root, None, None, "soft")


@cases
@pytest.mark.parametrize("rule", ["hard", "unweighted"])
def test_hard_flow_is_one_induced_tree(seed: int, sharing: bool, rule: str) -> None:
    root = small(seed, sharing, zeros=0.0)
    trees = brute.induced_trees(root)
    for x, _ in evidences(seed, 3):
        edges, flows = ref.hard_counts(root, x, None, rule)
        used = {edge for edge, flow in edges.items() if flow > 0.0}
        assert {edges[edge] for edge in used} == {1.0}
        (tree,) = [tree for tree in trees if set(tree.edges) == used]
        assert {id(n) for n in tree.nodes} == {i for i, f in flows.items() if f > 0}


# Maximisation.


@cases
def test_max_product_equals_best_tree(seed: int, sharing: bool) -> None:
    root = small(seed, sharing)
    trees = brute.induced_trees(root)
    for x, mask in evidences(seed):
        value, completed = ref.max_product(root, x, mask)
        best = max(tree.max_log_prob(x, mask) for tree in trees)
        assert value == pytest.approx(best, abs=1e-12)
        for k, seen, filled in zip(x, mask, completed, strict=True):
            assert not seen or k == filled
        reached = max(tree.log_prob(completed) for tree in trees)
        assert value == pytest.approx(reached, abs=1e-12)
        mode, states = brute.brute_mode(root, x, mask)
        at = ref.log_prob(root, completed)
        assert value - 1e-12 <= at <= mode + 1e-12
        for state in states:
            assert ref.log_prob(root, state) == pytest.approx(mode)


# Samples.


@pytest.mark.statistical
@pytest.mark.parametrize("sharing", [True, False])
def test_samples_follow_the_table(sharing: bool) -> None:
    """Chi-square; false-alarm rate 1e-6 for each case, seed fixed."""
    rng = np.random.default_rng(20)
    root = random_circuit(rng, 3, 2, 2, 2, sharing)
    expected = 4000 * np.exp(brute.log_prob_table(root)).ravel()
    counts = dict.fromkeys(itertools.product(range(2), repeat=3), 0)
    for _ in range(4000):
        counts[tuple(ref.sample(root, rng))] += 1
    observed = np.array(list(counts.values()), dtype=np.float64)
    assert expected.min() > 5.0
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert scipy.stats.chi2.sf(statistic, len(expected) - 1) > 1e-6
