"""Leaves at values from denormal to the largest float: digits are kept, no NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.reference import families
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.m_steps import FAMILIES
from tfp_spn.layers.leaves.support import SUPPORT_OF_FAMILY

K = 3
MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def values_of(dtype):
    """36 values: both signs of magnitudes of all orders, zero, infinities and NaN."""
    info = np.finfo(dtype)
    square = float(np.sqrt(info.max))  # squares overflow from here on
    sizes = [float(info.smallest_subnormal), float(info.tiny), 1e-30, 1e-3, 0.5, 1.0]
    sizes += [2.0, 5.0, 100.0, 1e6, 1e18, 0.9 * square, 1.1 * square, 1e25, 1e30]
    sizes.append(float(info.max))
    values = [sign * size for size in sizes for sign in (1, -1)]
    return np.array([0.0, *values, np.inf, -np.inf, np.nan], dtype)


LAYERS = {
    "NormalLeaf": lambda **kw: layers.NormalLeaf(K, scale_trainable=True, **kw),
    "LaplaceLeaf": lambda **kw: layers.LaplaceLeaf(K, scale_trainable=True, **kw),
    "CauchyLeaf": lambda **kw: layers.CauchyLeaf(K, scale_trainable=True, **kw),
    "accumulators": lambda **kw: layers.NormalLeaf(
        K, scale_trainable=True, use_accumulators=True, **kw
    ),
    "BernoulliLeaf": lambda **kw: layers.BernoulliLeaf(K, **kw),
    "BinomialLeaf": lambda **kw: layers.BinomialLeaf(K, 5, **kw),
    "CategoricalLeaf": lambda **kw: layers.CategoricalLeaf(K, 4, **kw),
    "DiscretizedLogisticLeaf": lambda **kw: layers.DiscretizedLogisticLeaf(K, 4, **kw),
    "IndicatorLeaf": lambda **kw: layers.IndicatorLeaf(K, **kw),
}
ARGUMENTS = {
    "Binomial": {"constants": {"total_count": 5.0}},
    "Categorical": {"parameters": {"logits": (4,)}},
    "NegativeBinomial": {"constants": {"total_count": 5.0}},
    "TruncatedNormal": {"constants": {"low": 0.0, "high": 5.0}},
    "Uniform": {"constants": {"high": 5.0}},
}
JUDGED_BY_COMPONENT = (
    "GeneralizedExtremeValue",
    "GeneralizedPareto",
    "HalfCauchy",
    "Pareto",
    "TruncatedNormal",
    "Uniform",
)
# Not learned by TFP's defaults: no constraint of their parameters is known.
NOT_SUPPORTED = {"NormalInverseGaussian"}
WITH_M_STEP = sorted(FAMILIES)
OTHERS = sorted(
    {*SUPPORT_OF_FAMILY, *JUDGED_BY_COMPONENT} - {*FAMILIES, *NOT_SUPPORTED}
)


def leaf_of(name, dtype, num_dims=1):
    if name in LAYERS:
        leaf = LAYERS[name](dtype=dtype)
    else:
        leaf = layers.DistributionLeaf(name, K, dtype=dtype, **ARGUMENTS.get(name, {}))
    leaf.build((None, 1, 1, num_dims))
    rng = np.random.default_rng(0)
    for variable in leaf.weights if name != "accumulators" else ():
        variable.assign(rng.normal(size=variable.shape).astype("float32"))
    return leaf


def log_probs_and_gradients(leaf, x):
    """``[N, K]``, and gradients of what is possible by `x` and by all parameters."""
    x = tf.convert_to_tensor(x)
    parameters = [variable.value for variable in leaf.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = leaf(x)[:, 0, 0]
        total = tf.reduce_sum(tf.where(log_prob > -math.inf, log_prob, 0))
    sources = [x, *parameters]
    gradients = tape.gradient(total, sources, unconnected_gradients="zero")
    return log_prob.numpy(), [gradient.numpy() for gradient in gradients]


def examples_of(leaf, values):
    """``[N, 1, 1, D]``: extreme in the first dimension only."""
    other = 0.0 if leaf.is_discrete else 0.5
    x = np.full([len(values), 1, 1, leaf.num_dims], other, values.dtype)
    x[..., 0] = values[:, np.newaxis, np.newaxis]
    return x


def check(name, dtype="float32"):
    num_dims = 2 if name.startswith(("Dirichlet", "Multivariate", "OneHot")) else 1
    leaf, reference = leaf_of(name, dtype, num_dims), leaf_of(name, "float64", num_dims)
    for variable, copy in zip(leaf.weights, reference.weights, strict=True):
        copy.assign(variable.numpy())
    x = examples_of(leaf, values_of(dtype))
    log_prob, gradients = log_probs_and_gradients(leaf, x)
    assert np.all(log_prob < np.inf), name  # not NaN either
    for gradient in gradients:
        assert not np.any(np.isnan(gradient)), name
    assert np.all(gradients[0][np.all(np.isneginf(log_prob), -1)] == 0), name
    wanted = reference(x.astype("float64"))[:, 0, 0].numpy()
    size = np.abs(x[:, 0, 0, :1])
    is_denormal = (0 < size) & (size < np.finfo(dtype).tiny)
    kept = np.isfinite(log_prob) & ~is_denormal  # TensorFlow takes those for zero
    assert np.any(kept), name
    np.testing.assert_allclose(log_prob[kept], wanted[kept], 1e-4, 1e-4, err_msg=name)


def test_layers() -> None:
    for name in LAYERS:
        check(name)
        check(name, "float64")


def test_families_with_an_m_step() -> None:
    for name in WITH_M_STEP:
        check(name)


@pytest.mark.slow
def test_other_families() -> None:
    for name in OTHERS:
        check(name)


def test_every_scalar_family_that_has_defaults_is_tried() -> None:
    """At least those that TFP gives a support which does not depend on parameters."""
    assert set(SUPPORT_OF_FAMILY) - {*WITH_M_STEP, *OTHERS} == NOT_SUPPORTED


@pytest.mark.parametrize("name", ["NormalLeaf", "LaplaceLeaf", "CauchyLeaf"])
def test_no_digits_are_lost_where_squares_overflow(name) -> None:
    family = getattr(families, name.removesuffix("Leaf"))
    leaf = leaf_of(name, "float32")
    values = values_of("float32")
    values = values[np.isfinite(values)]
    params = leaf.canonical(leaf.live_params())
    location, scale = params["location"].numpy().ravel(), leaf.scale(params)
    found = leaf(examples_of(leaf, values))[:, 0, 0].numpy()
    for k, of_component in enumerate(np.ravel(scale)):
        component = family(float(location[k]), float(of_component))
        wanted = np.array([component.log_prob(float(value)) for value in values])
        with np.errstate(over="ignore"):
            wanted = wanted.astype("float32")
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-5)


def circuit_of(name, depth):
    kind = LAYERS.get(name, lambda: layers.DistributionLeaf(name, K))
    graph = region_graphs.random_binary_trees(4, depth, num_repetitions=1)
    return circuits.from_region_graph(graph, kind(), 2)


def gradients_of(circuit):
    """Log-probabilities of `x` and the gradients of those that are finite."""
    spn = SumProductNetwork(circuit)
    parameters = [variable.value for variable in circuit.trainable_variables]

    def gradients(x):
        with tf.GradientTape() as tape:
            log_prob = spn.log_prob(x)
            possible = tf.where(tf.math.is_finite(log_prob), log_prob, 0)
            total = tf.reduce_sum(possible)
        return log_prob, tape.gradient(total, parameters)

    return gradients


@pytest.mark.parametrize(
    "mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NormalLeaf", 1e30),
        ("Gumbel", -300.0),
        pytest.param("NormalLeaf", 3.4e38, marks=pytest.mark.slow),
    ],
)
def test_a_value_that_overflows_leaves_other_examples_alone(mode, name, value) -> None:
    """In circuits whose leaf regions have one variable, and several.

    Beside the same examples once more, whose gradients come twice: one trace does both.
    """
    for depth in (2, 1):
        run = MODES[mode](gradients_of(circuit_of(name, depth)))
        x = np.abs(np.random.default_rng(1).normal(size=[3, 4])).astype("float32")
        extreme = np.concatenate([x, x])
        extreme[3:, 0] = value
        log_prob, found = run(extreme)
        assert np.all(log_prob[3:] == -np.inf)
        for gradient, twice in zip(found, run(np.concatenate([x, x]))[1], strict=True):
            np.testing.assert_allclose(gradient, twice / 2, rtol=1e-5, atol=1e-6)


def test_batches_of_parameters_keep_their_gradients_apart() -> None:
    """Locations of two circuits, scales of both: one value overflows in one of them."""
    leaf = layers.LaplaceLeaf(K, scale_trainable=True)
    leaf.build((None, 1, 1, 1))
    layout = LeafLayout(((0,),), 1, 1)
    location = tf.reshape(tf.linspace(-1.0, 1.0, 2 * K), [2, 1, K, 1])
    scale = tf.reshape(tf.constant([-2.0, 0.5, 60.0]), [1, K, 1])

    def gradients(x, location):
        x = tf.constant(x, tf.float32)[..., tf.newaxis, tf.newaxis, :]
        params = {"location": location, "scale": scale}
        with tf.GradientTape() as tape:
            tape.watch([x, params])
            log_prob = leaf.region_log_prob(params, x, None, layout)
            total = tf.reduce_sum(tf.where(log_prob > -math.inf, log_prob, 0))
        return tape.gradient(total, [x, params["location"], params["scale"]])

    extreme, usual = [[0.3, 3.4e38], [0.3, 0.5]], [[0.3], [0.3, 0.5]]
    d_x, d_location, d_scale = gradients(extreme, location)
    apart = [gradients(x, location[n]) for n, x in enumerate(usual)]
    overflowing = gradients(extreme[0][1:], location[0])  # of the wide component alone
    np.testing.assert_allclose(d_x[0, ..., 0], apart[0][0][..., 0], rtol=1e-5)
    np.testing.assert_allclose(d_x[1], apart[1][0], rtol=1e-5)
    np.testing.assert_allclose(d_location[0], apart[0][1] + overflowing[1], rtol=1e-5)
    np.testing.assert_allclose(d_location[1], apart[1][1], rtol=1e-5)
    total = apart[0][2] + apart[1][2] + overflowing[2]
    np.testing.assert_allclose(d_scale, total, rtol=1e-5)
    assert np.all(np.isfinite(overflowing[2]))
    assert overflowing[0].numpy() != 0
