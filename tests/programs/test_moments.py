"""Variances and covariances that are small beside what their terms are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn import circuits, distributions, layers, region_graphs

RTOL = 1e-4


def mixture(leaf: Any, num_variables: int = 2) -> circuits.Circuit:
    return circuits.from_region_graph(
        region_graphs.fully_factorized(num_variables),
        leaf=leaf,
        num_sums=leaf.num_components,
        leaf_sums=False,
    )


@pytest.mark.parametrize("log_odds", [np.log(99), 7.0, 12.0, -12.0])
def test_variance_of_categories(log_odds: float) -> None:
    circuit = mixture(layers.CategoricalLeaf(1, num_categories=256), 1)
    logits = np.full([1, 1, 256, 1], -60.0)
    logits[0, 0, 255], logits[0, 0, 254] = 0.0, -log_odds
    circuit.live_params()["leaf_logits"].assign(logits)
    p = scipy.special.expit(log_odds)
    expected = p * scipy.special.expit(-log_odds)
    spn = distributions.SumProductNetwork(circuit)
    np.testing.assert_allclose(spn.variance(), [expected], rtol=RTOL)
    np.testing.assert_allclose(spn.covariance(), [[expected]], rtol=RTOL)
    np.testing.assert_allclose(spn.stddev(), [expected**0.5], rtol=RTOL)


def far_apart(locations: np.ndarray, scale: float = 1.0) -> circuits.Circuit:
    """Of as many components as there are rows of locations."""
    leaf = layers.NormalLeaf(len(locations), min_scale=0.0)
    circuit = mixture(leaf, locations.shape[1])
    params = circuit.live_params()
    params["leaf_location"].assign(locations.T[..., np.newaxis])
    raw = np.log(np.expm1(scale))
    params["leaf_scale"].assign(np.full(params["leaf_scale"].shape, raw))
    params["sums_0"].assign(np.zeros(params["sums_0"].shape))
    return circuit


LOCATIONS = np.array([[0.0, 0.0], [4000.0, 500.0], [4001.0, 502.0]])


def test_moments_of_one_of_several_far_clusters() -> None:
    circuit = far_apart(LOCATIONS)
    circuit.live_params()["sums_0"].assign([[[-30.0], [1.0], [1.0]]])
    weights = np.exp([-30.0, 1.0, 1.0])
    weights /= weights.sum()
    mean = weights @ LOCATIONS
    shift = LOCATIONS - mean
    expected = (weights[:, np.newaxis] * shift).T @ shift + np.eye(2)
    spn = distributions.SumProductNetwork(circuit)
    np.testing.assert_allclose(spn.mean(), mean, rtol=1e-6)
    np.testing.assert_allclose(spn.variance(), np.diag(expected), rtol=RTOL)
    np.testing.assert_allclose(spn.covariance(), expected, rtol=1e-2)


def test_moments_given_evidence_that_chooses_a_cluster() -> None:
    spn = distributions.SumProductNetwork(far_apart(LOCATIONS))
    given = spn.condition(np.array([[4000.5, 0.0]]), [True, False])
    np.testing.assert_allclose(given.variance(), [[0.0, 2.0]], rtol=RTOL)
    np.testing.assert_allclose(given.mean(), [[4000.5, 501.0]], rtol=1e-6)
    narrow = distributions.SumProductNetwork(far_apart(LOCATIONS, scale=1e-3))
    given = narrow.condition(np.array([[4000.0, 0.0]]), [True, False])
    np.testing.assert_allclose(given.variance(), [[0.0, 1e-6]], rtol=RTOL)


def test_variance_of_counts_of_which_evidence_chooses_a_component() -> None:
    circuit = mixture(layers.BinomialLeaf(2, total_count=10**6))
    logits = np.array([[-8.0, 8.0], [0.0, 14.0]])
    circuit.live_params()["leaf_logits"].assign(logits[..., np.newaxis])
    spn = distributions.SumProductNetwork(circuit)
    p, q = scipy.special.expit(logits[1]), scipy.special.expit(-logits[1])
    given = spn.condition([[10**6 - 335, 0], [335, 0]], [True, False])
    np.testing.assert_allclose(given.variance()[:, 1], (1e6 * p * q)[::-1], rtol=RTOL)


def test_moments_of_sequences() -> None:
    template = far_apart(LOCATIONS, scale=1e-2)
    dynamic = circuits.dynamic_from_circuit(template, num_steps=3)
    spn = distributions.DynamicSumProductNetwork(dynamic)
    given = spn.condition(np.full([3, 2], 4000.0), [[True, False]] * 3)
    expected = [[0.0, 1e-4]] * 3
    np.testing.assert_allclose(given.variance(), expected, rtol=RTOL)


HEAVY_TAILED = {
    "Pareto": ("concentration", [0.9, 1.5, 4.0], {"scale": 1.0}),
    "StudentT": ("df", [0.9, 1.5, 4.0], {"loc": 1.0, "scale": 2.0}),
    "InverseGamma": ("concentration", [0.9, 1.5, 4.0], {"scale": 1.0}),
    "LogLogistic": ("scale", [1.2, 0.7, 0.1], {"loc": 0.0}),
    "HalfCauchy": ("scale", [1.0, 2.0, 3.0], {"loc": 0.0}),
}
WEIGHTS = [[0, 0, 1], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 1, 1]]


def components(family: str) -> Any:
    name, values, constants = HEAVY_TAILED[family]
    numbers = {k: np.float64(v) for k, v in constants.items()}
    return getattr(tfd, family)(**{name: np.array(values)}, **numbers)


def heavy_tailed(family: str) -> tuple[circuits.Circuit, np.ndarray, np.ndarray]:
    """A mixture of three, and means and variances of its components."""
    name, values, constants = HEAVY_TAILED[family]
    start = {name: keras.initializers.Constant(values)}
    leaf = layers.DistributionLeaf(
        family, 3, initializers=start, constants=constants, dtype="float64"
    )
    of = components(family)
    moments = [of.mean().numpy(), of.variance().numpy()]
    if family != "StudentT":  # which alone may take any value
        moments = [np.where(np.isnan(value), np.inf, value) for value in moments]
    return mixture(leaf), *moments


def moments(weights: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple:
    """Of a mixture; components of weight zero do not count."""
    counts = weights > 0
    weights, mean, variance = weights[counts], mean[counts], variance[counts]
    total = weights @ mean / weights.sum()
    if not np.isfinite(total):
        return total, total
    return total, weights @ (variance + (mean - total) ** 2) / weights.sum()


@pytest.mark.parametrize("family", HEAVY_TAILED)
def test_infinite_and_undefined_moments_are_those_of_the_family(family: str) -> None:
    circuit, mean, variance = heavy_tailed(family)
    spn = distributions.SumProductNetwork(circuit)
    x, observed = np.array([1.7, 0.0]), np.array([True, False])
    given = spn.condition(x, observed)
    density = components(family).prob(np.float64(x[0])).numpy()
    for weights in np.array(WEIGHTS, float):
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
        circuit.live_params()["sums_0"].assign(log_weights[np.newaxis, :, np.newaxis])
        want = moments(weights, mean, variance)
        for found in (spn, spn.univariate_posteriors()):
            np.testing.assert_allclose(found.mean(), [want[0]] * 2, rtol=1e-6)
            np.testing.assert_allclose(found.variance(), [want[1]] * 2, rtol=1e-6)
        want = moments(weights * density, mean, variance)
        np.testing.assert_allclose(given.mean(), [x[0], want[0]], rtol=1e-6)
        np.testing.assert_allclose(given.variance(), [0.0, want[1]], rtol=1e-6)


def test_covariance_of_variables_with_infinite_moments() -> None:
    circuit, mean, _ = heavy_tailed("Pareto")
    spn = distributions.SumProductNetwork(circuit)
    for weights in (np.array([0.0, 0.25, 0.75]), np.array([0.2, 0.2, 0.6])):
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
        circuit.live_params()["sums_0"].assign(log_weights[np.newaxis, :, np.newaxis])
        shift = mean[1:] - weights[1:] @ mean[1:]
        between = np.nan if weights[0] else weights[1:] @ shift**2
        want = [[np.inf, between], [between, np.inf]]
        np.testing.assert_allclose(spn.covariance(), want, rtol=1e-6)
        known = [[0.0, 0.0], [0.0, np.inf]]
        given = spn.condition(np.array([1.7, 0.0]), np.array([True, False]))
        np.testing.assert_allclose(given.covariance(), known, rtol=1e-6)


def test_undefined_moments_of_parameters_raise_where_nan_is_not_allowed() -> None:
    circuit = heavy_tailed("StudentT")[0]
    spn = distributions.SumProductNetwork(circuit, allow_nan_stats=False)
    for query in (spn.mean, spn.variance, spn.covariance):
        with pytest.raises(tf.errors.InvalidArgumentError, match="is undefined under"):
            query()
    circuit.live_params()["sums_0"].assign([[[-np.inf], [-np.inf], [0.0]]])
    np.testing.assert_allclose(spn.mean(), [1.0, 1.0])


def test_moments_of_steps_may_be_infinite() -> None:
    circuit, _, _ = heavy_tailed("Pareto")
    dynamic = circuits.dynamic_from_circuit(circuit, num_steps=2)
    spn = distributions.DynamicSumProductNetwork(dynamic)
    assert np.all(np.asarray(spn.mean()) == np.inf)
    assert np.all(np.asarray(spn.variance()) == np.inf)
