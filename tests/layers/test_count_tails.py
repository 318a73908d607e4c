"""Tails of large counts and of narrow Gamma distributions keep their digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers.leaves.incomplete_gamma import log_gamma_tail

SIZES = (1e3, 1e5, 1e7, 1e9)


def spn_of(leaf: Any, value: float) -> SumProductNetwork:
    """One variable, one component, whose first parameter has this value."""
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(1), leaf=leaf, num_sums=1, leaf_sums=False
    )
    first = next(iter(circuit.leaf.parameters.values()))
    first.assign(np.full(first.shape, value))
    return SumProductNetwork(circuit)


def poisson(size: float) -> tuple[SumProductNetwork, Any]:
    log_rate = np.float32(np.log(size))
    judge = scipy.stats.poisson(np.exp(np.float64(log_rate)))
    return spn_of(layers.DistributionLeaf("Poisson", 1), log_rate), judge


def binomial(size: float) -> tuple[SumProductNetwork, Any]:
    judge = scipy.stats.binom(int(size), 0.5)
    return spn_of(layers.BinomialLeaf(1, int(size)), 0.0), judge


def negative_binomial(size: float) -> tuple[SumProductNetwork, Any]:
    leaf = layers.DistributionLeaf(
        "NegativeBinomial", 1, constants={"total_count": size}
    )
    return spn_of(leaf, 0.0), scipy.stats.nbinom(size, 0.5)


@pytest.mark.parametrize("make", [poisson, binomial, negative_binomial])
def test_large_counts(make: Any) -> None:
    for size in SIZES:
        spn, judge = make(size)
        mean, deviation = judge.mean(), judge.std()
        x = np.float32(np.round(mean + deviation * np.array([-3, -0.5, 0.5, 3])))
        x = x.astype(np.float64)[:, np.newaxis]
        np.testing.assert_allclose(spn.cdf(x), judge.cdf(x)[:, 0], rtol=2e-5)
        for got in (spn, spn.univariate_posteriors()):
            survival = np.ravel(got.log_survival_function(x))
            np.testing.assert_allclose(survival, judge.logsf(x)[:, 0], rtol=2e-5)
        np.testing.assert_allclose(
            np.ravel(spn.univariate_posteriors().cdf(x)), judge.cdf(x)[:, 0], rtol=2e-5
        )


def test_incomplete_gamma_functions() -> None:
    c = np.array([0.1, 1.0, 100.0, 9.9e3, 1.01e4, 1e5, 1e6])[:, np.newaxis]
    z = np.array([-6, -3, -1, -0.01, 0.0, 1e-4, 0.5, 3, 6])
    c, x = np.broadcast_arrays(c, np.maximum(c + z * np.sqrt(c), 1e-3))
    for is_upper, judge in (
        (False, scipy.special.gammainc),
        (True, scipy.special.gammaincc),
    ):
        with tf.GradientTape() as tape:
            concentration = tf.constant(c)
            tape.watch(concentration)
            got = log_gamma_tail(concentration, tf.constant(x), is_upper)
        np.testing.assert_allclose(got, np.log(judge(c, x)), rtol=1e-7, atol=1e-9)
        slope = (judge(c * (1 + 1e-6), x) - judge(c * (1 - 1e-6), x)) / (2e-6 * c)
        found = tape.gradient(got, concentration).numpy() * judge(c, x)
        inner = np.abs(z) <= 1
        np.testing.assert_allclose(found[:, inner], slope[:, inner], rtol=1e-3)
        ends = log_gamma_tail(
            tf.fill([3], tf.constant(1e5, tf.float64)),
            tf.constant([0.0, 1e60, np.inf], tf.float64),
            is_upper,
        ).numpy()
        assert ends[0] == (0 if is_upper else -np.inf)
        if is_upper:
            np.testing.assert_allclose(ends[1:], [-1e60, -np.inf], rtol=1e-6)
        else:
            np.testing.assert_array_equal(ends[1:], 0)


def test_deep_tails_of_gamma_distributions() -> None:
    """By the first terms of a continued fraction, and of a series."""
    c = 2e4
    for x in (3e4, 1e5, 1e9):
        got = log_gamma_tail(
            tf.constant(c, tf.float64), tf.constant(x, tf.float64), True
        )
        fraction = x + 1 - c - (1 - c) / (x + 3 - c - 2 * (2 - c) / (x + 5 - c))
        want = c * np.log(x) - x - scipy.special.gammaln(c) - np.log(fraction)
        np.testing.assert_allclose(got, want, rtol=1e-5)
    for x in (1e4, 1e2, 1e-3):
        got = log_gamma_tail(
            tf.constant(c, tf.float64), tf.constant(x, tf.float64), False
        )
        series = 1 + x / (c + 1) * (1 + x / (c + 2) * (1 + x / (c + 3) * 2))
        want = c * np.log(x) - x - scipy.special.gammaln(c + 1) + np.log(series)
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_upper_tails_beyond_the_smallest_number() -> None:
    half = spn_of(layers.DistributionLeaf("HalfNormal", 1), 0.0)
    weibull = spn_of(
        layers.DistributionLeaf("Weibull", 1, constants={"concentration": 2.0}), 0.0
    )
    for spn, log_survival in (
        (half, lambda x, s: np.log(2) + scipy.stats.norm.logsf(x / s)),
        (weibull, lambda x, s: -((x / s) ** 2)),
    ):
        leaf = spn.circuit.leaf
        scale = np.ravel(leaf.values(leaf.canonical(leaf.live_params()))["scale"])[0]
        for x in (1.0, 40.0, 1e4):
            got = spn.log_survival_function([x])
            np.testing.assert_allclose(got, log_survival(x, float(scale)), rtol=1e-4)
