"""Survival functions where one less the cdf has no digits left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn import circuits, distributions, layers, region_graphs
from tfp_spn.distributions.leaf_posteriors import LeafMixture

SumProductNetwork = distributions.SumProductNetwork
RTOL = 1e-3
GRAPH = region_graphs.random_binary_trees(3, 1, num_repetitions=2, seed=0)


def pair(make_leaf: Any, graph: Any = GRAPH, num_dims: int = 1) -> list[Any]:
    """A circuit in float32 and the same in float64."""
    found = []
    for dtype in ("float32", "float64"):
        circuit = circuits.from_region_graph(
            graph, leaf=make_leaf(dtype), num_sums=2, num_dims=num_dims
        )
        if found:
            circuit.set_weights(found[0].get_weights())
        found.append(circuit)
    return found


def normal(dtype: str) -> Any:
    return layers.NormalLeaf(2, dtype=dtype)


def test_that_some_variable_of_several_is_exceeded() -> None:
    spn, judge = map(SumProductNetwork, pair(normal))
    x = np.array([[7.0, 6.5, 6.0], [4.0, 5.0, 6.0], [-9.0, 0.0, 1.0], [6.0, 6.5, 99.0]])
    expected = 1 - judge.cdf(x)
    np.testing.assert_allclose(spn.survival_function(x), expected, rtol=RTOL)
    np.testing.assert_allclose(
        spn.log_survival_function(x), np.log(expected), rtol=1e-4, atol=1e-6
    )
    for mask in ([True, False, True], [False, True, False], [False] * 3):
        found = spn.survival_function(x, observed=mask)
        expected = 1 - judge.cdf(x, observed=mask)
        np.testing.assert_allclose(found, expected, rtol=RTOL)
    each = np.array(
        [[True, False, True], [False, True, False], [False] * 3, [True] * 3]
    )
    expected = 1 - judge.cdf(x, observed=each)
    compiled = tf.function(lambda x, m: spn.survival_function(x, observed=m))
    np.testing.assert_allclose(compiled(x, each), expected, rtol=RTOL)
    far = spn.log_survival_function([[15.0, 15.0, 15.0]]).numpy()
    assert np.isfinite(far).all()
    assert (far < -60).all()


def test_given_evidence() -> None:
    spn, judge = map(SumProductNetwork, pair(normal))
    x, known = np.array([[0.5, 0.0, 0.0], [1.0, -1.0, 0.0]]), [True, False, False]
    given, reference = (d.condition(x, known) for d in (spn, judge))
    at = np.array([[6.0, 6.5, 6.0], [9.0, 6.0, 6.0]])
    expected = 1 - reference.cdf(at)
    np.testing.assert_allclose(given.survival_function(at), expected, rtol=RTOL)
    some = given.marginal([2, 1]).survival_function(at[:, [2, 1]])
    expected = 1 - reference.marginal([2, 1]).cdf(at[:, [2, 1]])
    np.testing.assert_allclose(some, expected, rtol=RTOL)
    below_evidence = np.array([[0.0, 6.5, 6.0], [0.0, 6.0, 6.0]])
    np.testing.assert_allclose(given.survival_function(below_evidence), [1.0, 1.0])
    rest = [False, True, True]
    expected = 1 - reference.cdf(below_evidence, observed=rest)
    found = given.survival_function(below_evidence, observed=rest)
    np.testing.assert_allclose(found, expected, rtol=RTOL)


def test_several_dimensions_and_mixed_types() -> None:
    spn, judge = map(SumProductNetwork, pair(normal, num_dims=2))
    x = np.array([[[7.0, 6.5], [6.0, 6.2], [6.4, 6.5]]])
    expected = 1 - judge.cdf(x)
    np.testing.assert_allclose(spn.survival_function(x), expected, rtol=RTOL)

    def mixed(dtype: str) -> Any:
        return [
            (layers.NormalLeaf(2, dtype=dtype), [1]),
            (layers.CategoricalLeaf(2, num_categories=4, dtype=dtype), [0]),
            (layers.DistributionLeaf("Poisson", 2, dtype=dtype), [2]),
        ]

    spn, judge = map(SumProductNetwork, pair(mixed))
    x = np.array([[3.0, 6.5, 30.0], [2.0, 6.5, 30.0], [9.0, 0.0, 0.5]])
    expected = 1 - judge.cdf(x)
    np.testing.assert_allclose(spn.survival_function(x), expected, rtol=RTOL)


def test_of_sequences() -> None:
    graph = region_graphs.fully_factorized(2)
    found = [
        distributions.DynamicSumProductNetwork(
            circuits.dynamic_from_circuit(template, num_steps=3)
        )
        for template in pair(normal, graph)
    ]
    for old, new in zip(
        found[0].circuit.weights, found[1].circuit.weights, strict=True
    ):
        new.assign(old)
    x = np.full([2, 3, 2], 6.5)
    x[1, 2] = 5.5
    spn, judge = found
    expected = 1 - judge.cdf(x)
    np.testing.assert_allclose(spn.survival_function(x), expected, rtol=RTOL)
    expected = 1 - judge.cdf(x, lengths=[2, 3])
    found = spn.survival_function(x, lengths=[2, 3])
    np.testing.assert_allclose(found, expected, rtol=RTOL)


FAMILIES = {
    "Beta": (tfd.Beta(3.0, 4.0), scipy.stats.beta(3, 4)),
    "Binomial": (tfd.Binomial(50.0, probs=0.1), scipy.stats.binom(50, 0.1)),
    "Cauchy": (tfd.Cauchy(1.0, 2.0), scipy.stats.cauchy(1, 2)),
    "Chi2": (tfd.Chi2(3.0), scipy.stats.chi2(3)),
    "Exponential": (tfd.Exponential(2.0), scipy.stats.expon(scale=0.5)),
    "Gamma": (tfd.Gamma(3.0, 2.0), scipy.stats.gamma(3, scale=0.5)),
    "Gumbel": (tfd.Gumbel(1.0, 2.0), scipy.stats.gumbel_r(1, 2)),
    "InverseGamma": (tfd.InverseGamma(3.0, 2.0), scipy.stats.invgamma(3, scale=2)),
    "InverseGaussian": (tfd.InverseGaussian(1.0, 1.0), scipy.stats.invgauss(1)),
    "Laplace": (tfd.Laplace(1.0, 2.0), scipy.stats.laplace(1, 2)),
    "LogNormal": (tfd.LogNormal(0.0, 1.0), scipy.stats.lognorm(1)),
    "Logistic": (tfd.Logistic(1.0, 2.0), scipy.stats.logistic(1, 2)),
    "Moyal": (tfd.Moyal(1.0, 2.0), scipy.stats.moyal(1, 2)),
    "NegativeBinomial": (
        tfd.NegativeBinomial(5.0, probs=0.3),
        scipy.stats.nbinom(5, 0.7),
    ),
    "Normal": (tfd.Normal(1.0, 2.0), scipy.stats.norm(1, 2)),
    "Poisson": (tfd.Poisson(4.0), scipy.stats.poisson(4)),
    "StudentT": (tfd.StudentT(3.0, 1.0, 2.0), scipy.stats.t(3, 1, 2)),
    "Weibull": (tfd.Weibull(2.0, 1.0), scipy.stats.weibull_min(2)),
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families(family: str) -> None:
    components, judge = FAMILIES[family]
    mixture = LeafMixture(tfd.Categorical(probs=[1.0]), components[tf.newaxis])
    x = np.append(judge.isf([1e-9, 1e-4]), judge.ppf([0.5, 0.01]))
    x = x.astype("float32")
    expected = judge.sf(x.astype("float64"))
    np.testing.assert_allclose(mixture.survival_function(x), expected, rtol=RTOL)


def test_probabilities_of_few_values() -> None:
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(1),
        leaf=layers.CategoricalLeaf(1, num_categories=3),
        num_sums=1,
        leaf_sums=False,
    )
    circuit.live_params()["leaf_logits"].assign([[[[0.0], [-9.0], [-20.0]]]])
    spn = SumProductNetwork(circuit)
    p = np.exp([0.0, -9.0, -20.0]) / np.exp([0.0, -9.0, -20.0]).sum()
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 5.0, np.nan])
    expected = [1.0, p[1] + p[2], p[1] + p[2], p[2], 0.0, 0.0, 1.0]
    found = spn.survival_function(x[:, np.newaxis])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = spn.univariate_posteriors().survival_function(x[:, np.newaxis])[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
