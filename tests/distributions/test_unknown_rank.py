"""Queries of values whose rank a graph does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfp_spn

RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, [3, 2, 4]).astype("float32")
MASK = RNG.random([3, 2, 4]) < 0.5
CIRCUIT = tfp_spn.circuits.from_region_graph(
    tfp_spn.region_graphs.random_binary_trees(4, 2, 2, seed=0),
    tfp_spn.layers.BernoulliLeaf(2),
    num_sums=2,
    num_classes=2,
)
SPN = tfp_spn.distributions.SumProductNetwork(CIRCUIT)
CHECKED = SPN.copy(validate_args=True)
CONDITIONED = SPN.condition(X[0], observed=[True, False, False, True])
BATCH = SPN.copy(params={k: tf.stack([v, 2 * v]) for k, v in SPN.params.items()})
STEPS = tfp_spn.circuits.dynamic_from_circuit(
    tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(4),
        tfp_spn.layers.BernoulliLeaf(2),
        num_sums=2,
        num_classes=2,
    ),
    num_steps=2,
)
SEQUENCES = tfp_spn.distributions.DynamicSumProductNetwork(STEPS)
QUERIES = {
    "log_prob": SPN.log_prob,
    "log_cdf": SPN.log_cdf,
    "log_joint": SPN.log_joint,
    "classes": lambda x, **mask: SPN.posterior_marginal(x, **mask).logits,
    "checked": CHECKED.log_prob,
    "conditioned": CONDITIONED.log_prob,
    "conditioned_cdf": CONDITIONED.log_cdf,
    "survival": SPN.log_survival_function,
    "batch": BATCH.log_prob,
    "sequences": SEQUENCES.log_prob,
}


@pytest.mark.parametrize("name", QUERIES)
def test_values_of_unknown_rank(name: str) -> None:
    query: Any = QUERIES[name]
    value, flags = tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.bool)
    plain = tf.function(query, [value], autograph=False)
    masked = tf.function(
        lambda x, observed: query(x, observed=observed), [value, flags], autograph=False
    )
    same = {"rtol": 1e-5, "atol": 1e-6}
    inner = 2 if name == "sequences" else 1
    for x, mask in ((X, MASK), (X[0], MASK[0]), (X[:, :1], MASK)):
        if name == "sequences" and x.shape[-2] == 1:
            continue
        np.testing.assert_allclose(plain(x), query(x), **same)
        want = query(x, observed=mask)
        np.testing.assert_allclose(masked(x, mask), want, **same)
    if name not in ("batch", "conditioned", "conditioned_cdf", "sequences"):
        np.testing.assert_allclose(plain(X[0, 0]), query(X[0, 0]), **same)
    with pytest.raises(tf.errors.InvalidArgumentError, match="last axes"):
        plain(np.zeros([4, 4, 3], "float32")[..., : 4 - inner])


def test_retraced_functions_need_no_rank() -> None:
    function = tf.function(SPN.log_prob, reduce_retracing=True, autograph=False)
    for x in (X[0, 0], X[0], X):
        np.testing.assert_allclose(function(x), SPN.log_prob(x), rtol=1e-5)


def test_queries_that_need_a_rank_say_so() -> None:
    known = [True, False, False, True]
    for query in (
        lambda x: SPN.condition(x, known).mean(),
        lambda x: SPN.univariate_posteriors(x, known).mean(),
        lambda x: SPN.univariate_posteriors(x).mean(),
        lambda x: SEQUENCES.condition(x, [[True], [False]]).mean(),
        lambda x: CONDITIONED.condition(x, known).mean(),
    ):
        function = tf.function(query, [tf.TensorSpec(None)], autograph=False)
        with pytest.raises(ValueError, match="unknown rank.* tf.ensure_shape"):
            function(X)


def test_masks_of_unknown_rank_in_keras_calls() -> None:
    """Of values that are rounded, whose mask says which of them count."""
    graph = tfp_spn.region_graphs.random_binary_trees(4, 2, num_repetitions=1, seed=0)
    circuit = tfp_spn.from_region_graph(graph, tfp_spn.layers.NormalLeaf(2), 2)
    x = np.random.default_rng(0).normal(size=[8, 4])
    mask = x > 0

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float64),
            tf.TensorSpec(None, tf.bool),
        ]
    )
    def log_joint(x, mask):
        return circuit(x, observed=mask)

    want = circuit(x.astype(np.float32), observed=mask)
    np.testing.assert_allclose(log_joint(x, mask), want, rtol=1e-5)
