"""Gradients of densities when the number of examples is known, unknown or varies."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.cases import CASES
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork

# Datasets optimise what they compute, the loop over them included, for many seconds.
AS_IS = tf.data.Options()
AS_IS.experimental_optimization.apply_default_optimizations = False


def total_and_gradients(function, values, x):
    """The sum of a function of examples, and its gradients by `values`."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(function(x))
    return (total, *tape.gradient(total, values, unconnected_gradients="zero"))


def assert_additive(function, values, x, is_random=False):
    """Three examples and one, in every way to pass them, are the four at once."""
    x = tf.constant(x)
    at_once = total_and_gradients(function, values, x)  # the first call: not compiled
    parts = [total_and_gradients(function, values, part) for part in (x[:3], x[3:])]

    @tf.function
    def loop(batches):
        totals = tuple(map(tf.zeros_like, at_once))
        for batch in batches:  # of unknown size
            results = total_and_gradients(function, values, batch)
            totals = tuple(map(tf.add, totals, results))
        return totals

    unknown = loop(tf.data.Dataset.from_tensor_slices(x).batch(3).with_options(AS_IS))
    for want, *others in zip(at_once, map(tf.add, *parts), unknown, strict=True):
        for got in others:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        assert np.all(np.isfinite(want))
        if is_random:  # the values agree, the gradients need not
            return


# The others take a quarter of an hour, and what they differ in is evaluated alike.
FAST = ["batched leaves only", "dynamic"]


@pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in CASES],
)
def test_every_case(name):
    case = CASES[name]()
    variables = [variable.value for variable in case.circuit.trainable_variables]
    params = tf.nest.flatten(getattr(case.distribution, "params", {}))
    is_known = {id(variable) for variable in variables}
    values = variables + [value for value in params if id(value) not in is_known]
    is_random = name == "sampled flows"
    assert_additive(case.distribution.log_prob, values, case.batched_x, is_random)


# --- leaves that TFP evaluates ---------------------------------------------------

POSITIVE = tfp.bijectors.Softplus(low=1e-3)  # holds an eager tensor
RATE = tf.constant([2.0])
LOADINGS = tf.linspace(0.5, 1.5, 200)  # eager tensors of many elements are placeholders


def gamma_of_a_bijector(raw):
    return tfp.distributions.Gamma(POSITIVE(raw), RATE)


def normal_of_a_large_constant(loc):
    return tfp.distributions.Normal(loc, tf.reduce_mean(LOADINGS))


FAMILIES = {
    "Beta": {},
    "Exponential": {},
    "Gamma": {},
    "Gumbel": {},
    "Logistic": {},
    "Normal": {},
    "StudentT": {"constants": {"df": 4.0}},
    "VonMises": {},
    "Weibull": {},
    "InverseGamma": {},
    gamma_of_a_bijector: {"parameters": {"raw": ()}},
    normal_of_a_large_constant: {"parameters": {"loc": ()}},
}
FAMILIES_OF_VECTORS = ["Dirichlet", "MultivariateNormalDiag", "MultivariateNormalTriL"]


def spn_of(leaves, num_dims=1):
    """Each leaf layer has a variable of its own."""
    keras.utils.set_random_seed(0)
    leaf = layers.MixedLeaf([(leaf, [v]) for v, leaf in enumerate(leaves)])
    graph = region_graphs.fully_factorized(len(leaves))
    circuit = circuits.from_region_graph(graph, leaf, 2, num_dims=num_dims)
    return SumProductNetwork(circuit)


def variables_of(spn):
    return [variable.value for variable in spn.circuit.trainable_variables]


@pytest.mark.parametrize(
    "families",
    [
        ["Beta", "StudentT", gamma_of_a_bijector, normal_of_a_large_constant],
        pytest.param(list(FAMILIES), marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_families(families):
    """All in one circuit: one trace."""
    spn = spn_of([layers.DistributionLeaf(f, 2, **FAMILIES[f]) for f in families])
    x = np.random.default_rng(0).uniform(0.1, 0.9, [4, len(families)])
    assert_additive(spn.log_prob, variables_of(spn), x.astype(np.float32))


@pytest.mark.slow
def test_families_of_vectors():
    spn = spn_of(
        [layers.DistributionLeaf(name, 2) for name in FAMILIES_OF_VECTORS], num_dims=2
    )
    x = np.random.default_rng(0).uniform(0.1, 0.9, [4, len(FAMILIES_OF_VECTORS), 1])
    x = np.concatenate([x, 1 - x], axis=-1).astype(np.float32)
    assert_additive(spn.log_prob, variables_of(spn), x)


@pytest.mark.parametrize(
    ("family", "query"),
    [
        pytest.param(
            f, q, marks=[] if f == "Gamma" and q == "cdf" else pytest.mark.slow
        )
        for f in FAMILIES
        for q in ("log_joint", "cdf", "mean")
        if not (q == "mean" and f in ("InverseGamma", "VonMises"))  # is undefined
    ],
)
def test_queries(family, query):
    leaf = layers.DistributionLeaf(family, 2, **FAMILIES[family])
    spn = spn_of([leaf, layers.BernoulliLeaf(2)])
    x = np.random.default_rng(0).uniform(0.1, 0.9, [4, 2])
    x[:, 1] = x[:, 1] > 0.5
    function = {
        "log_joint": spn.log_joint,
        "cdf": spn.cdf,
        "mean": lambda x: spn.condition(x, [False, True]).mean(),
    }[query]
    assert_additive(function, variables_of(spn), x.astype(np.float32))


@pytest.mark.parametrize(
    "kind", ["cond", pytest.param("while_loop", marks=pytest.mark.slow)]
)
def test_gradient_of_control_flow_around_it(kind):
    """By the values, through `tfp.math.value_and_gradient`."""
    spn = spn_of([layers.DistributionLeaf("Gamma", 2)])

    def total(x):
        return tf.reduce_sum(spn.log_prob(x))

    def inside(x):
        if kind == "cond":
            return tf.cond(x[0, 0] > 0, lambda: total(x), lambda: tf.zeros([]))
        return tf.while_loop(
            lambda n, _: n < 1,
            lambda n, value: (n + 1, value + total(x)),
            (tf.constant(0), tf.zeros([])),
            maximum_iterations=1,
        )[1]

    @tf.function(input_signature=[tf.TensorSpec([None, 1])], autograph=False)
    def compute(x):
        return tfp.math.value_and_gradient(inside, x)

    x = tf.constant([[0.5], [1.5], [2.5]])
    want = tfp.math.value_and_gradient(total, x)
    for got, expected in zip(compute(x), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
