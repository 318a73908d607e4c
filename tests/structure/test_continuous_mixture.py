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
from tfp_spn.structure.continuous_ensemble import Member, log_proportions

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
    observed = ~np.isnan(x.astype(float))
    values = np.where(observed, x, 0.0)
    return dataclasses.replace(
        columns, values=values, observed=observed, weights=np.ones(len(x))
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


def test_trees_of_incomplete_and_mixed_columns():
    """Messages integrate missing cells out as the circuit does."""
    rng = np.random.default_rng(0)
    x = dependent_rows(300, num_states=4).astype(float)
    x[:, 1] = np.minimum(x[:, 1], 2)
    x[:, 2] = np.minimum(x[:, 2], 1)
    numbers = np.stack([rng.normal(x[:, 3]), rng.poisson(50 + 9 * x[:, 0])], axis=-1)
    missing = np.where(rng.random([300, 6]) < 0.3, np.nan, np.hstack([x, numbers]))
    for table in (missing[:, :4], missing):
        mixture = continuous_mixture(table, structure="chow_liu", epochs=2, **SETTINGS)
        decoder = mixture.decoder
        assert (decoder.parents[:4] >= 0).sum() == 3
        batch = decoder.read(_columns(mixture, table[:50]))
        by_point = decoder.log_prob(batch, tf.constant(mixture.points), False)
        expected = np.logaddexp.reduce(by_point + mixture.log_weights, axis=-1)
        spn = SumProductNetwork(mixture.circuit())
        known = ~np.isnan(table[:50])
        log_prob = spn.log_prob(np.nan_to_num(table[:50]), observed=known)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-4)
    # A root of two states, whose child has more.
    x = np.stack([x[:, 2], x[:, 0]], axis=-1)
    spn = SumProductNetwork(continuous_mixture(x, epochs=1, **SETTINGS).circuit())
    states = [[a, b] for a in range(2) for b in range(4)]
    np.testing.assert_allclose(np.sum(spn.prob(states)), 1, rtol=1e-5)


def test_stops_in_time_and_refuses():
    x = dependent_rows(50)
    mixture = continuous_mixture(x, epochs=5, max_seconds=0.0, **SETTINGS)
    assert np.isfinite(SumProductNetwork(mixture.circuit()).log_prob(x)).all()
    with pytest.raises(ValueError, match="needs two categorical columns"):
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


def test_several_networks_are_mixed():
    """In proportions that suit the held-out rows; each has its share of the points."""
    x = dependent_rows(400)
    settings = {**SETTINGS, "epochs": 4, "validation_data": x[:80]}
    one = continuous_mixture(x[80:], **settings)
    mixture = continuous_mixture(x[80:], num_networks=2, **settings)
    decoder = mixture.decoder
    count = len(decoder.networks)
    assert count > 1
    assert mixture.points.shape == (4 * count, 4)
    assert mixture.validation >= one.validation
    np.testing.assert_allclose(np.exp(mixture.log_weights).sum(), 1)
    batch = decoder.read(_columns(mixture, x[:80]))
    by_point = decoder.log_prob(batch, tf.constant(mixture.points), False)
    expected = np.logaddexp.reduce(by_point + mixture.log_weights, axis=-1)
    np.testing.assert_allclose(expected.mean(), mixture.validation, rtol=1e-5)
    for circuit in (mixture.circuit(), mixture.circuit(num_points=2)):
        assert check_table(circuit).shape == (16,)
    log_prob = SumProductNetwork(mixture.circuit()).log_prob(x[:80])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)
    # The networks differ, and the first is that of the mixture with one.
    first, second = (network.get_weights() for network in decoder.networks[:2])
    assert not np.allclose(first[0], second[0])
    np.testing.assert_allclose(first[0], one.decoder.networks[0].get_weights()[0])


def test_proportions_of_networks():
    """The maximum of a concave function, found by a grid."""
    rng = np.random.default_rng(0)
    log_prob, weight = rng.normal(size=[50, 2]), rng.uniform(0, 3, 50)
    log_prob[0] = [-np.inf, 0.0]
    members = [Member(None, None, None, column, (), False) for column in log_prob.T]
    log_parts, value = log_proportions(members, weight)
    grid = np.linspace(0.001, 0.999, 999)
    prob = np.exp(log_prob)
    values = np.log(np.outer(prob[:, 0], grid) + np.outer(prob[:, 1], 1 - grid))
    averages = weight @ values / weight.sum()
    np.testing.assert_allclose(np.exp(log_parts[0]), grid[averages.argmax()], atol=0.01)
    np.testing.assert_allclose(value, averages.max(), atol=1e-5)
