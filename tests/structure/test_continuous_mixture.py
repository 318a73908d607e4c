"""Continuous mixtures against sums over their points, and all states."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.structure.structure_cases import (
    check_table,
    dependent_rows,
    gain_over_independent_columns,
    mixed_rows,
)
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.structure import ContinuousMixture, continuous_mixture

SETTINGS = {
    "num_points": 4,
    "num_layers": 2,
    "batch_size": 64,
    "point_epochs": 3,
    "learning_rate": 2e-2,
}


def test_circuit_of_trees():
    num_states = 3
    x = dependent_rows(400, num_states)
    x[:, 2] = np.minimum(x[:, 2], 1)  # columns of unequal numbers of categories
    mixture = continuous_mixture(x, epochs=4, **SETTINGS)
    assert isinstance(mixture, ContinuousMixture)
    spn = SumProductNetwork(mixture.circuit())
    table = check_table(mixture.circuit(), num_states).reshape([num_states] * 4)
    np.testing.assert_allclose(table[:, :, 2], 0)
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
    return dataclasses.replace(
        columns, values=values, observed=~np.isnan(values), weights=np.ones(len(x))
    )


def independent_columns(train, x):
    total = 0.0
    for column, test in zip(train.T, x.T, strict=True):
        counts = np.bincount(column, minlength=column.max() + 1) + 0.1
        total += np.log(counts / counts.sum())[test].mean()
    return total


def test_mixed_columns_with_missing_cells():
    x, missing = mixed_rows(400)
    observed = np.random.default_rng(1).random(x.shape) < 0.95
    mixture = continuous_mixture(
        missing, validation_data=missing, observed=observed, epochs=20, **SETTINGS
    )
    assert mixture.decoder.columns.kinds == ("categorical", "real", "count", "real")
    circuit = mixture.circuit()
    assert gain_over_independent_columns(circuit, x) > 0.5
    # What learning saw of the held-out rows is what the circuit says of them.
    held_out, known = x.copy(), ~np.isnan(missing)
    log_prob = SumProductNetwork(circuit).log_prob(held_out, observed=known)
    np.testing.assert_allclose(max(mixture.history), np.mean(log_prob), rtol=1e-4)


def test_stops_in_time_and_refuses():
    x = dependent_rows(50)
    mixture = continuous_mixture(x, epochs=5, max_seconds=0.0, **SETTINGS)
    assert np.isfinite(SumProductNetwork(mixture.circuit()).log_prob(x)).all()
    with pytest.raises(ValueError, match="needs categorical columns without missing"):
        continuous_mixture(x + 0.5, structure="chow_liu")
    with pytest.raises(ValueError, match="`structure` must be one of"):
        continuous_mixture(x, structure="tree")
    with pytest.raises(ValueError, match="validation_data have 3 columns, expected 4"):
        continuous_mixture(x, validation_data=x[:, :3])
    with pytest.raises(ValueError, match="neither zero"):
        continuous_mixture(x[:0])
    with pytest.raises(ValueError, match="column 0 is of kind 'count'"):
        continuous_mixture(-x - 1, kinds=["count"] * 4)
    with pytest.raises(TypeError, match="observed must be a mask"):
        continuous_mixture(x, observed=x)
