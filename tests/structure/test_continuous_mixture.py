"""Continuous mixtures against sums over their points, and all states."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.distributions import SumProductNetwork
from tfp_spn.structure import ContinuousMixture, continuous_mixture

RNG = np.random.default_rng(0)
SETTINGS = {
    "num_points": 4,
    "num_layers": 2,
    "batch_size": 64,
    "point_epochs": 3,
    "learning_rate": 2e-2,
}


def dependent_rows(num_rows, num_states=2):
    """Four columns; each is mostly the one before it."""
    x = RNG.integers(0, num_states, [num_rows, 4])
    for v in range(1, 4):
        copied = RNG.random(num_rows) < 0.8
        x[copied, v] = x[copied, v - 1]
    return x


def test_circuit_of_trees():
    num_states = 3
    x = dependent_rows(400, num_states)
    x[:, 2] = np.minimum(x[:, 2], 1)  # columns of unequal numbers of categories
    mixture = continuous_mixture(x, epochs=4, **SETTINGS)
    assert isinstance(mixture, ContinuousMixture)
    spn = SumProductNetwork(mixture.circuit())
    states = np.array(list(itertools.product(range(num_states), repeat=4)))
    table = spn.prob(states).numpy()
    np.testing.assert_allclose(table.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(table[states[:, 2] > 1], 0)
    observed = np.array([True, False, True, False])
    same = (states[:, observed] == states[0, observed]).all(1)
    marginal = spn.prob(states[0], observed=observed)
    np.testing.assert_allclose(marginal, table[same].sum(), rtol=1e-4)
    # The circuit is the mixture over the points.
    batch = mixture.decoder.read(_columns(mixture, x[:50]))
    by_point = mixture.decoder.log_prob(batch, tf.constant(mixture.points), False)
    expected = np.logaddexp.reduce(by_point + mixture.log_weights, axis=-1)
    np.testing.assert_allclose(spn.log_prob(x[:50]), expected, rtol=1e-4)
    assert np.mean(expected) > independent_columns(x, x[:50])
    assert mixture.circuit(num_points=2).program.event_shape == (4,)


def _columns(mixture, x):
    columns = mixture.decoder.columns
    values = x.astype(float)
    return type(columns)(
        values, ~np.isnan(values), columns.kinds, columns.num_categories
    )


def independent_columns(train, x):
    total = 0.0
    for column, test in zip(train.T, x.T, strict=True):
        counts = np.bincount(column, minlength=column.max() + 1) + 0.1
        total += np.log(counts / counts.sum())[test].mean()
    return total


def test_mixed_columns_with_missing_cells():
    group = RNG.integers(0, 2, 400)
    x = np.stack(
        [
            group,
            RNG.normal(size=400) * 5 + 100 * group,
            RNG.poisson(10 + 60 * group),
            RNG.normal(size=400),
        ],
        axis=-1,
    ).astype(float)
    x[::7, 0] = np.nan
    observed = RNG.random(x.shape) < 0.9
    mixture = continuous_mixture(x, observed=observed, epochs=20, **SETTINGS)
    assert mixture.decoder.columns.kinds == ("categorical", "real", "count", "real")
    spn = SumProductNetwork(mixture.circuit())
    whole = x[~np.isnan(x[:, 0])]
    log_prob = spn.log_prob(whole).numpy()
    assert np.isfinite(log_prob).all()
    factors = [spn.marginal([v]).log_prob(whole[:, [v]]).numpy() for v in range(4)]
    assert log_prob.mean() > np.sum(factors, axis=0).mean() + 0.5


def test_stops_in_time_and_refuses():
    x = dependent_rows(50)
    mixture = continuous_mixture(x, epochs=5, max_seconds=0.0, **SETTINGS)
    assert np.isfinite(SumProductNetwork(mixture.circuit()).log_prob(x)).all()
    with pytest.raises(ValueError, match="needs categorical columns without missing"):
        continuous_mixture(x + 0.5, structure="chow_liu")
    with pytest.raises(ValueError, match="structure is unknown"):
        continuous_mixture(x, structure="tree")
    with pytest.raises(ValueError, match="validation_data have 3 columns, expected 4"):
        continuous_mixture(x, validation_data=x[:, :3])
    with pytest.raises(ValueError, match="neither zero"):
        continuous_mixture(x[:0])
    with pytest.raises(ValueError, match="column 0 is of kind 'count'"):
        continuous_mixture(-x - 1, kinds=["count"] * 4)
    with pytest.raises(TypeError, match="observed must be a mask"):
        continuous_mixture(x, observed=x)
