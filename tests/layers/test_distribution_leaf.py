"""Leaves of TFP families: against SciPy, TFP and the dedicated leaves."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tests.cases import GRAPH
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.m_steps import FAMILIES
from tfp_spn.learning import expected_statistics, initialize_leaves, maximize

tfd = tfp.distributions
K, L = 3, 2


def leaf_of(family, num_dims=1, dtype="float64", seed=0, **arguments):
    leaf = layers.DistributionLeaf(family, K, dtype=dtype, **arguments)
    leaf.add_parameters((L,), num_dims)
    rng = np.random.default_rng(seed)
    for variable in leaf.weights:
        variable.assign(rng.normal(size=variable.shape))
    return leaf


def params_of(leaf):
    return leaf.canonical(leaf.live_params())


def region_values(leaf, x, observed=None):
    """``[N, L, K]`` of ``x [N, L, D]``."""
    layout = LeafLayout(tuple((v,) for v in range(L)), L, leaf.num_dims)
    x = tf.constant(np.transpose(x, [1, 2, 0]), leaf.compute_dtype)
    if observed is not None:
        observed = tf.constant(observed.T)
    values = leaf.region_log_prob(params_of(leaf), x, observed, layout)
    base = leaf.log_base(x)
    if observed is not None:
        base = tf.where(observed, base, tf.zeros_like(base))
    return tf.transpose(values + base[:, tf.newaxis], [2, 0, 1])


def expit(x):
    return 1 / (1 + np.exp(-x))


# name: (arguments, SciPy's distribution of the parameters, a value outside the support)
UNIVARIATE = {
    "Beta": (
        {},
        lambda p: scipy.stats.beta(p["concentration1"], p["concentration0"]),
        1.0,
    ),
    "Binomial": (
        {"constants": {"total_count": 5}},
        lambda p: scipy.stats.binom(5, expit(p["logits"])),
        6.0,
    ),
    "Exponential": ({}, lambda p: scipy.stats.expon(scale=1 / p["rate"]), -0.5),
    "Gamma": (
        {},
        lambda p: scipy.stats.gamma(p["concentration"], scale=np.exp(-p["log_rate"])),
        0.0,
    ),
    "Geometric": ({}, lambda p: scipy.stats.geom(expit(p["logits"]), loc=-1), -1.0),
    "InverseGamma": (
        {},
        lambda p: scipy.stats.invgamma(p["concentration"], scale=p["scale"]),
        -1.0,
    ),
    "LogNormal": (
        {},
        lambda p: scipy.stats.lognorm(p["scale"], scale=np.exp(p["loc"])),
        0.0,
    ),
    "NegativeBinomial": (
        {"constants": {"total_count": 3.0}},
        lambda p: scipy.stats.nbinom(3, expit(-p["logits"])),
        2.5,
    ),
    "Normal": ({}, lambda p: scipy.stats.norm(p["loc"], p["scale"]), np.inf),
    "Poisson": ({}, lambda p: scipy.stats.poisson(np.exp(p["log_rate"])), -2.0),
    "StudentT": (
        {"constants": {"df": 4.0}},
        lambda p: scipy.stats.t(4.0, p["loc"], p["scale"]),
        np.nan,
    ),
    "VonMises": (
        {},
        lambda p: scipy.stats.vonmises(p["concentration"], p["loc"]),
        3.2,
    ),
    "Weibull": (
        {},
        lambda p: scipy.stats.weibull_min(p["concentration"], scale=p["scale"]),
        -1.0,
    ),
}
DISCRETE = {"Binomial", "Geometric", "NegativeBinomial", "Poisson"}


def inside(name, shape, seed=1):
    rng = np.random.default_rng(seed)
    if name in DISCRETE:
        return rng.integers(0, 6, shape).astype(float)
    return rng.uniform(0.05, 0.95, shape)


@pytest.mark.parametrize("name", UNIVARIATE)
def test_log_prob_and_moments_are_scipys(name):
    arguments, scipys, outside = UNIVARIATE[name]
    leaf = leaf_of(name, num_dims=2, **arguments)
    judge = scipys({k: v.numpy() for k, v in leaf.values(params_of(leaf)).items()})
    x = inside(name, (5, L, 2))
    density = judge.logpmf if name in DISCRETE else judge.logpdf
    want = density(x[:, :, np.newaxis]).sum(-1)
    np.testing.assert_allclose(region_values(leaf, x), want, rtol=1e-7, atol=1e-8)
    assert leaf.is_discrete == (name in DISCRETE)
    if leaf.has_linear_moments:
        mean, variance = judge.mean(), judge.var()
        found = np.where(np.isfinite(mean), leaf.component_mean(params_of(leaf)), mean)
        np.testing.assert_allclose(found, mean, rtol=1e-6)
        found = leaf.component_variance(params_of(leaf))
        found = np.where(np.isfinite(variance), found, variance)
        np.testing.assert_allclose(found, variance, rtol=1e-5)
    mode = leaf.component_mode(params_of(leaf))
    assert np.all(np.isfinite(leaf.component_mode_log_prob(params_of(leaf))))
    np.testing.assert_allclose(
        density(np.asarray(mode)).sum(-1),
        leaf.component_mode_log_prob(params_of(leaf)),
        rtol=1e-7,
        atol=1e-8,
    )

    # Impossible values, and hidden ones that are no numbers.
    y = np.array(x)
    y[0, 0, 1], y[1] = outside, np.nan
    observed = np.array([[True] * 2, [False] * 2] + [[True] * 2] * 3)
    with tf.GradientTape() as tape:
        values = region_values(leaf, y, observed)
        total = tf.reduce_sum(tf.where(tf.math.is_finite(values), values, 0.0))
    assert np.all(values[0, 0] == -np.inf)
    assert np.all(values[1] == 0)
    np.testing.assert_array_equal(values[2:], region_values(leaf, x)[2:])
    for gradient in tape.gradient(total, leaf.trainable_variables):
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient != 0)


def test_families_of_vectors():
    leaf = leaf_of("MultivariateNormalTriL", num_dims=3)
    p = leaf.values(params_of(leaf))
    x = np.random.default_rng(0).normal(size=(5, L, 3))
    found = region_values(leaf, x)
    for slot in range(L):
        for k in range(K):
            tril = p["scale_tril"][slot, k].numpy()
            judge = scipy.stats.multivariate_normal(
                p["loc"][slot, k].numpy(), tril @ tril.T
            )
            np.testing.assert_allclose(found[:, slot, k], judge.logpdf(x[:, slot]))
            np.testing.assert_allclose(
                leaf.component_variance(params_of(leaf))[slot, k], np.diag(judge.cov)
            )
    dirichlet = leaf_of("Dirichlet", num_dims=3)
    y = np.random.default_rng(0).dirichlet([1, 2, 3], (5, L))
    y[0, 0, 0] += 0.1
    found = region_values(dirichlet, y)
    a = dirichlet.values(params_of(dirichlet))["concentration"][1, 2].numpy()
    want = [scipy.stats.dirichlet(a).logpdf(row) for row in y[:, 1]]
    np.testing.assert_allclose(found[:, 1, 2], want)
    assert np.all(found[0, 0] == -np.inf)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["Weibull", "Poisson"])
def test_draws_are_scipys(name):
    """Kolmogorov-Smirnov (chi-square of counts), false-alarm rate 1e-6 each."""
    leaf = leaf_of(name, num_dims=2)
    tables = leaf.component_tables(params_of(leaf))
    rows = {k: tf.repeat(v[:1, 1], 4000, axis=0) for k, v in tables.items()}
    drawn = leaf.sample_component(rows, tf.constant([1, 2])).numpy()
    assert drawn.shape == (4000, 2)
    values = {k: v.numpy()[0, 1, 1] for k, v in leaf.values(params_of(leaf)).items()}
    judge = UNIVARIATE[name][1](values)
    if name == "Weibull":
        assert scipy.stats.kstest(drawn[:, 1], judge.cdf).pvalue > 1e-6
        return
    observed = np.array([np.sum(drawn[:, 1] == k) for k in range(3)])
    expected = 4000 * judge.pmf(range(3))
    observed = np.append(observed, 4000 - observed.sum())
    expected = np.append(expected, 4000 - expected.sum())
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-6


def test_modes():
    gamma = leaf_of("Gamma")
    raw = tf.math.log(tf.math.expm1(tf.constant([0.5, 2.0, 3.0], tf.float64)))
    gamma.parameters["concentration"].assign(tf.tile(raw[None, :, None], [L, 1, 1]))
    gamma.parameters["log_rate"].assign(tf.zeros([L, K, 1], tf.float64))
    # Unbounded at zero: the mean, then (concentration - 1) / rate.
    mode = gamma.component_mode(params_of(gamma))[0, :, 0]
    np.testing.assert_allclose(mode, [0.5, 1.0, 2.0], rtol=1e-6)
    exponential = leaf_of("Exponential")
    assert np.all(exponential.component_mode(params_of(exponential)) == 0)
    circular = leaf_of("VonMises")
    circular.parameters["loc"].assign(tf.fill([L, K, 1], tf.constant(4.0, tf.float64)))
    mode = circular.component_mode(params_of(circular))
    np.testing.assert_allclose(mode, 4.0 - 2 * np.pi)
    assert np.all(np.isnan(circular.component_mean(params_of(circular))))
    assert not circular.has_moments


# --- against the dedicated leaves ------------------------------------------------


def circuit_of(leaf, seed=1):
    keras.utils.set_random_seed(seed)
    circuit = circuits.from_region_graph(GRAPH, leaf, 2)
    rng = np.random.default_rng(seed)
    for variable in circuit.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return circuit


@pytest.mark.parametrize(
    ("name", "num_dims"), [("Weibull", 1), ("MultivariateNormalTriL", 2)]
)
def test_circuit(name, num_dims):
    """Means of 1000 draws are off by six standard errors once in 10^8 tests."""
    keras.utils.set_random_seed(1)
    leaf = layers.DistributionLeaf(name, 2)
    circuit = circuits.from_region_graph(GRAPH, leaf, 2, num_dims=num_dims)
    spn = SumProductNetwork(circuit)
    event = tuple(spn.event_shape)
    x = spn.sample(1000, seed=(1, 2))
    assert spn.sample(0, seed=(1, 2)).shape == (0, *event)
    assert np.all(np.isfinite(circuit(x)))
    error = np.abs(tf.reduce_mean(x, 0) - spn.mean())
    assert np.all(error < 6 * spn.stddev() / 1000**0.5)
    assert np.all(np.isfinite(spn.mode()))

    params = circuit.live_params()
    batched = next(key for key in params if key.startswith("leaf"))
    stacked = tf.stack([params[batched], params[batched] + 0.5])
    both = SumProductNetwork(circuit, {**params, batched: stacked})
    other = SumProductNetwork(circuit, {**params, batched: stacked[1]})
    observed = [True, False, True, False]
    for ask in (
        lambda d: d.log_prob(x[0]),
        lambda d: d.condition(x[0], observed).mean(),
        lambda d: d.condition(x[0], observed).mode(),
    ):
        np.testing.assert_allclose(ask(both)[1], ask(other), rtol=1e-4, atol=1e-5)
    drawn = both.condition(x[0], observed).sample(3, seed=(1, 2))
    assert drawn.shape == (3, 2, *event)
    assert np.all(np.isfinite(both.log_prob(drawn)))


def log_odds(p):
    return p["logits"].numpy()


TWINS = {
    "Normal": (
        lambda: layers.NormalLeaf(K, scale_trainable=True, dtype="float64"),
        {},
        lambda leaf, p: {
            "loc": p["location"].numpy(),
            "scale": leaf.scale(p).numpy(),
        },
    ),
    "Laplace": (
        lambda: layers.LaplaceLeaf(K, scale_trainable=True, dtype="float64"),
        {},
        lambda leaf, p: {"loc": p["location"].numpy(), "scale": leaf.scale(p).numpy()},
    ),
    "Bernoulli": (
        lambda: layers.BernoulliLeaf(K, dtype="float64"),
        {},
        lambda leaf, p: {"logits": log_odds(p)},
    ),
    "Binomial": (
        lambda: layers.BinomialLeaf(K, total_count=4, dtype="float64"),
        {"constants": {"total_count": 4}},
        lambda leaf, p: {"logits": log_odds(p)},
    ),
    "Categorical": (
        lambda: layers.CategoricalLeaf(K, num_categories=3, dtype="float64"),
        {"parameters": {"logits": (3,)}},
        lambda leaf, p: {"logits": np.transpose(log_odds(p), [0, 3, 1, 2])},
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_equals_the_dedicated_leaf(name):
    make, arguments, convert = TWINS[name]
    one = circuit_of(make())
    other = circuit_of(
        layers.DistributionLeaf(name, K, dtype="float64", **arguments), seed=2
    )
    want = convert(one.leaf, one.leaf.canonical(one.leaf.live_params()))
    for key, value in want.items():
        stored = other.leaf._parameter(key).unconstrained(tf.constant(value))
        other.leaf.parameters[key].assign(stored)
    for key, value in one.live_params().items():
        if key.startswith("sums"):
            other.live_params()[key].assign(value)
    highest = {"Bernoulli": 1, "Binomial": 4, "Categorical": 2}.get(name)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    if highest:
        x = rng.integers(0, highest + 1, (30, 4)).astype(float)
    observed = rng.random(x.shape) < 0.7
    results = []
    for circuit in (one, other):
        spn = SumProductNetwork(circuit)
        value = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(value)
            log_prob = spn.log_prob(value, observed=observed)
        sums = tape.gradient(log_prob, [value, circuit.sums[0].accumulators.value])
        results.append([log_prob, *sums, spn.mean(), spn.variance(), spn.mode()])
    for a, b in zip(*results, strict=True):
        if a is not None and (b is not None):  # integers have no gradient
            np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-9)
    if name == "Laplace":  # whose M-step TFP's family does not have
        return
    evidence = to_evidence(tf.constant(x), tf.constant(observed), 1, 0)
    moved = []
    for circuit in (one, other):
        params = circuit.live_params()
        counts = expected_statistics(circuit.program, params, evidence)
        new = maximize(circuit.program, params, counts, 0.7, pseudocount=0.0)
        moved.append(SumProductNetwork(circuit, new).log_prob(x, observed=observed))
    np.testing.assert_allclose(moved[1], moved[0], rtol=1e-6, atol=1e-7)
    assert np.mean(moved[1]) > np.mean(results[1][0])


# --- EM --------------------------------------------------------------------------

EM_ARGUMENTS = {
    "Binomial": {"constants": {"total_count": 5}},
    "Categorical": {"parameters": {"logits": (3,)}},
    "NegativeBinomial": {"constants": {"total_count": 3.0}},
    "StudentT": {"constants": {"df": 4.0}},
}
VECTORS = {"Dirichlet", "MultivariateNormalDiag", "MultivariateNormalTriL"}


def em_data(name, num_dims, rng):
    shape = (60, L, num_dims)
    if name == "Dirichlet":
        return rng.dirichlet([1.0, 2.0, 3.0], shape[:2])
    if name in ("Bernoulli", "ProbitBernoulli"):
        return rng.integers(0, 2, shape).astype(float)
    if name == "Categorical":
        return rng.integers(0, 3, shape).astype(float)
    if name in DISCRETE:
        return rng.integers(0, 6, shape).astype(float)
    if name in VECTORS or name in ("Normal", "StudentT", "VonMises"):
        return np.clip(rng.normal(size=shape), -3, 3)
    return rng.uniform(0.05, 0.95, shape)


def m_step(leaf, x, flow, step=1.0, pseudocount=0.0):
    layout = LeafLayout(tuple((v,) for v in range(L)), L, leaf.num_dims)
    x = tf.constant(np.transpose(x, [1, 2, 0]))
    counts = leaf.expected_statistics(params_of(leaf), x, None, flow, layout)
    step = tf.constant(step, tf.float64)
    return leaf.maximize(params_of(leaf), counts, step, pseudocount)


def objective(leaf, params, x, flow):
    layout = LeafLayout(tuple((v,) for v in range(L)), L, leaf.num_dims)
    x = tf.constant(np.transpose(x, [1, 2, 0]))
    values = leaf.region_log_prob(params, x, None, layout)
    return tf.reduce_sum(values * flow, axis=-1)  # [L, K]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_m_step_is_weighted_maximum_likelihood(name):
    num_dims = 3 if name in VECTORS else 2
    leaf = leaf_of(name, num_dims, **EM_ARGUMENTS.get(name, {}))
    rng = np.random.default_rng(3)
    x = em_data(name, num_dims, rng)
    flow = rng.random((L, K, len(x)))
    flow[0, 1] = 0.0  # a component that receives nothing
    flow = tf.constant(flow)
    old = params_of(leaf)
    new = m_step(leaf, x, flow)
    before, after = objective(leaf, old, x, flow), objective(leaf, new, x, flow)
    received = np.ones([L, K], bool)
    received[0, 1] = False
    assert np.all(after.numpy()[received] > before.numpy()[received])
    for key, value in old.items():
        np.testing.assert_array_equal(new[key][0, 1], value[0, 1])

    if name == "StudentT":  # a step of generalised EM: its limit is stationary
        for _ in range(60):
            for key, value in new.items():
                leaf.parameters[key].assign(value)
            last, new = after, m_step(leaf, x, flow)
            after = objective(leaf, new, x, flow)
            assert np.all(after >= last - 1e-9)
    # At the maximum the gradient vanishes.
    variables = {key: tf.Variable(value) for key, value in new.items()}
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(
            tf.where(received, objective(leaf, variables, x, flow), 0)
        )
    for gradient in tape.gradient(total, variables).values():
        atol = 1e-2 if name == "StudentT" else 2e-4
        np.testing.assert_allclose(gradient, np.zeros(gradient.shape), atol=atol)

    # No step, or infinitely many examples like the present ones: nothing moves.
    for key, value in old.items():
        leaf.parameters[key].assign(value)
    for still in (
        m_step(leaf, x, flow, step=0.0),
        m_step(leaf, x, flow, pseudocount=1e9),
    ):
        for key, value in leaf.values(old).items():
            have = leaf.values(still)[key]
            if name == "Categorical":  # whose logits have no fixed origin
                have, value = tf.nn.softmax(have), tf.nn.softmax(value)
            np.testing.assert_allclose(have, value, rtol=2e-4, atol=2e-4)


def test_em_of_a_circuit_never_lowers_the_likelihood():
    circuit = circuit_of(layers.DistributionLeaf("Gamma", K, dtype="float64"))
    rng = np.random.default_rng(0)
    x = rng.gamma(np.where(rng.random([80, 1]) < 0.5, 1.0, 9.0), 1.0, [80, 4])
    observed = rng.random(x.shape) < 0.8
    initialize_leaves(circuit, np.where(observed, x, np.nan), observed)
    evidence = to_evidence(tf.constant(x), tf.constant(observed), 1, 0)
    last = -np.inf
    for _ in range(6):
        params = circuit.live_params()
        counts = expected_statistics(circuit.program, params, evidence)
        value = float(counts["log_likelihood"])
        assert value > last
        last = value
        new = maximize(circuit.program, params, counts, pseudocount=0.0)
        for name, variable in params.items():
            variable.assign(new[name])


def test_initial_leaves_are_near_the_data():
    circuit = circuit_of(layers.DistributionLeaf("LogNormal", K))
    x = np.exp(np.random.default_rng(0).normal(5.0, 0.5, [200, 4]))
    initialize_leaves(circuit, x)
    loc = circuit.live_params()["leaf_loc"].numpy()
    assert np.all(np.abs(loc - 5.0) < 1.5)
    assert np.unique(loc).size == loc.size
    weibull = circuit_of(layers.DistributionLeaf("Weibull", K))
    before = weibull.live_params()["leaf_scale"].numpy()
    initialize_leaves(weibull, x)  # keeps what has no M-step
    np.testing.assert_array_equal(before, weibull.live_params()["leaf_scale"])


# --- functions, supports, saving -------------------------------------------------


@keras.saving.register_keras_serializable("tests")
def uniform(low, width):
    return tfd.Uniform(low, low + tf.math.softplus(width))


def test_support_that_depends_on_parameters():
    leaf = leaf_of(uniform, parameters={"low": (), "width": ()}, seed=4)
    assert leaf.support == "finite numbers that some component can take"
    x = np.linspace(-3, 3, 13)[:, np.newaxis, np.newaxis] * np.ones([1, L, 1])
    values = leaf.values(params_of(leaf))
    low, width = values["low"][..., 0], tf.math.softplus(values["width"])[..., 0]
    is_inside = (x > low.numpy()) & (x < (low + width).numpy())
    want = np.where(is_inside, -np.log(width), -np.inf)
    with tf.GradientTape() as tape:
        found = region_values(leaf, x)
        total = tf.reduce_sum(tf.where(tf.math.is_finite(found), found, 0.0))
    np.testing.assert_allclose(found, want)
    assert 0 < is_inside.mean() < 1
    for gradient in tape.gradient(total, leaf.trainable_variables):
        assert gradient is None or np.all(np.isfinite(gradient))


def test_each_circuit_of_a_batch_judges_its_values():
    leaf = layers.DistributionLeaf(uniform, 2, parameters={"low": (), "width": ()})
    graph = region_graphs.random_binary_trees(2, 1, num_repetitions=1, seed=1)
    circuit = circuits.from_region_graph(graph, leaf, 2)
    params = {k: tf.stack([v, v]) for k, v in circuit.live_params().items()}
    params["leaf_low"] *= [[[[0.0]]], [[[0.0]]]]
    params["leaf_low"] += [[[[0.0]]], [[[100.0]]]]
    spn = SumProductNetwork(circuit, params, validate_args=True)
    assert np.all(np.isfinite(spn.log_prob([[0.1, 0.1], [100.1, 100.1]])))
    with pytest.raises(tf.errors.InvalidArgumentError, match="first of them") as caught:
        spn.log_prob([[100.1, 100.1], [0.1, 0.1]])
    assert "100.1" in str(caught.value)


def test_single_variables_have_the_support_of_their_family():
    for leaf, outside, low in (
        (layers.DistributionLeaf("Poisson", 2), 0.5, 0.0),
        (layers.BinomialLeaf(2, total_count=3), 0.5, 0.0),
        (layers.DistributionLeaf("Gamma", 2), -1.0, -2.0),
    ):
        graph = region_graphs.random_binary_trees(2, 1, num_repetitions=2, seed=1)
        spn = SumProductNetwork(circuits.from_region_graph(graph, leaf, 2))
        single, marginal = spn.univariate_posteriors(), spn.marginal([0])
        assert np.all(np.isneginf(single.log_prob([outside, outside])))
        assert np.isneginf(marginal.log_prob([outside]))
        for at in (outside, low, 2.0, 2.5):
            got = single.cdf([at, at])[0]
            np.testing.assert_allclose(got, marginal.cdf([at]), rtol=1e-5, atol=1e-7)


def test_the_mode_is_in_the_support():
    graph = region_graphs.fully_factorized(2)
    leaf = layers.DistributionLeaf("LogLogistic", 3)
    spn = SumProductNetwork(circuits.from_region_graph(graph, leaf, 2))
    assert np.isfinite(spn.log_prob(spn.mode()))


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_value_that_no_component_can_take_is_reported(batch, mixed):
    leaf = layers.DistributionLeaf(
        uniform, 2, parameters={"low": (), "width": ()}, initializers={"low": "zeros"}
    )
    if mixed:
        leaf = layers.MixedLeaf([[leaf, [0, 2]], [layers.NormalLeaf(2), [1]]])
    graph = region_graphs.random_binary_trees(3, 1, num_repetitions=2, seed=1)
    circuit = circuits.from_region_graph(graph, leaf, 2)
    params = {k: tf.convert_to_tensor(v) for k, v in circuit.live_params().items()}
    params = {k: tf.broadcast_to(v, [*batch, *v.shape]) for k, v in params.items()}
    spn = SumProductNetwork(circuit, params, validate_args=True)
    assert np.all(np.isfinite(spn.log_prob([0.1, 0.1, 0.1])))
    where = r" in variables \[0, 2\]" if mixed else ""
    regex = f"outside the support of .*{where}, expected finite numbers that some compo"
    with pytest.raises(tf.errors.InvalidArgumentError, match=regex):
        spn.log_prob([0.1, 0.1, 90.0])
    hidden = [True, True, False]
    assert np.all(np.isfinite(spn.log_prob([0.1, 0.1, 90.0], observed=hidden)))


def test_functions_are_saved_if_they_are_registered(tmp_path):
    circuit = circuit_of(
        layers.DistributionLeaf(
            uniform,
            2,
            parameters={"low": (), "width": ()},
            initializers={"width": keras.initializers.Constant(8.0)},
        )
    )
    circuit.save(tmp_path / "circuit.keras")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    x = SumProductNetwork(circuit).sample(5, seed=(1, 2))
    np.testing.assert_array_equal(loaded(x), circuit(x))
    assert np.all(np.isfinite(loaded(x)))
    other = layers.DistributionLeaf(
        lambda loc: tfd.Normal(loc, 1.0), 2, parameters={"loc": ()}
    )
    with pytest.raises(ValueError, match=r"cannot be saved.*register_keras_serial"):
        other.get_config()


def test_initializers_are_of_the_parameters():
    leaf = layers.DistributionLeaf(
        tfd.Gamma,
        K,
        parameters={"concentration": None, "rate": None},
        initializers={"rate": keras.initializers.Constant(2.5)},
    )
    leaf.add_parameters((L,), 2)
    rate = leaf.values(params_of(leaf))["rate"]
    np.testing.assert_allclose(rate, np.full([L, K, 2], 2.5), rtol=1e-5)


def test_keras_layer():
    leaf = layers.DistributionLeaf("Gamma", K)
    model = keras.Sequential([keras.Input([4, 2, 1]), leaf])
    x = np.random.default_rng(0).gamma(2.0, size=(5, 4, 2, 1)).astype("float32")
    values = {k: v.numpy() for k, v in leaf.values(params_of(leaf)).items()}
    rate = np.exp(values["log_rate"])
    judge = scipy.stats.gamma(values["concentration"], scale=1 / rate)
    want = judge.logpdf(x.reshape(5, 8, 1, 1))[..., 0].reshape(5, 4, 2, K)
    np.testing.assert_allclose(model(x), want, rtol=1e-4, atol=1e-4)


# --- queries that a family lacks, and bad arguments ------------------------------


def ask(family, query, **arguments):
    circuit = circuit_of(layers.DistributionLeaf(family, 2, **arguments))
    spn = SumProductNetwork(circuit)
    if query == "em":
        evidence = to_evidence(tf.fill([3, 4], 0.5), None, 1, 0)
        return expected_statistics(circuit.program, circuit.live_params(), evidence)
    if query == "cdf":
        return spn.univariate_posteriors().cdf(0.5)
    return getattr(spn, query)()


LACKING = {
    "mode": ("LogitNormal", "mode", {}, r"\(LogitNormal\): the family has no mode"),
    "mean": ("LogitNormal", "mean", {}, r"\(LogitNormal\): the family has no mean"),
    "cdf": ("DoublesidedMaxwell", "cdf", {}, r"cdf.*DoublesidedMaxwell"),
    "em": ("Weibull", "em", {}, r"\(Weibull\): EM.*no M-step.*method=\"gradient\""),
    "em of another leaf": ("Laplace", "em", {}, r"\"gradient\".*LaplaceLeaf"),
    "em of a learned count": (
        "NegativeBinomial",
        "em",
        {},
        r"\(NegativeBinomial\).*it needs a constant total_count",
    ),
    "em of a constant": (
        "Gamma",
        "em",
        {"parameters": {"concentration": None}, "constants": {"rate": 2.0}},
        r"\(Gamma\).*needs rate or log_rate to be learned",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_what_a_family_lacks_is_named(name):
    family, query, arguments, regex = LACKING[name]
    with pytest.raises(NotImplementedError, match=regex):
        ask(family, query, **arguments)


WRONG = {
    "no family": (3, {}, TypeError, r"must be a class of tfd.*received int"),
    "a distribution": (
        tfd.Normal(0.0, 1.0),
        {},
        TypeError,
        r"must be a class of tfd.*received Normal",
    ),
    "unknown name": ("Gama", {}, ValueError, r"'Gama', expected the name of a class"),
    "function without parameters": (uniform, {}, ValueError, r"uniform.*names and sha"),
    "function of something else": (
        keras.ops.exp,
        {"parameters": {"x": ()}},
        TypeError,
        r"expected that make_distribution returns a tfd.Distribution",
    ),
    "unknown parameter": (
        "Gamma",
        {"parameters": {"shape": ()}},
        ValueError,
        r"parameters \['shape'\], expected names among.*'concentration'",
    ),
    "unknown constant": (
        "Gamma",
        {"constants": {"shape": 1.0}},
        ValueError,
        r"constants \['shape'\], expected names among",
    ),
    "constant array": (
        "Gamma",
        {"constants": {"rate": np.ones(3)}},
        TypeError,
        r"constant 'rate' of type ndarray, expected a number",
    ),
    "without a constraint": (
        "Binomial",
        {},
        ValueError,
        r"\(Binomial\): TFP knows no constraint of the parameter 'total_count'.*const",
    ),
    "without a shape": (
        "Categorical",
        {},
        ValueError,
        r"\(Categorical\): TFP does not tell the shape of.*'logits'.*five categories",
    ),
    "missing arguments": (
        "Gamma",
        {"parameters": {"rate": None}},
        ValueError,
        r"parameters \['rate'\].*no distribution can be made",
    ),
    "unknown support": (
        "Gamma",
        {"support": "positiv"},
        ValueError,
        r"support='positiv', expected one of \['binary'",
    ),
    "unknown initializer": (
        "Normal",
        {"initializers": {"location": "zeros"}},
        ValueError,
        r"initializers \['location'\], expected names among \['loc', 'scale'\]",
    ),
    "event rank": ("Normal", {"event_ndims": 2}, ValueError, r"0 or 1, received 2"),
    "no vectors": (
        "Normal",
        {"event_ndims": 1},
        ValueError,
        r"event shape \(\), expected",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_arguments(name):
    family, arguments, error, regex = WRONG[name]
    with pytest.raises(error, match=regex):
        layers.DistributionLeaf(family, 2, **arguments)


def test_only_integers_have_probability_under_families_of_counts():
    leaf = layers.DistributionLeaf("BetaBinomial", 2, constants={"total_count": 4.0})
    circuit = circuits.from_region_graph(region_graphs.fully_factorized(1), leaf, 2)
    spn = SumProductNetwork(circuit)
    halves = np.arange(0, 5, 0.5, dtype=np.float32)[:, np.newaxis]
    probs = np.exp(spn.log_prob(halves))
    np.testing.assert_allclose(probs[::2].sum(), 1, rtol=1e-4)
    assert np.all(probs[1::2] == 0)


def test_counts_of_a_multinomial_add_up():
    leaf = layers.DistributionLeaf("Multinomial", 2, constants={"total_count": 4.0})
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(1), leaf, 2, num_dims=3
    )
    spn = SumProductNetwork(circuit)
    counts = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), -1).reshape(-1, 1, 3)
    probs = np.exp(spn.log_prob(counts.astype(np.float32)))
    np.testing.assert_allclose(probs.sum(), 1, rtol=1e-4)
    assert np.all(probs[counts.sum((1, 2)) != 4] == 0)
