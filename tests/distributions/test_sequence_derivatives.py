"""Derivatives and bad input of queries over sequences."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import (
    ConditionalSumProductNetwork,
    DynamicSumProductNetwork,
)

NUM_STEPS = 12  # more than the chains that are evaluated in log space


def normal_chain(dtype="float64", num_steps=NUM_STEPS):
    template = circuits.from_region_graph(
        region_graphs.fully_factorized(2),
        layers.NormalLeaf(2, scale_trainable=True, dtype=dtype),
        2,
        num_classes=3,
    )
    return circuits.dynamic_from_circuit(template, num_steps)


QUERIES = {
    "forecast": lambda d, x: d.condition(x, np.arange(NUM_STEPS)[:, None] < 5).mean(),
    "posterior_marginals": lambda d, x: d.posterior_marginals(x).probs_parameter() ** 2,
}


@pytest.mark.parametrize("query", QUERIES)
def test_gradients_of_queries_are_finite_differences(query):
    circuit = normal_chain()
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=[2, NUM_STEPS, 2]))
    location = circuit.live_params()["leaf_location"]
    location.assign(rng.normal(size=location.shape))
    result = QUERIES[query](DynamicSumProductNetwork(circuit), x)
    weights = tf.constant(rng.normal(size=result.shape))

    def loss(x):
        distribution = DynamicSumProductNetwork(circuit)
        return tf.reduce_sum(weights * QUERIES[query](distribution, x))

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    of_location, of_x = tape.gradient(value, [location, x])

    def difference(change):
        change(1e-5)
        high = loss(x)
        change(-2e-5)
        low = loss(x)
        change(1e-5)
        return (high - low) / 2e-5

    first = np.zeros(location.shape)
    first.flat[0] = 1
    want = difference(lambda step: location.assign_add(step * first))
    np.testing.assert_allclose(np.ravel(of_location)[0], want, rtol=1e-6)
    step = np.zeros(x.shape)
    step[0, 1, 0] = 1e-5
    want = (loss(x + step) - loss(x - step)) / 2e-5
    assert abs(want) > 1e-6
    np.testing.assert_allclose(of_x[0, 1, 0], want, rtol=1e-5)


def test_wrong_lengths_are_refused_in_functions_too():
    spn = DynamicSumProductNetwork(normal_chain("float32", num_steps=5))
    x = np.zeros([2, 5, 2], np.float32)
    with pytest.raises(ValueError, match=r"lengths \[0\] \(of the sequences at \(1,\)"):
        spn.log_prob(x, lengths=[5, 0])
    compiled = tf.function(lambda lengths: spn.log_prob(x, lengths=lengths))
    assert np.all(np.isfinite(compiled(tf.constant([5, 3]))))
    with pytest.raises(tf.errors.InvalidArgumentError, match="lengths from 1 to 5"):
        compiled(tf.constant([5, 9]))


@pytest.mark.parametrize("sum_product", [None, "tucker", "cp"])
def test_impossible_evidence_leaves_the_prior(sum_product):
    template = circuits.from_region_graph(
        region_graphs.fully_factorized(2), layers.BernoulliLeaf(2), 2, num_classes=3
    )
    arguments = {} if sum_product is None else {"num_interfaces": 2}
    circuit = circuits.dynamic_from_circuit(
        template, 4, sum_product=sum_product, **arguments
    )
    spn = DynamicSumProductNetwork(circuit)
    x = np.zeros([1, 4, 2], np.int32)
    x[0, 2] = 7
    prior = spn.prior_marginals().probs_parameter()
    for query in (spn.posterior_marginals, spn.filtered_marginals):
        probs = query(x).probs_parameter().numpy()
        np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(probs[0, 3], prior[3], rtol=1e-5)


@pytest.mark.parametrize("predicted", ["leaves", "root", "all"])
def test_features_may_predict_a_dynamic_circuit(predicted):
    circuit = normal_chain("float32", num_steps=3)
    layer = ConditionalSumProductNetwork(circuit, predicted)
    features = np.repeat([[1.0, 2.0], [0.0, 0.0]], [3, 1], axis=0)
    spn = layer(features.astype(np.float32))
    assert isinstance(spn, DynamicSumProductNetwork)
    assert spn.batch_shape == [4]
    log_prob = spn.log_prob(np.zeros([4, 3, 2], np.float32))
    np.testing.assert_allclose(log_prob[:3], log_prob[:1].numpy().repeat(3), rtol=1e-5)
    own = DynamicSumProductNetwork(circuit).log_prob(np.zeros([3, 2], np.float32))
    np.testing.assert_allclose(log_prob[3], own, rtol=1e-5)  # features of zero
    assert abs(log_prob[0] - own) > 1e-4
