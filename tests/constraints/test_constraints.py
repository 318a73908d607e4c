"""Every constraint: values, dtypes, configs, and what it does in a sum layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfp_spn import constraints, layers

W = np.array([[-1.0, 0.5], [3.0, 0.0], [1.0, 1.5]])

# name: (constraint, what it makes of W)
CASES = {
    "GreaterEqualEpsilon": (
        constraints.GreaterEqualEpsilon(0.1),
        [[0.1, 0.5], [3.0, 0.1], [1.0, 1.5]],
    ),
    "GreaterEqualEpsilonNormalized": (
        constraints.GreaterEqualEpsilonNormalized(0.3),
        np.array([[0.1, 0.5], [3.0, 0.1], [1.0, 1.5]]) / [4.1, 2.1],
    ),
    "LogNormalized": (
        constraints.LogNormalized(),
        np.log(np.exp(W) / np.exp(W).sum(0)),
    ),
    "Clip": (constraints.Clip(0.0, 1.0), [[0.0, 0.5], [1.0, 0.0], [1.0, 1.0]]),
}


def test_every_constraint_has_a_case():
    assert set(CASES) == set(constraints.__all__)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values(name, dtype):
    constraint, expected = CASES[name]
    got = constraint(W.astype(dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_config_is_complete(name):
    constraint, expected = CASES[name]
    copy = keras.constraints.deserialize(keras.constraints.serialize(constraint))
    assert copy.get_config() == constraint.get_config()
    np.testing.assert_allclose(copy(W), expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, -1])
def test_axis(axis):
    normalized = constraints.GreaterEqualEpsilonNormalized(axis=axis)
    np.testing.assert_allclose(np.sum(normalized(W), axis=axis), 1, rtol=1e-6)
    log = constraints.LogNormalized(axis=axis)
    np.testing.assert_allclose(np.exp(log(W)).sum(axis), 1, rtol=1e-6)


def test_minus_infinity_stays():
    w = np.array([[-np.inf, -np.inf], [2.0, -np.inf]])
    got = constraints.LogNormalized()(w)
    np.testing.assert_array_equal(got, [[-np.inf, -np.inf], [0.0, -np.inf]])


@pytest.mark.parametrize(
    ("argument", "name", "logspace"),
    [
        ("linear_accumulator_constraint", "GreaterEqualEpsilonNormalized", False),
        ("logspace_accumulator_constraint", "LogNormalized", True),
    ],
)
def test_normalizing_constraints_keep_a_sum_as_it_is(argument, name, logspace):
    layer = layers.DenseSum(
        2, logspace, **{argument: getattr(constraints, name)()}, dtype="float64"
    )
    x = np.random.default_rng(0).normal(size=[4, 1, 1, 3])
    layer.build(x.shape)
    layer.accumulators.assign(np.random.default_rng(1).uniform(1, 2, (1, 1, 3, 2)))
    before = layer(x)
    layer.accumulators.assign(layer.accumulators.constraint(layer.accumulators))
    np.testing.assert_allclose(layer(x), before, rtol=1e-9)
    stored = np.asarray(layer.accumulators)
    np.testing.assert_allclose((np.exp(stored) if logspace else stored).sum(-2), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constraints.GreaterEqualEpsilonNormalized(0), "`epsilon` must be"),
        (lambda: constraints.Clip(1.0, 0.0), "min=1.0 and max=0.0.*Exchange them"),
        (lambda: constraints.Clip(np.nan, 0.0), "`min` must be a finite number"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
