"""Log-densities of many variables keep their digits, whatever adds them up.

Judge is the same circuit in float64: an error may be 1e-6 of the larger of the
log-probability and the number of variables.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfp_spn import circuits, layers, region_graphs, sum_ops
from tfp_spn.distributions import SumProductNetwork


def tree(num_variables):
    """A hidden Chow-Liu tree of a random walk that every tenth variable starts anew."""
    steps = np.random.default_rng(0).normal(size=(50, num_variables))
    walk = steps.reshape(50, -1, 10).cumsum(-1).reshape(50, num_variables)
    return region_graphs.hidden_chow_liu_tree(walk, data_type="gaussian")


STRUCTURES = {
    "factorized": region_graphs.fully_factorized,
    "random": lambda n: region_graphs.random_binary_trees(n, 1, 2, seed=0),
    "deeper": lambda n: region_graphs.random_binary_trees(n, 4, 2, seed=0),
    "tree": tree,
}

# leaf layer, and values of (some of) its support
LEAVES = {
    "normal": (
        lambda **kw: layers.NormalLeaf(2, scale_trainable=True, **kw),
        lambda rng, shape: rng.normal(size=shape),
    ),
    "bernoulli": (
        lambda **kw: layers.BernoulliLeaf(2, **kw),
        lambda rng, shape: rng.integers(0, 2, shape),
    ),
    "categorical": (
        lambda **kw: layers.CategoricalLeaf(2, num_categories=5, **kw),
        lambda rng, shape: rng.integers(0, 5, shape),
    ),
    "binomial": (
        lambda **kw: layers.BinomialLeaf(2, total_count=20, **kw),
        lambda rng, shape: rng.binomial(20, 0.5, shape),
    ),
    "gamma": (
        lambda **kw: layers.DistributionLeaf("Gamma", 2, **kw),
        lambda rng, shape: rng.gamma(2.0, size=shape),
    ),
}
LEAVES["mixed"] = (
    lambda **kw: layers.MixedLeaf(
        [
            (LEAVES["normal"][0](**kw), range(0, 3_000, 2)),
            (LEAVES["gamma"][0](**kw), range(1, 3_000, 2)),
        ]
    ),
    LEAVES["gamma"][1],
)


def copies(graph, make_leaf, **arguments):
    """One circuit in float32 and in float64."""
    keras.utils.set_random_seed(0)
    circuit, twin = (
        circuits.from_region_graph(graph, make_leaf(dtype=dtype), 2, **arguments)
        for dtype in ("float32", "float64")
    )
    for name, value in circuit.live_params().items():
        twin.live_params()[name].assign(tf.cast(value, tf.float64))
    return circuit, twin


def twins(structure, leaf, num_variables, num_examples=3, **arguments):
    """The same of a structure by name, and examples."""
    make_leaf, values = LEAVES[leaf]
    circuit, twin = copies(STRUCTURES[structure](num_variables), make_leaf, **arguments)
    x = values(np.random.default_rng(1), (num_examples, num_variables))
    return circuit, twin, x.astype(np.float32)


def assert_digits(got, want, num_variables):
    error = np.abs(np.asarray(got, np.float64) - want)
    assert np.all(error < 1e-6 * np.maximum(np.abs(want), num_variables))


def cases():
    """By default one leaf for each way to add up, and all of them where it is cheap."""
    for structure in STRUCTURES:
        for leaf in list(LEAVES)[:-1]:
            for count in (1, 2, 20, 300, 1_000, 10_001, 30_000):
                if structure == "tree" and count not in (20, 300, 1_000):
                    continue  # building takes long: its products have few factors
                if count < {"random": 2, "deeper": 20}.get(structure, 1):
                    continue
                is_fast = structure == "random" and count in (2, 10_001, 30_000)
                is_fast |= structure == "factorized" and count in (1, 20, 1_000)
                is_fast |= (structure, leaf, count) in (
                    ("factorized", "categorical", 30_000),
                    ("deeper", "normal", 30_000),
                    ("tree", "bernoulli", 300),
                )
                marks = [] if is_fast else pytest.mark.slow
                yield pytest.param(structure, leaf, count, marks=marks)


@pytest.mark.parametrize(("structure", "leaf", "num_variables"), list(cases()))
def test_log_prob(structure, leaf, num_variables):
    circuit, twin, x = twins(structure, leaf, num_variables)
    want = SumProductNetwork(twin).log_prob(x)
    assert_digits(SumProductNetwork(circuit).log_prob(x), want, num_variables)


@pytest.mark.parametrize("num_variables", [1_000, 10_000])
def test_product_of_standard_normals(num_variables):
    """All terms alike: rounding errors would all be of one sign."""
    leaf = layers.NormalLeaf(1, location_initializer="zeros")
    graph = region_graphs.fully_factorized(num_variables)
    spn = SumProductNetwork(circuits.from_region_graph(graph, leaf, 1))
    x = np.random.default_rng(0).normal(size=(2, num_variables)).astype(np.float32)
    want = scipy.stats.norm.logpdf(x.astype(np.float64)).sum(1)
    np.testing.assert_allclose(spn.log_prob(x), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("structure", "leaf"),
    [("random", "mixed"), ("random", "binomial"), ("factorized", "gamma")],
)
def test_masks_cdfs_and_completions(structure, leaf):
    circuit, twin, x = twins(structure, leaf, 3_000)
    spn, twin = SumProductNetwork(circuit), SumProductNetwork(twin)
    observed = np.random.default_rng(2).random(x.shape) < 0.5
    want = twin.log_prob(x, observed=observed)
    assert_digits(spn.log_prob(x, observed=observed), want, 3_000)
    assert_digits(spn.log_cdf(x), twin.log_cdf(x), 3_000)
    completed = spn.condition(x, observed).mode()
    want = twin.condition(x, observed).mode()
    np.testing.assert_allclose(completed, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("structure", ["factorized", "random"])
@pytest.mark.parametrize("way", ["log space", "xla"])
def test_other_passes(structure, way):
    """EM rules add logarithms throughout, as the exact pass does."""
    arguments = {} if way == "xla" else {"sum_op": sum_ops.SumOpEMBackprop()}
    circuit, twin, x = twins(structure, "bernoulli", 3_000, **arguments)
    want = SumProductNetwork(twin).log_prob(x)
    spn = SumProductNetwork(circuit)
    got = tf.function(spn.log_prob, jit_compile=way == "xla", autograph=False)(x)
    assert_digits(got, want, 3_000)


@pytest.mark.parametrize(
    "leaf", ["categorical", pytest.param("bernoulli", marks=pytest.mark.slow)]
)
def test_gradient_of_a_wide_product(leaf):
    """Classes that are about as likely: their shares are differences of log-values."""
    circuit, twin, x = twins("factorized", leaf, 10_000, num_examples=20)
    gradients = []
    for own in (circuit, twin):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(SumProductNetwork(own).log_prob(x))
        gradients.append(tape.gradient(value, own.live_params()))
    for name, want in gradients[1].items():
        error = np.linalg.norm(np.float64(gradients[0][name]) - want)
        assert error < 5e-5 * np.linalg.norm(want), name


def test_large_counts():
    """Coefficients and probabilities of some hundred nats each cancel."""
    graph = region_graphs.fully_factorized(100)
    circuit, twin = copies(
        graph, lambda **kw: layers.BinomialLeaf(2, total_count=255, **kw)
    )
    x = SumProductNetwork(twin).sample(50, seed=(0, 1))
    want = SumProductNetwork(twin).log_prob(x)
    assert_digits(SumProductNetwork(circuit).log_prob(x), want, 100)


@pytest.mark.parametrize("leaf", ["normal", "bernoulli", "gamma"])
def test_one_variable_of_many_dimensions(leaf):
    make_leaf, values = LEAVES[leaf]
    graph = region_graphs.fully_factorized(1)
    circuit, twin = copies(graph, make_leaf, num_dims=30_000)
    x = values(np.random.default_rng(1), (2, 1, 30_000)).astype(np.float32)
    want = SumProductNetwork(twin).log_prob(x)
    assert_digits(SumProductNetwork(circuit).log_prob(x), want, 30_000)
