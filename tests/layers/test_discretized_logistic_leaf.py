"""Rounded logistic leaves: probabilities, samples, and an M-step that climbs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize, stats

from tfp_spn import circuits, distributions, layers, learning, region_graphs
from tfp_spn.layers.leaves.grouped_logistic import Logistic, maximized
from tfp_spn.layers.leaves.layout import LeafLayout


def table(location, scale, num_values):
    """``p(x)`` in double precision, by survival functions in the upper half."""
    cuts = np.arange(num_values - 1) + 0.5
    logistic = stats.logistic(location, scale)
    cdf, rest = logistic.cdf(cuts), logistic.sf(cuts)
    lower = np.diff([0.0, *cdf, 1.0])
    return np.where(np.arange(num_values) < location, lower, -np.diff([1, *rest, 0]))


def one_leaf(location, scale, num_values, **arguments):
    """A leaf of a single component, over one variable of its own circuit."""
    leaf = layers.DiscretizedLogisticLeaf(
        1,
        num_values,
        location_initializer=lambda shape, dtype: tf.fill(
            shape, tf.constant(location / (num_values - 1), dtype)
        ),
        scale_initializer=lambda shape, dtype: tf.fill(
            shape, tf.constant(scale / (num_values - 1), dtype)
        ),
        **arguments,
    )
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(1), leaf, num_sums=1
    )
    return distributions.SumProductNetwork(circuit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_queries_of_a_component(dtype):
    for location, scale, num_values in [(1.2, 0.7, 5), (-3.0, 2.0, 4), (200, 9, 256)]:
        spn = one_leaf(location, scale, num_values, dtype=dtype)
        probs = table(location, scale, num_values)
        x = np.arange(num_values)
        log_prob = spn.log_prob(x[:, np.newaxis].astype(dtype))
        rtol = 1e-4 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(log_prob, np.log(probs), rtol=rtol, atol=rtol)
        mean = probs @ x
        np.testing.assert_allclose(spn.mean(), [mean], rtol=rtol)
        np.testing.assert_allclose(spn.variance(), [probs @ (x - mean) ** 2], rtol=rtol)
        assert spn.mode() == [probs.argmax()]
        cdf = spn.cdf(x[:, np.newaxis].astype(dtype))
        np.testing.assert_allclose(cdf, probs.cumsum(), rtol=rtol)
    draws = spn.sample(4000, seed=1).numpy()[:, 0]
    counts = np.bincount(draws // 16, minlength=16)
    expected = 4000 * probs.reshape(16, 16).sum(-1)
    kept = expected > 5
    # False alarm 1e-6, the seed is fixed.
    statistic = ((counts - expected) ** 2 / expected)[kept].sum()
    assert statistic < stats.chi2(kept.sum()).isf(1e-6)


def test_tails_have_all_digits():
    """400 scales away, where a difference of sigmoids is zero."""
    spn = one_leaf(0.0, 0.25, 101)
    got = spn.log_prob(np.float32([[100]]))
    np.testing.assert_allclose(got, [-(99.5 / 0.25)], rtol=1e-5)
    with tf.GradientTape() as tape:
        log_prob = spn.log_prob(np.float32([[50]]))
    for gradient in tape.gradient(log_prob, spn.trainable_variables):
        assert gradient is None or np.all(np.isfinite(gradient))


def objective(counts, location, scale):
    with np.errstate(divide="ignore"):
        log_probs = np.log(table(location, scale, len(counts)))
    return counts @ np.maximum(log_probs, -1e6)


def test_the_maximum_is_found_from_afar():
    rng = np.random.default_rng(0)
    cases = [
        np.bincount(np.clip(np.round(rng.logistic(m, s, 300)), 0, 15).astype(int))
        for m, s in [(7, 1.5), (1, 2.0), (14, 0.7), (8, 6.0)]
    ]
    counts = np.stack([np.pad(c, (0, 16 - len(c))) for c in cases]).astype(float)
    for start in [(7.5, 0.5), (-10.0, 0.2), (20.0, 0.1), (3.0, 10.0)]:
        found = Logistic(*(tf.fill([4], tf.constant(v, tf.float64)) for v in start))
        before = [objective(c, start[0], 1 / start[1]) for c in counts]
        for _ in range(6):
            found = maximized(found, counts, (-15.0, 30.0), (0.01, 20.0))
            after = [
                objective(c, m, 1 / a)
                for c, m, a in zip(counts, *map(np.array, found), strict=True)
            ]
            assert all(
                a >= b - 1e-9 * abs(b) for a, b in zip(after, before, strict=True)
            )
            before = after
        for c, value in zip(counts, after, strict=True):
            best = optimize.minimize(
                lambda p, c=c: -objective(c, p[0], np.exp(p[1])),
                [c @ np.arange(16) / c.sum(), 0.5],
                method="Nelder-Mead",
            )
            assert value > -best.fun - 1e-3


@pytest.mark.parametrize("step_size", [1.0, 0.3])
def test_m_steps_never_lower_the_likelihood(step_size):
    """Also of images that are nearly constant at the ends, as borders are."""
    rng = np.random.default_rng(0)
    x = np.stack([np.zeros(60), np.full(60, 9), np.arange(60) % 10, np.full(60, 4)], 1)
    x[:20] = rng.integers(0, 10, [20, 4])
    x[20:, 1] = 9
    circuit = circuits.from_region_graph(
        region_graphs.random_binary_trees(4, 1, 2, seed=0),
        layers.DiscretizedLogisticLeaf(2, num_categories=10, dtype="float64"),
        num_sums=2,
    )
    history = learning.fit(
        circuit,
        x.astype("int32"),
        epochs=12,
        pseudocount=0.0,
        step_size=step_size,
        initialize=True,
        verbose=False,
    )
    rises = np.diff(history.log_likelihood)
    assert rises.min() > -1e-9
    assert history.log_likelihood[-1] > history.log_likelihood[0] + 0.3
    location = circuit.live_params()["leaf_location"].numpy()
    assert np.all((location >= -1 - 1e-6) & (location <= 2 + 1e-6))


def test_a_component_without_examples_stays():
    leaf = layers.DiscretizedLogisticLeaf(2, num_categories=4, dtype="float64")
    leaf.add_parameters_of(LeafLayout(((0,),), 1))
    params = leaf.live_params()
    statistics = {
        "sums": tf.constant([[[[3.0, 0], [1, 0], [0, 0], [0, 0]]]], tf.float64),
        "count": tf.constant([[4.0, 0.0]], tf.float64),
    }
    new = leaf.maximize(params, statistics, tf.constant(1.0, tf.float64), 0.1)
    for name, value in params.items():
        assert new[name][0, 1] == value[0, 1]
        assert new[name][0, 0] != value[0, 0]


def test_of_two_values_and_of_one():
    for num_values in (1, 2):
        leaf = layers.DiscretizedLogisticLeaf(2, num_categories=num_values)
        circuit = circuits.from_region_graph(
            region_graphs.fully_factorized(2), leaf, num_sums=1
        )
        x = np.zeros([4, 2], np.int32)
        learning.fit(circuit, x, epochs=2, pseudocount=0.0, verbose=False)
        assert np.all(circuit(x) > np.log(0.2))
        if num_values == 1:
            np.testing.assert_allclose(circuit(x), 0.0, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="above 0. Received min_scale=0.0"):
        layers.DiscretizedLogisticLeaf(2, 4, min_scale=0.0)
    with pytest.raises(ValueError, match="`num_categories` must be at least 1"):
        layers.DiscretizedLogisticLeaf(2, 0)
