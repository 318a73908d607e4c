"""Rounding, underflow and impossible evidence, against the same circuit in float64."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.stacks import binary_states, make_stack
from tests.strategies import RULES
from tfp_spn import circuits, layers, region_graphs, sum_ops
from tfp_spn.distributions import SumProductNetwork

INF = np.inf


def build(graph, leaf, num_sums=3, seed=0, **arguments):
    keras.utils.set_random_seed(seed)
    return circuits.from_region_graph(graph, leaf, num_sums, **arguments)


def in_float64(circuit):
    """The same circuit with the same (float32) parameters, evaluated in float64."""
    leaf = circuit.leaf.get_config() | {"dtype": "float64", "name": "leaf64"}
    twin = circuits.from_region_graph(
        circuit.region_graph,
        type(circuit.leaf).from_config(leaf),
        circuit.get_config()["num_sums"],
        circuit.get_config()["sum_product"],
        circuit.get_config()["num_classes"],
        leaf_sums=circuit.get_config()["leaf_sums"],
    )
    for name, value in circuit.live_params().items():
        twin.live_params()[name].assign(tf.cast(value, tf.float64))
    return twin


def relative(actual, expected):
    """Error in norm, relative to the norm of what is expected.

    The gradient of an accumulator is a difference of counts, which are of size one:
    where they cancel to a norm below 0.01, error is measured against 0.01.
    """
    actual, expected = (np.asarray(v, np.float64) for v in (actual, expected))
    return np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 0.01)


def value_and_gradients(circuit, x, observed=None, **options):
    """Log-probabilities, and the gradient of their mean for each parameter."""
    spn = SumProductNetwork(circuit)

    def run():
        with tf.GradientTape() as tape:
            log_prob = spn.log_prob(x, observed=observed)
            loss = tf.reduce_mean(log_prob)
        return log_prob, tape.gradient(loss, circuit.live_params())

    return tf.function(run, **options)() if options else run()


def assert_close_to_float64(circuit, x, observed=None, tolerance=1e-5):
    """Values to 1e-5 relative, each parameter's gradient to `tolerance` in norm."""
    value, gradients = value_and_gradients(circuit, x, observed)
    want, want_gradients = value_and_gradients(in_float64(circuit), x, observed)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for name, gradient in gradients.items():
        if gradient is not None:
            error = relative(gradient, want_gradients[name])
            assert error < tolerance, (name, error)


# --- wide and deep ---------------------------------------------------------------

LARGE = {
    "1000 variables": lambda: region_graphs.random_binary_trees(1000, 5, 2, seed=0),
    "100 levels": lambda: region_graphs.linear_tree(101),
}


@functools.cache
def large(name):
    keras.utils.set_random_seed(0)
    leaf = layers.NormalLeaf(3, scale_trainable=True)
    circuit = build(LARGE[name](), leaf)
    shape = (8, circuit.program.num_variables)
    return circuit, np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", LARGE)
def test_large_circuits(name):
    """Log-values of -1,700 are rounded by 6e-5, and responsibilities with them."""
    circuit, x = large(name)
    assert_close_to_float64(circuit, x, tolerance=3e-5)
    observed = np.random.default_rng(2).random(x.shape) < 0.5
    assert_close_to_float64(circuit, x, observed, tolerance=3e-5)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if "100" in n else n for n in LARGE],
)
def test_samples_of_large_circuits(name):
    """The mean over 400 draws is 6 standard errors off once in 10^6 runs of 1000."""
    circuit, _ = large(name)
    spn, twin = SumProductNetwork(circuit), SumProductNetwork(in_float64(circuit))
    count = 400
    sample = spn.sample(count, seed=(0, 1))
    for statistic in ("mean", "variance"):
        got, want = getattr(spn, statistic)(), getattr(twin, statistic)()
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    error = np.abs(np.mean(sample, axis=0) - twin.mean())
    assert np.all(error < 6 * twin.stddev() / count**0.5)
    # Draws of float32 are as likely as draws of float64: the mean log-probability
    # of either is an estimate of the same negative entropy.
    ours, theirs = twin.log_prob(sample), twin.log_prob(twin.sample(count, seed=(2, 3)))
    spread = np.hypot(np.std(ours), np.std(theirs)) / count**0.5
    assert np.abs(np.mean(ours) - np.mean(theirs)) < 5.5 * spread
    np.testing.assert_allclose(spn.log_prob(sample), ours, rtol=1e-5)


# --- impossible ------------------------------------------------------------------

TREE = region_graphs.from_nested_lists({"partitions": [[[0, 1], 2], [0, [1, 2]]]})
STATES = np.array(list(itertools.product(range(3), repeat=3)), np.float32)


def categorical(rule="gradient", **arguments):
    keras.utils.set_random_seed(0)
    leaf = layers.CategoricalLeaf(3, num_categories=3)
    return build(TREE, leaf, sum_op=RULES[rule](), **arguments)


def indicator(rule="gradient", **arguments):
    return build(TREE, layers.IndicatorLeaf(3), sum_op=RULES[rule](), **arguments)


def forbid(circuit, name, index):
    """Weights of zero: log-accumulators of -inf."""
    variable = circuit.live_params()[name]
    value = variable.numpy()
    value[index] = -INF
    variable.assign(value)
    return circuit


def no_category_zero(rule):
    """Category 0 has probability zero: a whole region is impossible at 0."""
    circuit = categorical(rule)
    return forbid(circuit, "leaf_logits", (slice(None), slice(None), 0))


def region_always_impossible(rule):
    """One of two regions has no child left: all its weights are zero."""
    circuit = categorical(rule)
    return forbid(circuit, "sums_1", (0,))


IMPOSSIBLE = {
    "a weight of zero": lambda rule: forbid(categorical(rule), "sums_0", (0, 1)),
    "weights of zero at indicators": lambda rule: forbid(
        indicator(rule), "sums_0", (slice(None), 2)
    ),
    "one child of each sum": lambda rule: forbid(
        forbid(categorical(rule), "sums_0", (slice(None), slice(1, None))),
        "sums_1",
        (slice(None), slice(1, None)),
    ),
    "a category": no_category_zero,
    "a region": region_always_impossible,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("one child of each sum", "a region")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in IMPOSSIBLE
    ],
)
def test_impossible_evidence_gives_no_nan(name, rule):
    circuit = IMPOSSIBLE[name](rule)
    out_of_range = np.array([[3, 0, 1], [-1, 0, 0], [0.5, 1, 1], [0, 99, 0]])
    x = np.concatenate([STATES, out_of_range]).astype(np.float32)
    value, gradients = value_and_gradients(circuit, x)
    value = value.numpy()
    assert np.all(value[-4:] == -INF)
    assert np.all((value == -INF) | np.isfinite(value))
    if name != "a region":  # a sum without weights loses its share
        np.testing.assert_allclose(np.exp(value).sum(), 1, rtol=1e-5)
    for parameter, gradient in gradients.items():
        assert np.all(np.isfinite(gradient)), parameter
    spn = SumProductNetwork(circuit)
    given = spn.condition(x, np.ones_like(x, bool) & [True, True, False])
    for result in (
        given.sample(2, seed=(0, 1)),
        given.mean(),
        given.variance(),
        given.mode(),
        given.log_prob(x),
        spn.posterior_marginal(x).probs_parameter(),
        spn.univariate_posteriors(x, x < 2).probs_parameter(),
    ):
        assert not np.any(np.isnan(np.asarray(result, np.float64)))


@pytest.mark.parametrize(
    "rule", ["gradient", pytest.param("hard EM", marks=pytest.mark.slow)]
)
def test_impossible_evidence_under_xla(rule):
    circuit = forbid(no_category_zero(rule), "sums_0", (0, 1))
    x = np.concatenate([STATES, [[3, 0, 1]]]).astype(np.float32)
    value, gradients = value_and_gradients(circuit, x, jit_compile=True)
    want, want_gradients = value_and_gradients(circuit, x)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for name, gradient in gradients.items():
        assert np.all(np.isfinite(gradient)), name
        if "hard" not in rule:  # ties are broken at random
            np.testing.assert_allclose(gradient, want_gradients[name], atol=1e-5)


def test_log_prob_of_the_impossible_is_the_reference():
    """A zero weight is the limit of small ones."""
    circuit, limit = categorical(), categorical()
    forbid(circuit, "sums_0", (0, 1))
    value = limit.live_params()["sums_0"].numpy()
    value[0, 1] = -60
    limit.live_params()["sums_0"].assign(value)
    assert_same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    spn, other = SumProductNetwork(circuit), SumProductNetwork(limit)
    assert_same(spn.log_prob(STATES), other.log_prob(STATES))
    assert_same(spn.mean(), other.mean())


# --- underflow -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "sum_product"),
    [
        (200.0, "cp"),
        pytest.param(60.0, "cp", marks=pytest.mark.slow),
        pytest.param(60.0, "tucker", marks=pytest.mark.slow),
        (2000.0, "tucker"),
    ],
)
def test_underflow(gap, sum_product):
    """The child that is best by `gap` nats has no weight in the sum that needs it."""
    graph = region_graphs.from_nested_lists([[0, 1], 2])
    circuit = build(graph, layers.NormalLeaf(3), 3, sum_product=sum_product)
    location = circuit.live_params()["leaf_location"]
    far = np.sqrt(2 * gap)
    location.assign(location * 0.1 + [[0.0], [far], [2 * far]])
    forbid(circuit, "sums_0", (slice(None), 0, slice(1, None)))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert_close_to_float64(circuit, x)
    want, want_gradients = value_and_gradients(circuit, x)
    for options in ({"jit_compile": True}, {"jit_compile": False}):  # both in graphs
        value, gradients = value_and_gradients(circuit, x, **options)
        np.testing.assert_allclose(value, want, rtol=1e-5)
        for name, gradient in gradients.items():
            if gradient is not None:
                assert relative(gradient, want_gradients[name]) < 1e-5, name


# --- badly scaled data -------------------------------------------------------------


def normal(location, scale, graph=None):
    leaf = layers.NormalLeaf(
        3,
        location_initializer=keras.initializers.RandomUniform(-location, location, 1),
        scale_initializer=keras.initializers.Constant(scale),
        scale_trainable=True,
    )
    return build(graph or region_graphs.random_binary_trees(6, 2, 2, seed=0), leaf)


def test_narrow_components_far_apart():
    """Locations of +-50 and scales of 0.01: the densities are evaluated one by one."""
    circuit = normal(50.0, 0.01)
    noise = np.random.default_rng(0).normal(size=(8, 6)) * 0.01
    near = SumProductNetwork(circuit).sample(8, seed=(0, 1)).numpy()
    x = np.concatenate([near, near + noise]).astype(np.float32)
    assert_close_to_float64(circuit, x)
    spn, twin = SumProductNetwork(circuit), SumProductNetwork(in_float64(circuit))
    np.testing.assert_allclose(spn.mean(), twin.mean(), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(spn.variance(), twin.variance(), rtol=1e-5)
    np.testing.assert_allclose(
        spn.covariance(), twin.covariance(), rtol=1e-4, atol=1e-2
    )


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_values_far_away(scale):
    """Gradients too, as far as the log-values, of size 1e8 and 1e2, resolve them."""
    circuit = normal(2.0 * scale, scale)
    x = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32) + 1e4
    assert_close_to_float64(circuit, x, tolerance=3e-5 if scale > 1 else INF)
    _, gradients = value_and_gradients(circuit, x)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients.values())
    beyond = SumProductNetwork(circuit).log_prob(np.full([6], 1e30, np.float32))
    assert not np.isnan(beyond)


def test_common_offset():
    """Data and locations near 10000, a distance of 1 apart."""
    circuit = normal(1.0, 1.0)
    circuit.live_params()["leaf_location"].assign_add(
        tf.fill(circuit.live_params()["leaf_location"].shape, 1e4)
    )
    x = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32) + 1e4
    assert_close_to_float64(circuit, x)
    spn, twin = SumProductNetwork(circuit), SumProductNetwork(in_float64(circuit))
    np.testing.assert_allclose(spn.variance(), twin.variance(), rtol=1e-5)
    np.testing.assert_allclose(
        spn.covariance(), twin.covariance(), rtol=1e-4, atol=1e-4
    )


# --- normalised at every moment ----------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5),
    "adam": lambda: keras.optimizers.Adam(0.1),
}


def train(model, x, optimizer, num_steps=100):
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(tf.reduce_logsumexp(model(x), axis=-1))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    losses = [float(step()) for _ in range(num_steps)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["categorical", "indicator", "classes"])
def test_circuit_stays_normalized(kind, optimizer):
    make = indicator if kind == "indicator" else categorical
    circuit = make(num_classes=2 if kind == "classes" else 1)
    x = STATES[np.random.default_rng(0).integers(0, 27, size=20)]
    train(circuit, x, OPTIMIZERS[optimizer]())
    total = np.exp(SumProductNetwork(circuit).log_prob(STATES)).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("logspace", [True, False])
def test_layers_stay_normalized(logspace, optimizer):
    """Linear weights too: what a step makes negative counts as zero."""
    keras.utils.set_random_seed(0)
    rule = sum_ops.SumOpGradBackprop(logspace_accumulators=logspace)
    model = make_stack(layers.BernoulliLeaf, num_decomps=2, sum_op=rule)
    states = binary_states(4)
    x = states[np.random.default_rng(0).integers(0, 16, size=20)]
    train(model, x, OPTIMIZERS[optimizer]())
    total = np.exp(SumProductNetwork(model).log_prob(states)).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-5)
