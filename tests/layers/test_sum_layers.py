"""Values and learning rules of the sum layers against plain loops."""

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.slow_sums import gradients, log_sum
from tests.layers.stacks import PLAIN_RULES, RULES, set_accumulators
from tfp_spn import constraints, layers, set_default_accumulator_initializer
from tfp_spn.initializers import Dirichlet
from tfp_spn.ops.weights import normalized_weights

EXECUTIONS = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}
each_rule = pytest.mark.parametrize("rule", RULES)
each_plain_rule = pytest.mark.parametrize("rule", PLAIN_RULES)
each_execution = pytest.mark.parametrize(
    "wrap", EXECUTIONS.values(), ids=list(EXECUTIONS)
)


def value_and_gradients(layer, x, flow, wrap=lambda f: f):
    """Output, and what ``flow = dL/dy`` sends to children and accumulators."""

    @wrap
    def run(x, flow):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, [x, layer.accumulators.value], flow)

    y, (dx, dw) = run(tf.constant(x), tf.constant(flow))
    return y.numpy(), dx.numpy(), dw.numpy()


def random_sum(rng, rule, shape, num_sums=3, dtype="float64"):
    """A layer with known weights ``[scopes, decomps, I, O]``, children and a flow."""
    layer = layers.DenseSum(num_sums, sum_op=RULES[rule], dtype=dtype)
    layer.build(shape)
    weights = rng.uniform(0.2, 3.0, layer.accumulators.shape)
    set_accumulators(layer, weights)
    x = rng.normal(size=shape, scale=2.0).astype(dtype)
    flow = rng.normal(size=(*shape[:3], num_sums)).astype(dtype)
    return layer, weights, x, flow


@each_plain_rule
@each_execution
def test_dense_sum_is_the_plain_loop(rule, wrap):
    rng = np.random.default_rng(0)
    layer, weights, x, flow = random_sum(rng, rule, (6, 2, 2, 4))
    y, dx, dw = value_and_gradients(layer, x, flow, wrap)
    for s in range(2):
        for d in range(2):
            log_x, w, g = x[:, s, d], weights[s, d], flow[:, s, d]
            np.testing.assert_allclose(y[:, s, d], log_sum(log_x, w), rtol=1e-10)
            want_dx, want_dw = gradients(rule, log_x, w, g)
            np.testing.assert_allclose(dx[:, s, d], want_dx, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(dw[s, d], want_dw, rtol=1e-8, atol=1e-10)


@each_plain_rule
def test_root_is_the_plain_loop(rule):
    rng = np.random.default_rng(1)
    root = layers.RootSum(False, sum_op=RULES[rule], dtype="float64")
    x, flow = rng.normal(size=(6, 1, 2, 3)), rng.normal(size=(6, 1))
    root.build(x.shape)
    weights = rng.uniform(0.2, 3.0, (6, 1))
    set_accumulators(root, weights[np.newaxis, np.newaxis])
    y, dx, dw = value_and_gradients(root, x, flow)
    log_x = x.reshape(6, 6)
    np.testing.assert_allclose(y, log_sum(log_x, weights), rtol=1e-10)
    want_dx, want_dw = gradients(rule, log_x, weights, flow)
    np.testing.assert_allclose(dx.reshape(6, 6), want_dx, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(dw[0, 0], want_dw, rtol=1e-8, atol=1e-10)


@each_rule
def test_weighted_children_of_the_root(rule):
    """Children receive the flow itself, accumulators its sum over examples."""
    rng = np.random.default_rng(2)
    root = layers.RootSum(sum_op=RULES[rule], dtype="float64")
    x, flow = rng.normal(size=(6, 1, 2, 2)), -rng.uniform(size=(6, 4))
    root.build(x.shape)
    w = rng.uniform(0.2, 3.0, 4)
    set_accumulators(root, w.reshape(1, 1, 4, 1))
    y, dx, dw = value_and_gradients(root, x, flow)
    p, counts = w / w.sum(), flow.sum(0)
    np.testing.assert_allclose(y, x.reshape(6, 4) + np.log(p), rtol=1e-10)
    np.testing.assert_array_equal(dx.reshape(6, 4), flow)
    expected = {
        "grad": counts - p * counts.sum(),
        "grad_linear": (counts - p * counts.sum()) / w,
        "em": counts / abs(counts.sum()),
    }.get(rule, counts)
    np.testing.assert_allclose(dw.ravel(), expected, rtol=1e-9)


def test_gradient_is_autodiff_of_a_plain_logsumexp():
    rng = np.random.default_rng(3)
    layer, _, x, flow = random_sum(rng, "grad", (6, 2, 2, 4))
    accumulators = tf.constant(layer.accumulators)
    x_ = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch([x_, accumulators])
        log_w = tf.nn.log_softmax(accumulators, axis=-2)
        y = tf.reduce_logsumexp(x_[..., tf.newaxis] + log_w, axis=-2)
    want = tape.gradient(y, [x_, accumulators], tf.constant(flow))
    got = value_and_gradients(layer, x, flow)
    np.testing.assert_allclose(got[0], y, rtol=1e-12)
    for have, expected in zip(got[1:], want, strict=True):
        np.testing.assert_allclose(have, expected, rtol=1e-9, atol=1e-12)


def test_a_loss_gives_em_counts_the_sign_of_descent():
    rng = np.random.default_rng(4)
    layer, weights, x, _ = random_sum(rng, "em", (6, 1, 1, 4))
    _, _, dw = value_and_gradients(layer, x, np.full([6, 1, 1, 3], -1 / 6))
    np.testing.assert_allclose(dw.sum(-2), -1.0)
    joint = np.exp(x[:, 0, 0, :, np.newaxis]) * weights[0, 0] / weights[0, 0].sum(0)
    posterior = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(-dw[0, 0], posterior.mean(0), rtol=1e-9)


@pytest.mark.parametrize("rule", ["hard_em", "unweighted_hard_em"])
def test_ties_go_to_one_winner_at_random(rule):
    num_examples = 400
    layer = layers.DenseSum(2, False, "ones", RULES[rule])
    rng = np.random.default_rng(5)
    # Children 1 and 2 tie; their common level makes the examples differ.
    level = rng.normal(size=(num_examples, 1, 1, 1))
    x = (level + np.array([-1.0, 0, 0])).astype("float32")
    layer.build(x.shape)
    flow = np.ones([num_examples, 1, 1, 2], "float32")
    _, dx, dw = value_and_gradients(layer, x, flow)
    again = value_and_gradients(layer, x, flow)
    np.testing.assert_array_equal(dx, again[1])
    assert set(dx.ravel()) <= {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(dx.sum(-1), 2.0)
    np.testing.assert_array_equal(dx[..., 0], 0.0)
    np.testing.assert_array_equal(dw.sum(-2), num_examples)
    if rule == "unweighted_hard_em":  # one winner for all sums
        assert set(dx.ravel()) == {0.0, 2.0}
    # Binomial(400, 1/2) leaves [130, 270] with probability 1e-12.
    assert np.all((dw[0, 0, 1:] > 130) & (dw[0, 0, 1:] < 270))


@each_rule
@pytest.mark.parametrize(
    ("wrap", "dtype"),
    [
        (EXECUTIONS["eager"], "float32"),
        (EXECUTIONS["eager"], "float64"),
        (EXECUTIONS["xla"], "float32"),
    ],
    ids=["eager", "float64", "xla"],
)
def test_impossible_regions_give_no_nan(rule, wrap, dtype):
    rng = np.random.default_rng(6)
    layer, _, x, flow = random_sum(rng, rule, (4, 2, 1, 3), dtype=dtype)
    x[0] = -np.inf  # one example
    x[1, 0, 0, 1] = -np.inf  # one child
    y, dx, dw = value_and_gradients(layer, x, flow, wrap)
    assert np.all(np.isneginf(y[0]))
    assert np.all(np.isfinite(y[1:]))
    np.testing.assert_array_equal(dx[0], 0)
    assert dx[1, 0, 0, 1] == 0
    assert np.all(np.isfinite(dx))
    assert np.all(np.isfinite(dw))
    x[:] = -np.inf  # everything
    y, dx, dw = value_and_gradients(layer, x, flow, wrap)
    assert np.all(np.isneginf(y))
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(dw, 0)


@each_rule
def test_outputs_far_below_the_largest_child_are_exact(rule):
    layer = layers.DenseSum(2, sum_op=RULES[rule])
    x = np.array([0.0, -300.0], "float32").reshape(1, 1, 1, 2)
    layer.build(x.shape)
    tiny = 1e-30
    weights = np.array([[1 - tiny, tiny], [tiny, 1 - tiny]])
    set_accumulators(layer, weights.reshape(1, 1, 2, 2))
    y = layer(x).numpy().ravel()
    np.testing.assert_allclose(y, [0.0, np.log(tiny)], atol=1e-4)


def test_a_zero_weight_stays_out():
    layer = layers.DenseSum(1, False, "zeros", linear_accumulator_constraint=None)
    layer.build((1, 1, 1, 2))
    layer.accumulators.assign([[[[0.0], [2.0]]]])
    y, dx, dw = value_and_gradients(
        layer, np.zeros([1, 1, 1, 2], "float32"), np.ones([1, 1, 1, 1], "float32")
    )
    assert y.item() == 0
    assert dx.ravel().tolist() == [0, 1]
    assert np.all(np.isfinite(dw))


@pytest.mark.parametrize("returns_children", [True, False])
def test_classes_begin_with_equal_priors(returns_children):
    root = layers.RootSum(returns_children)
    root.build((None, 1, 2, 3))
    np.testing.assert_allclose(root.log_weights(), np.full([1, 1, 6, 1], -np.log(6)))
    again = layers.RootSum.from_config(root.get_config())
    assert again.get_config() == root.get_config()
    with set_default_accumulator_initializer(Dirichlet(alpha=0.3)):
        assert layers.RootSum().accumulator_initializer.alpha == 0.3


@pytest.mark.parametrize("name", ["DenseSum", "RootSum"])
def test_sums_whose_weights_were_all_pushed_below_zero_are_uniform(name):
    layer = getattr(layers, name)(
        *([2] if name == "DenseSum" else [False]),
        logspace_accumulators=False,
        linear_accumulator_constraint=constraints.Clip(-2, -1),
    )
    x = np.log([0.2, 0.6]).astype("float32").reshape(1, 1, 1, 2)
    layer.build(x.shape)
    layer.accumulators.assign(-tf.ones_like(layer.accumulators))
    np.testing.assert_allclose(np.exp(layer(x)), np.full(layer(x).shape, 0.4), 1e-6)
    weights = normalized_weights(layer.accumulators.value, logspace=False)
    np.testing.assert_allclose(weights, np.full(weights.shape, 0.5))
