"""Marginals of conditionals against quotients of marginals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tests.cases import CASES
from tests.learning.learning_cases import circuit_of, data_of
from tfp_spn import circuits, distributions, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork

X = data_of("normal", 3).astype(np.float32)
OBSERVED = np.array(
    [[True, False, True, False], [False, False, True, True], [False] * 4]
)
SPN = SumProductNetwork(circuit_of("normal", num_classes=2))
GIVEN = SPN.condition(X, observed=OBSERVED)


def test_it_is_the_quotient_of_marginals() -> None:
    chosen = np.array([3, 1])
    marginal = GIVEN.marginal(chosen)
    assert marginal.event_shape == (2,)
    assert marginal.batch_shape == (3,)
    asked = np.zeros(4, bool)
    asked[chosen] = True
    want = SPN.log_prob(X, observed=OBSERVED | asked) - GIVEN.log_evidence()
    have = marginal.log_prob(X[:, chosen])
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)
    one = SPN.log_prob(X, observed=OBSERVED | (np.arange(4) == 3))
    have = marginal.log_prob(X[:, chosen], observed=[True, False])
    np.testing.assert_allclose(have, one - GIVEN.log_evidence(), atol=1e-5)
    have = marginal.marginal([0]).log_prob(X[:, [3]])
    np.testing.assert_allclose(have, one - GIVEN.log_evidence(), atol=1e-5)
    have = marginal.log_prob(X[:, chosen] + [0, 9])  # only variable 3 of row 1 is known
    assert np.isfinite(have).all()
    have = marginal.log_prob(X[:, chosen] + [9, 0]).numpy()
    assert np.isneginf(have).tolist() == [False, True, False]


def test_statistics_are_those_of_the_variables() -> None:
    chosen = [2, 0, 1]
    marginal = GIVEN.marginal(chosen)
    for query in ("mean", "variance", "stddev", "mode"):
        want = getattr(GIVEN, query)().numpy()[:, chosen]
        np.testing.assert_allclose(getattr(marginal, query)(), want, rtol=1e-6)
    want = GIVEN.covariance().numpy()[:, chosen][:, :, chosen]
    np.testing.assert_allclose(marginal.covariance(), want, rtol=1e-6)
    drawn = marginal.sample(4, seed=(1, 2))
    want = GIVEN.sample(4, seed=(1, 2)).numpy()[..., chosen]
    np.testing.assert_array_equal(drawn, want)
    bounds = np.full([3, 3], np.inf, np.float32)
    np.testing.assert_allclose(marginal.cdf(bounds), 1.0, rtol=1e-6)
    both = marginal.condition(X[:, chosen], observed=[False, True, False])
    want = SPN.condition(X, observed=OBSERVED | [True, False, False, False])
    np.testing.assert_allclose(both.mean(), want.mean().numpy()[:, chosen], rtol=1e-5)


def test_it_is_a_distribution_among_others() -> None:
    marginal = GIVEN.marginal([3, 1])
    wrapped = tfd.Independent(marginal, 1)
    x = X[:, [3, 1]]
    want = tf.reduce_sum(marginal.log_prob(x))
    np.testing.assert_allclose(wrapped.log_prob(x), want, rtol=1e-6)
    np.testing.assert_allclose(marginal[1].log_prob(x[1]), marginal.log_prob(x)[1])
    traced = tf.function(lambda d, x: d.log_prob(x))
    np.testing.assert_allclose(traced(marginal, x), marginal.log_prob(x), rtol=1e-6)
    x = tf.stack([x, x + 1])
    assert marginal.log_prob(x).shape == (2, 3)


def test_of_steps_and_pixels() -> None:
    template = circuit_of("bernoulli", num_classes=2)
    circuit = circuits.dynamic_from_circuit(template, num_steps=3)
    spn = distributions.DynamicSumProductNetwork(circuit)
    x = data_of("bernoulli", 6).reshape(2, 3, 4)
    past = np.array([[True], [False], [False]])
    given = spn.condition(x, observed=past)
    assert given.marginal(steps=[2]).event_shape == (1, 4)
    marginal = given.marginal([1, 0], steps=[2, 0])
    asked = np.zeros([3, 4], bool)
    asked[2, :2] = True
    want = spn.log_prob(x, observed=asked | past) - given.log_evidence()
    have = marginal.log_prob(x[:, [2, 0]][..., [1, 0]])
    np.testing.assert_allclose(have, want, rtol=1e-5)
    want = given.mean().numpy()[:, [2, 0]][..., [1, 0]]
    np.testing.assert_allclose(marginal.mean(), want)
    last = marginal.marginal(steps=[0])
    np.testing.assert_allclose(last.mean(), marginal.mean()[:, :1])


def test_of_pixels() -> None:
    spn = CASES["spatial"]().distribution
    x = CASES["spatial"]().x[:2]
    height, width = spn.event_shape[:2]
    observed = np.arange(height * width).reshape(height, width) < 3
    given = spn.condition(x, observed=observed)
    asked = np.zeros(height * width, bool)
    asked[[5, 1]] = True
    marginal = given.marginal([5, 1])
    want = spn.log_prob(x, observed=observed | asked.reshape(height, width))
    flat = np.reshape(x, [2, height * width, -1])[:, [5, 1]]
    flat = flat.reshape(2, *marginal.event_shape)
    have = marginal.log_prob(flat)
    np.testing.assert_allclose(have, want - given.log_evidence(), rtol=1e-4)
    drawn = given.sample(seed=(0, 1)).numpy().reshape(2, height * width, -1)[:, [5, 1]]
    drawn = drawn.reshape(2, *marginal.event_shape)
    np.testing.assert_array_equal(marginal.sample(seed=(0, 1)), drawn)


def test_what_is_no_marginal() -> None:
    for ask, error, message in (
        (lambda: GIVEN.marginal([0, 0]), ValueError, "more than once"),
        (lambda: GIVEN.marginal([4]), ValueError, "between 0 and 3"),
        (lambda: GIVEN.marginal([0], steps=[1]), ValueError, "received steps=.* has"),
        (lambda: GIVEN.marginal([0, 1]).log_prob(X), ValueError, r"expected \[..., 2"),
        (
            lambda: GIVEN.marginal([0]).log_prob(X[:, :1], observed=OBSERVED),
            ValueError,
            "one flag for each variable of",
        ),
        (lambda: GIVEN.marginal([0]).marginal([1]), ValueError, "between 0 and 0"),
    ):
        with pytest.raises(error, match=message):
            ask()


def test_posteriors_of_one_variable() -> None:
    mixed = circuits.from_region_graph(
        region_graphs.fully_factorized(2),
        leaf=[(layers.NormalLeaf(2), [0]), (layers.BernoulliLeaf(2), [1])],
        num_sums=2,
    )
    families = [circuit_of(family) for family in ("normal", "bernoulli", "categorical")]
    for circuit in (*families, mixed):
        spread = SumProductNetwork(circuit).univariate_posteriors()
        for number in range(circuit.program.num_variables):
            one = spread.of_variable(number)
            assert one.batch_shape == ()
            np.testing.assert_allclose(
                one.log_prob(1.0), spread.log_prob(1.0)[number], rtol=1e-6
            )
        for wrong in (-1, 4, 0.5, True):
            with pytest.raises(ValueError, match="received variable .*, expected one"):
                spread.of_variable(wrong)


def test_help_mentions_the_mask() -> None:
    for cls in (SumProductNetwork, distributions.DynamicSumProductNetwork):
        assert "observed: bool" in cls.log_prob.__doc__
