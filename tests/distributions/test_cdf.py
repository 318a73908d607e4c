"""The joint cdf: against enumeration, TFP's own, and draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.cases import CASES, stacked_params
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import DynamicSumProductNetwork, SumProductNetwork

tfd = tfp.distributions
GRAPH = region_graphs.random_binary_trees(3, 1, num_repetitions=2, seed=1)


def spn_over(leaf, graph=GRAPH, num_sums=2, seed=0, **arguments):
    circuit = circuits.from_region_graph(graph, leaf, num_sums, **arguments)
    rng = np.random.default_rng(seed)
    for variable in circuit.trainable_variables:
        variable.assign(variable + rng.normal(size=variable.shape))
    return SumProductNetwork(circuit)


DISCRETE = {
    "bernoulli": (lambda: layers.BernoulliLeaf(2), 2),
    "categorical": (lambda: layers.CategoricalLeaf(2, num_categories=3), 3),
    "binomial": (lambda: layers.BinomialLeaf(2, total_count=3), 4),
    "logistic": (lambda: layers.DiscretizedLogisticLeaf(2, num_categories=3), 3),
    "indicator": (lambda: layers.IndicatorLeaf(3, dtype="float32"), 3),
    "mixed": (
        lambda: layers.MixedLeaf(
            [
                [layers.BernoulliLeaf(2), [0, 2]],
                [layers.CategoricalLeaf(2, num_categories=3), [1]],
            ]
        ),
        3,
    ),
}


@pytest.mark.parametrize("kind", DISCRETE)
@pytest.mark.parametrize("num_classes", [1, 2])
def test_sums_of_probabilities(kind, num_classes):
    make, num_values = DISCRETE[kind]
    spn = spn_over(make(), num_classes=num_classes)
    states = np.array(list(itertools.product(range(num_values), repeat=3)), "float32")
    prob = spn.prob(states).numpy()
    at = np.concatenate([states, states - 0.5, states + 0.5])
    below = np.all(states[np.newaxis] <= at[:, np.newaxis], axis=-1)
    np.testing.assert_allclose(spn.cdf(at), below @ prob, atol=2e-6)
    mask = np.array([True, False, True])
    below = np.all((states[np.newaxis] <= at[:, np.newaxis]) | ~mask, axis=-1)
    got = tf.function(spn.cdf)(at, observed=mask)
    np.testing.assert_allclose(got, below @ prob, atol=2e-6)
    np.testing.assert_allclose(spn.marginal([0, 2]).cdf(at[:, mask]), got, atol=1e-6)


@pytest.mark.parametrize("kind", DISCRETE)
def test_cdf_given_evidence(kind):
    make, num_values = DISCRETE[kind]
    spn = spn_over(make(), num_classes=2)
    states = np.array(list(itertools.product(range(num_values), repeat=3)), "float32")
    given = spn.condition(states[-1] - states[-1] * [1, 0, 0], [True, False, False])
    prob = given.prob(states).numpy()
    below = np.all(states[np.newaxis] <= states[:, np.newaxis], axis=-1)
    np.testing.assert_allclose(given.cdf(states), below @ prob, atol=2e-6)
    mask = np.array([True, False, True])
    at = np.where(mask, states - 0.5, np.nan).astype("float32")
    below = np.all((states[np.newaxis] <= at[:, np.newaxis]) | ~mask, axis=-1)
    got = tf.function(given.cdf)(at, observed=mask)
    np.testing.assert_allclose(got, below @ prob, atol=2e-6)
    nothing = spn.condition(np.full([3], 99.0), [True, False, False])
    assert nothing.cdf(states[-1]) == 0.0


def test_cdf_given_evidence_that_differs_and_in_marginals():
    spn = spn_over(layers.BernoulliLeaf(2))
    states = np.array(list(itertools.product(range(2), repeat=3)), "float32")
    known = states[::-1] > 0
    got = spn.condition(states, known).cdf(states + 0.5)
    for row in range(8):
        given = spn.condition(states[row], known[row])
        below = np.all(states <= states[row] + 0.5, axis=-1)
        want = below @ given.prob(states).numpy()
        np.testing.assert_allclose(got[row], want, atol=2e-6)
    given = spn.marginal([2, 0]).condition([1, 0], [False, True])
    pairs = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    prob = given.prob(pairs).numpy()
    for at in ([0.0, 0.0], [1.0, 0.0], [0.0, -1.0]):
        want = np.all(pairs <= at, axis=-1) @ prob
        np.testing.assert_allclose(given.cdf(at), want, atol=2e-6)


@pytest.mark.parametrize("product", [None, "tucker", "cp"])
def test_cdf_of_sequences(product):
    graph = region_graphs.fully_factorized(2)
    template = circuits.from_region_graph(
        graph, layers.CategoricalLeaf(2, num_categories=2), 2, num_classes=2
    )
    width = 3 if product else None
    circuit = circuits.dynamic_from_circuit(template, 2, width, product)
    spn = DynamicSumProductNetwork(circuit)
    states = np.array(list(itertools.product(range(2), repeat=4)), "float32")
    states = states.reshape([-1, 2, 2])
    prob = spn.prob(states).numpy()

    def below(at, known=np.True_):
        reached = (states[np.newaxis] <= at[:, np.newaxis]) | ~known
        return np.all(reached, axis=(2, 3)).astype("float32")

    np.testing.assert_allclose(spn.cdf(states), below(states) @ prob, atol=2e-6)
    mask = np.array([[True, False], [False, True]])
    got = spn.cdf(states, observed=mask)
    np.testing.assert_allclose(got, below(states, mask) @ prob, atol=2e-6)
    first = np.array([[True], [False]])
    got = spn.cdf(states, lengths=np.ones([16], int))
    np.testing.assert_allclose(got, below(states, first) @ prob, atol=2e-6)
    given = spn.condition(states[5], first)
    want = below(states) @ given.prob(states).numpy()
    np.testing.assert_allclose(given.cdf(states), want, atol=2e-6)
    last = spn.marginal(steps=[1])
    want = below(states, ~first) @ prob
    np.testing.assert_allclose(last.cdf(states[:, 1:]), want, atol=2e-6)


FAMILIES = {
    "normal": lambda: layers.NormalLeaf(1, scale_trainable=True, dtype="float64"),
    "laplace": lambda: layers.LaplaceLeaf(1, dtype="float64"),
    "cauchy": lambda: layers.CauchyLeaf(1, dtype="float64"),
    "gamma": lambda: layers.DistributionLeaf("Gamma", 1, dtype="float64"),
    "beta": lambda: layers.DistributionLeaf("Beta", 1, dtype="float64"),
    "poisson": lambda: layers.DistributionLeaf("Poisson", 1, dtype="float64"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_product_is_tfps(family):
    spn = spn_over(FAMILIES[family](), region_graphs.fully_factorized(3))
    factors = spn.univariate_posteriors().components_distribution[..., 0]
    x = np.random.default_rng(1).uniform(0.05, 0.95, [7, 3]) + (family == "poisson")
    x = np.floor(x) if family == "poisson" else x
    want = tfd.Independent(factors, 1).log_cdf(x)
    np.testing.assert_allclose(spn.log_cdf(x), want, rtol=1e-10)
    np.testing.assert_allclose(spn.log_cdf(np.full([3], np.inf)), 0.0, atol=1e-12)
    assert spn.cdf([0.5, -np.inf, 0.5]) == 0.0


def test_one_sum_is_tfps_mixture():
    graph = region_graphs.fully_factorized(3)
    leaf = layers.NormalLeaf(3, dtype="float64")
    spn = spn_over(leaf, graph, 3, leaf_sums=False)
    weights = tf.nn.softmax(spn.params["sums_0"][0, :, 0])
    leaves = spn.univariate_posteriors().components_distribution  # [V, K]
    normal = tfd.Normal(tf.transpose(leaves.loc), tf.transpose(leaves.scale))
    components = tfd.Independent(normal, 1)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=weights), components)
    x = np.random.default_rng(2).normal(size=[5, 3])
    np.testing.assert_allclose(spn.log_prob(x), mixture.log_prob(x), rtol=1e-10)
    np.testing.assert_allclose(spn.log_cdf(x), mixture.log_cdf(x), rtol=1e-10)
    with tf.GradientTape() as tape:
        point = tf.constant(x)
        tape.watch(point)
        value = spn.log_cdf(point)
    gradient = tape.gradient(value, point)
    step = 1e-6 * np.eye(3)[1]
    slope = (spn.log_cdf(x + step) - spn.log_cdf(x - step)) / 2e-6
    np.testing.assert_allclose(gradient[:, 1], slope, rtol=1e-5)


def test_circuits_in_a_batch_and_images():
    case = CASES["normal"]()
    params = stacked_params(case.circuit, (2,))
    batch = SumProductNetwork(case.circuit, params)
    got = batch.cdf(case.x[:, np.newaxis])
    for number in range(2):
        one = {name: value[number] for name, value in params.items()}
        want = SumProductNetwork(case.circuit, one).cdf(case.x)
        np.testing.assert_allclose(got[:, number], want, rtol=1e-5)
    case = CASES["spatial"]()
    assert case.distribution.cdf(case.x).shape == case.x.shape[:1]


def test_angles_begin_at_minus_pi():
    leaf = layers.DistributionLeaf("VonMises", 2)
    spn = spn_over(leaf, region_graphs.fully_factorized(1))
    draws = spn.sample(20_000, seed=(1, 2)).numpy()
    at = np.array([[-3.0], [-1.0], [0.0], [2.0], [3.1]], "float32")
    # Off by 5 standard deviations once in 10^6 runs and point.
    share = np.mean(draws <= at[:, np.newaxis], axis=1)[:, 0]
    np.testing.assert_allclose(spn.cdf(at), share, atol=5 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (
            lambda: layers.DistributionLeaf("Skellam", 2),
            "cdf: not defined, since",
        ),
        (
            lambda: layers.DistributionLeaf("Dirichlet", 2),
            "a family of vectors. Take",
        ),
    ],
)
def test_families_without_a_cdf_are_named(leaf, message):
    dims = 1 if "since" in message else 3
    circuit = circuits.from_region_graph(GRAPH, leaf(), 2, num_dims=dims)
    spn = SumProductNetwork(circuit)
    with pytest.raises(NotImplementedError, match=message):
        spn.cdf(np.ones(spn.event_shape))


GAPS = {
    "of one value": lambda logits: tfd.FiniteDiscrete([0.0, 2.0, 5.0], logits=logits),
    "of numbers": lambda logits: tfd.MixtureSameFamily(
        tfd.Categorical(logits=logits),
        tfd.Uniform([0.0, 2.0, 4.0], [1.0, 3.0, 4.5]),
    ),
}


@pytest.mark.parametrize("kind", GAPS)
def test_supports_with_gaps(kind):
    make = GAPS[kind]
    leaf = layers.DistributionLeaf(make, 2, parameters={"logits": (3,)})
    spn = spn_over(leaf, region_graphs.fully_factorized(1))
    at = np.linspace(-1.0, 6.0, 29, dtype="float32")[:, np.newaxis]
    probs = spn.univariate_posteriors().mixture_distribution.probs_parameter()[0]
    components = make(np.asarray(spn.params["leaf_logits"])[0, :, 0])
    want = np.sum(probs * components.cdf(at), axis=-1)
    assert np.all(np.diff(spn.cdf(at)) >= 0)
    np.testing.assert_allclose(spn.cdf(at), want, atol=2e-6)


def test_leaves_without_a_cdf_may_stand_beside():
    beside = {
        "numbers": (layers.DistributionLeaf("Skellam", 2), 1),
        "vectors": (layers.DistributionLeaf("MultivariateNormalTriL", 2), 2),
    }
    for leaf, dims in beside.values():
        mixed = [[layers.NormalLeaf(2), [0]], [leaf, [1]]]
        graph = region_graphs.fully_factorized(2)
        spn = SumProductNetwork(
            circuits.from_region_graph(graph, mixed, 2, num_dims=dims)
        )
        x = spn.sample(3, seed=1)
        want = spn.marginal([0]).cdf(x[:, :1])
        np.testing.assert_allclose(spn.cdf(x, observed=[True, False]), want, rtol=1e-6)
        given = spn.condition(x, observed=[False, True])
        assert np.all((given.cdf(x) >= 0) & (given.cdf(x) <= 1))
        with pytest.raises(NotImplementedError, match="cdf: not defined"):
            spn.cdf(x)


def test_nothing_is_more_than_certain():
    for seed in range(6):
        spn = spn_over(layers.NormalLeaf(3), num_sums=3, seed=seed)
        assert spn.cdf([50.0] * 3) <= 1
        assert spn.survival_function([50.0] * 3) >= 0
        given = spn.condition([0.1, 0.0, 0.0], [True, False, False])
        assert given.cdf([50.0] * 3) <= 1
        single = spn.univariate_posteriors()
        assert np.all(single.cdf(np.float32([50.0] * 3)) <= 1)


@pytest.mark.parametrize("kind", DISCRETE)
def test_single_variables_at_values_that_are_none(kind):
    make, num_values = DISCRETE[kind]
    single = spn_over(make()).univariate_posteriors()
    prob = [single.prob(np.full([3], v, "float32")) for v in range(num_values)]
    np.testing.assert_allclose(np.sum(prob, axis=0), 1.0, rtol=1e-5)
    for value in (-1.0, 0.5, 99.0, np.nan, np.inf, -np.inf):
        assert np.all(single.prob(np.full([3], value, "float32")) == 0)
    for value, below in ((-1.0, 0), (-np.inf, 0), (0.5, 1), (1e12, None)):
        got = single.cdf(np.full([3], value, "float32"))
        np.testing.assert_allclose(got, np.sum(prob[:below], axis=0), rtol=1e-5)
        assert np.all(got <= 1)


def test_evidence_that_is_not_asked_for_says_nothing():
    spn = spn_over(layers.BernoulliLeaf(2))
    given = spn.condition([1, 0, 0], [True, False, False])
    mask = [False, True, True]
    for query in (given.log_prob, given.log_cdf):
        want = query([1.0, 1.0, 0.0], observed=mask)
        got = query([np.nan, 1.0, 0.0], observed=mask)
        np.testing.assert_allclose(got, want, rtol=1e-6)
        assert np.isfinite(got)
        assert query([-1.0, 1.0, 0.0]) == -np.inf


EDGES = {
    "hidden NaN": ([np.nan, 0.5, 0.5], [False, True, True]),
    "below": ([-np.inf, 0.5, 0.5], [True] * 3),
    "at zero": ([0.0, 0.5, 0.5], [True] * 3),
    "above": ([np.inf, 0.5, 0.5], [True] * 3),
    "NaN": ([np.nan, 0.5, 0.5], [True] * 3),
}
LEAVES = {
    "normal": lambda: layers.NormalLeaf(2, scale_trainable=True),
    "cauchy": lambda: layers.CauchyLeaf(2),
    "binomial": lambda: layers.BinomialLeaf(2, total_count=3),
    "categorical": lambda: layers.CategoricalLeaf(2, num_categories=3),
    "logistic": lambda: layers.DiscretizedLogisticLeaf(2, num_categories=3),
    "exponential": lambda: layers.DistributionLeaf("Exponential", 2),
    "poisson": lambda: layers.DistributionLeaf("Poisson", 2),
    "angles": lambda: layers.DistributionLeaf("VonMises", 2),
}


@pytest.mark.parametrize("kind", LEAVES)
def test_gradients_are_numbers_at_the_edges(kind):
    spn = spn_over(LEAVES[kind]())
    for value, observed in EDGES.values():
        x = tf.constant([value], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            log_cdf = spn.log_cdf(x, observed=observed)
        gradients = tape.gradient(log_cdf, [x, *spn.trainable_variables])
        assert not np.any(np.isnan(log_cdf))
        for gradient in gradients:
            assert gradient is None or not np.any(np.isnan(gradient))


def test_components_with_ends_of_their_own():
    graph = region_graphs.fully_factorized(1)
    spn = spn_over(layers.DistributionLeaf("GeneralizedPareto", 2), graph)
    draws = spn.sample(20_000, seed=(1, 2)).numpy()
    at = np.quantile(draws, [0.0, 0.1, 0.3, 0.6, 0.9])[:, np.newaxis] - 1e-3
    at = at.astype("float32")
    share = np.mean(draws <= at[:, np.newaxis], axis=1)[:, 0]
    # Off by 5 standard deviations once in 10^6 runs and point.
    np.testing.assert_allclose(spn.cdf(at), share, atol=5 * 0.5 / 20_000**0.5)
    assert spn.prob([-1e3]) == 0.0


def test_survival_is_the_rest():
    spn = spn_over(layers.BernoulliLeaf(2))
    for x in ([-0.5, 1.0, 1.0], [0.0, 1.5, 0.5]):
        np.testing.assert_allclose(
            spn.survival_function(x), 1 - spn.cdf(x), rtol=1e-6, atol=1e-7
        )
