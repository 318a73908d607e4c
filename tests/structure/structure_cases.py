"""Tables of every kind, and what any structure learner has to get right on them."""

import itertools
import time

import numpy as np

from tfp_spn.distributions import SumProductNetwork
from tfp_spn.structure import split_table
from tfp_spn.structure.script import Script
from tfp_spn.structure.timed_fit import Task


def task_of(x, seconds, **given):
    """What `learn` gives a candidate."""
    script = Script(x=x, **given)
    train, valid = script.let("train, valid", split_table, x, **given)
    return Task(script, train, valid, seconds, time.perf_counter() + seconds, 0)


def dependent_rows(num_rows, num_states=2, seed=0):
    """Four columns; each is mostly the one before it."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, num_states, [num_rows, 4])
    for v in range(1, 4):
        copied = rng.random(num_rows) < 0.8
        x[copied, v] = x[copied, v - 1]
    return x


def mixed_rows(num_rows, seed=0):
    """A category, two numbers and a count of two groups; also with missing cells."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, num_rows)
    x = np.stack(
        [
            rng.integers(0, 2, num_rows) + group,
            rng.normal(size=num_rows) * 5 + 100 * group,
            rng.poisson(10 + 60 * group),
            rng.normal(size=num_rows),
        ],
        axis=-1,
    ).astype(float)
    missing = x.copy()
    missing[rng.random(x.shape) < 0.1] = np.nan
    return x, missing


def check_table(circuit, num_states=2):
    """Probabilities of all states add up to one; marginals to sums of them."""
    spn = SumProductNetwork(circuit)
    states = np.array(list(itertools.product(range(num_states), repeat=4)))
    table = spn.prob(states).numpy()
    np.testing.assert_allclose(table.sum(), 1, atol=1e-5)
    observed = np.array([True, False, True, False])
    same = (states[:, observed] == states[0, observed]).all(1)
    marginal = spn.prob(states[0], observed=observed)
    np.testing.assert_allclose(marginal, table[same].sum(), rtol=1e-4)
    return table


def gain_over_independent_columns(circuit, x):
    """Mean log-likelihood above that of the product of the circuit's own marginals."""
    spn = SumProductNetwork(circuit)
    log_prob = spn.log_prob(x).numpy()
    assert np.isfinite(log_prob).all()
    for v in range(x.shape[1]):
        log_prob = log_prob - spn.log_prob(x, observed=np.arange(x.shape[1]) == v)
    return np.mean(log_prob)


def check_parameters(circuit):
    """No NaN, and -inf in logarithms alone."""
    for variable in circuit.weights:
        value = variable.numpy()
        assert not np.isnan(value).any()
        assert np.isfinite(value).all() or getattr(variable, "is_log_weight", False)
