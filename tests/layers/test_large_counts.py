"""Counts whose log-factorials have more digits than float32, or int32, can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs

SPREAD = np.array([-4.0, -1.0, 0.0, 0.5, 3.0])


def circuit_of(leaf: Any) -> circuits.Circuit:
    return circuits.from_region_graph(
        region_graphs.fully_factorized(1), leaf=leaf, num_sums=1, leaf_sums=False
    )


def poisson(rate: float, dtype: str = "float32") -> circuits.Circuit:
    leaf = layers.DistributionLeaf("Poisson", 1, {"log_rate": ()}, dtype=dtype)
    circuit = circuit_of(leaf)
    circuit.live_params()["leaf_log_rate"].assign([[[np.log(rate)]]])
    return circuit


@pytest.mark.parametrize("total_count", [255, 256, 10**5, 2**24])
def test_binomial_counts(total_count: int) -> None:
    leaf = layers.BinomialLeaf(1, total_count=total_count)
    family = layers.DistributionLeaf(
        "Binomial", 1, constants={"total_count": total_count}
    )
    for own in (leaf, family):
        circuit = circuit_of(own)
        logits = circuit.live_params()["leaf_logits"]
        spn = distributions.SumProductNetwork(circuit)
        for logit in (-0.75, 0.0, 4.0):
            logits.assign([[[logit]]])
            p = 1 / (1 + np.exp(-logit))
            spread = np.sqrt(total_count * p * (1 - p))
            x = np.round(total_count * p + spread * SPREAD).clip(0, total_count)
            x = np.concatenate([x, [0.0, total_count]])[:, np.newaxis]
            expected = scipy.stats.binom.logpmf(x[:, 0], total_count, p)
            is_float32 = total_count <= 255
            atol = 1e-4 if is_float32 else 0
            np.testing.assert_allclose(spn.log_prob(x), expected, 1e-5, atol)
            posterior = spn.univariate_posteriors().log_prob(x)[:, 0]
            np.testing.assert_allclose(posterior, expected, rtol=1e-5)
            mode = np.floor((total_count + 1) * p)
            np.testing.assert_allclose(spn.mode(), [mode], rtol=1e-6)
        outside = np.array([[total_count + 2.0], [-1.0], [0.5]])
        assert np.isneginf(spn.log_prob(outside)).all()


@pytest.mark.parametrize("rate", [0.3, 1e4, 1e10])
def test_poisson_counts(rate: float) -> None:
    x = np.round(rate + np.sqrt(rate) * SPREAD).clip(0)
    for dtype in ("float32", "float64"):
        circuit = poisson(rate, dtype)
        held = x.astype(dtype).astype("float64")
        stored = circuit.live_params()["leaf_log_rate"].numpy().astype("float64")
        stored = np.exp(stored).item()
        expected = scipy.stats.poisson.logpmf(held, stored)
        spn = distributions.SumProductNetwork(circuit)
        found = spn.log_prob(held[:, np.newaxis])
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        posterior = spn.univariate_posteriors().log_prob(held[:, np.newaxis])[:, 0]
        np.testing.assert_allclose(posterior, expected, rtol=1e-5)


def test_other_large_counts_are_those_of_double_precision() -> None:
    leaf = layers.DistributionLeaf(
        "NegativeBinomial", 1, constants={"total_count": 1000.0}
    )
    circuit = circuit_of(leaf)
    circuit.live_params()["leaf_logits"].assign([[[7.0]]])
    x = np.array([[900_000.0], [1_096_633.0], [1_200_000.0]])
    failure = 1 / (1 + np.exp(7.0))
    expected = scipy.stats.nbinom.logpmf(x[:, 0], 1000, failure)
    spn = distributions.SumProductNetwork(circuit)
    np.testing.assert_allclose(spn.log_prob(x), expected, rtol=1e-5)


def test_gradients_of_large_counts() -> None:
    n = 10**6
    circuit = circuit_of(layers.BinomialLeaf(1, total_count=n))
    logits = circuit.live_params()["leaf_logits"]
    spn = distributions.SumProductNetwork(circuit)
    for x, logit in ((300_000, -0.8), (0, -9.0), (n, 9.0), (0, 80.0), (n, -80.0)):
        logits.assign([[[float(logit)]]])
        with tf.GradientTape() as tape:
            log_prob = spn.log_prob([[float(x)]])
        gradient = tape.gradient(log_prob, logits)
        expected = x - n / (1 + np.exp(-logit))
        np.testing.assert_allclose(gradient, [[[expected]]], rtol=1e-4)


def test_samples_modes_and_evidence_above_int32() -> None:
    for dtype in ("float32", "float64"):
        spn = distributions.SumProductNetwork(poisson(5e9, dtype))
        x = np.array([[5_000_027_854]])
        given = spn.condition(x, [True])
        values = [spn.sample(3, seed=1), spn.mode(), given.sample(seed=1), given.mode()]
        for value in values:
            assert value.dtype == spn.dtype == tf.int64
            np.testing.assert_allclose(value, np.full(value.shape, 5e9), rtol=1e-4)
    many = circuit_of(layers.BinomialLeaf(1, total_count=2**31, dtype="float64"))
    assert distributions.SumProductNetwork(many).dtype == tf.int64
    few = circuit_of(layers.BinomialLeaf(1, total_count=2**31 - 1))
    assert distributions.SumProductNetwork(few).dtype == tf.int32


@pytest.mark.parametrize("total_count", [1000, 2**25])
def test_large_counts_in_regions_of_several_variables(total_count: int) -> None:
    leaf = layers.BinomialLeaf(2, total_count=total_count)
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=0)
    spn = distributions.SumProductNetwork(
        circuits.from_region_graph(graph, leaf=leaf, num_sums=2)
    )
    x = spn.sample(5, seed=1)
    observed = np.array([True, False, True, False])
    parts = spn.marginal([0, 2]).log_prob(tf.gather(x, [0, 2], axis=-1))
    np.testing.assert_allclose(spn.log_prob(x, observed=observed), parts, rtol=1e-6)
    chain = parts + spn.condition(x, observed).log_prob(x)
    np.testing.assert_allclose(chain, spn.log_prob(x), rtol=1e-5)
    best = spn.condition(x, observed).mode()
    assert (spn.log_prob(best) >= spn.log_prob(x) - 1e-3).numpy().all()
