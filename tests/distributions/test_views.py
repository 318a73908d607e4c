"""What a view does beside its queries: copies, checks, partial batches, its cost."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, stacked_params
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork, _queries
from tfp_spn.distributions._event import Given

NORMAL, CLASSES = CASES["normal"](), CASES["classes"]()


def other_circuit(num_variables=4):
    graph = region_graphs.random_binary_trees(num_variables, 1, 1, seed=3)
    return circuits.from_region_graph(graph, layers.NormalLeaf(3), 2)


# --- copies -----------------------------------------------------------------------


def test_copy_with_another_circuit_has_its_parameters():
    other = other_circuit()
    d = NORMAL.distribution.copy(circuit=other, name="copied")
    want = SumProductNetwork(other)
    assert all(d.params[name] is value for name, value in want.params.items())
    np.testing.assert_allclose(d.log_prob(NORMAL.x), want.log_prob(NORMAL.x))
    smaller = NORMAL.distribution.copy(circuit=other_circuit(3))
    assert smaller.event_shape == (3,)
    pair = NORMAL.distribution.marginal([3, 1]).copy(circuit=other)
    np.testing.assert_allclose(
        pair.log_prob(NORMAL.x[:, :2]), want.marginal([3, 1]).log_prob(NORMAL.x[:, :2])
    )


def test_copy_keeps_parameters_of_its_own():
    params = stacked_params(NORMAL.circuit, (2,))
    d = SumProductNetwork(NORMAL.circuit, params)
    twin = CASES["normal"]().circuit
    copied = d.copy(circuit=twin)
    assert all(copied.params[name] is value for name, value in d.params.items())
    with pytest.raises(ValueError, match=r"params .*missing|parameter '.*' of shape"):
        d.copy(circuit=other_circuit())
    replaced = d.copy(circuit=twin, params=twin.live_params())
    assert replaced.batch_shape == ()


# --- checks of values --------------------------------------------------------------

CHECKED = CLASSES.distribution.copy(validate_args=True)
OUTSIDE = np.array([0, 1, 7, 0])
ASK = {
    "log_joint": lambda d, **kw: d.log_joint(OUTSIDE, **kw),
    "posterior_marginal": lambda d, **kw: d.posterior_marginal(OUTSIDE, **kw).logits,
    "posterior_mode": lambda d, **kw: d.posterior_mode(OUTSIDE, **kw),
    "univariate_posteriors": lambda d, **kw: (
        d.univariate_posteriors(OUTSIDE, **kw).probs
    ),
}


@pytest.mark.parametrize("query", ASK)
def test_values_are_checked(query):
    ask = ASK[query]
    for run in (ask, tf.function(ask)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="outside the supp"):
            run(CHECKED)
    hidden = [True, True, False, True]
    want = ask(CLASSES.distribution, observed=hidden)
    np.testing.assert_array_equal(ask(CHECKED, observed=hidden), want)
    assert ask(CLASSES.distribution).shape == want.shape  # unchecked: no error


def test_a_mask_needs_a_value():
    with pytest.raises(ValueError, match="observed without a value, expected both or"):
        NORMAL.distribution.univariate_posteriors(observed=[True, False, True, True])


# --- batches and masks known in part -------------------------------------------------


@pytest.mark.parametrize("parameter", ["leaf_scale", "leaf_location", "sums_0"])
def test_covariance_of_a_single_batched_parameter(parameter):
    params = NORMAL.circuit.live_params()
    params[parameter] = stacked_params(NORMAL.circuit, (2,))[parameter]
    d = SumProductNetwork(NORMAL.circuit, params)
    observed = [True, False, False, False]
    got = d.covariance(), d.condition(NORMAL.x[:, None], observed).covariance()
    assert (got[0].shape, got[1].shape) == ((2, 4, 4), (4, 2, 4, 4))
    for member in range(2):
        one = {**params, parameter: params[parameter][member]}
        spn = SumProductNetwork(NORMAL.circuit, one)
        given = spn.condition(NORMAL.x, observed).covariance()
        np.testing.assert_allclose(got[0][member], spn.covariance(), atol=1e-5)
        np.testing.assert_allclose(got[1][:, member], given, rtol=1e-4, atol=1e-5)


def test_masks_of_unknown_shape():
    d, x = NORMAL.distribution, NORMAL.x
    observed = np.arange(16).reshape(4, 4) % 3 > 0

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.bool)])
    def queries(observed):
        result = d.log_prob(x, observed=observed)
        assert result.shape.as_list() in ([4], [None])
        return result, d.condition(x, observed).mean()

    got, mean = queries(observed)
    np.testing.assert_allclose(got, d.log_prob(x, observed=observed), rtol=1e-5)
    np.testing.assert_allclose(mean, d.condition(x, observed).mean(), rtol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        queries(observed[:, :2])

    @tf.function(input_signature=[tf.TensorSpec(None, tf.bool)])
    def unknown_rank(observed):
        return d.log_prob(x, observed=observed)

    want = d.log_prob(x, observed=observed)
    np.testing.assert_allclose(unknown_rank(observed), want, rtol=1e-5)


def test_gradients_over_an_unknown_number_of_examples():
    """Of the input and of parameters, which a conditional of the graph takes in."""
    spn = NORMAL.distribution

    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(spn.log_prob(x))
        return tape.gradient(total, [x, *spn.trainable_variables])

    signature = [tf.TensorSpec([None, 4])]
    dynamic = tf.function(gradients, input_signature=signature, autograph=False)
    x = tf.constant(NORMAL.x)
    for got, want in zip(dynamic(x), gradients(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


# --- cost ---------------------------------------------------------------------------


@pytest.mark.compiled
def test_eager_overhead():
    """Of the distribution over a compiled pure function: at most 0.3 ms."""
    circuit = NORMAL.circuit
    program, params = circuit.program, circuit.live_params()
    spn, x = SumProductNetwork(circuit), tf.constant(NORMAL.x)

    @tf.function(autograph=False)
    def pure(x):
        return _queries.log_prob(spn._event, program.tables(params), Given(x))

    functions = {"pure": pure, "distribution": spn.log_prob}
    times = {name: [] for name in functions}
    for _ in range(400):
        for name, function in functions.items():
            start = time.perf_counter()
            function(x)
            times[name].append(time.perf_counter() - start)
    # The least of many: what the machine does besides only adds.
    overhead = min(times["distribution"]) - min(times["pure"])
    assert overhead < 0.3e-3


def test_equal_conditional_views_share_a_trace():
    c = CASES["conditional batch"]()
    traces = []

    @tf.function
    def log_prob(d):
        traces.append(1)
        return d.log_prob(c.batched_x)

    params = c.distribution.params
    for _ in range(3):
        log_prob(SumProductNetwork(c.circuit, dict(params)))
    assert len(traces) == 1


def test_an_event_of_unknown_size_is_never_broadcast():
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=0)
    circuit = circuits.from_region_graph(graph, layers.NormalLeaf(2), 2)
    spn = SumProductNetwork(circuit)
    signature = [tf.TensorSpec([None, None], tf.float32)]
    compiled = tf.function(spn.log_prob, input_signature=signature)
    x = tf.zeros([3, 4])
    np.testing.assert_allclose(compiled(x), spn.log_prob(x), rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        compiled(x[:, :1])
