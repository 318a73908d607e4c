"""LearnSPN on tables whose structure is known."""

import numpy as np
import pytest

from tests.structure.structure_cases import (
    check_parameters,
    check_table,
    dependent_rows,
    gain_over_independent_columns,
    mixed_rows,
)
from tfp_spn.structure import learn_spn
from tfp_spn.structure.columns import read_columns
from tfp_spn.structure.independence import dependent_groups


def test_categories():
    x = dependent_rows(600)
    circuit = learn_spn(x, min_rows=100)
    check_table(circuit)
    # A chain of copies has 3 (log 2 - H(0.9)) = 1.10 nats of dependence.
    assert 0.8 < gain_over_independent_columns(circuit, dependent_rows(600, seed=1))


def test_mixed_columns_with_missing_cells():
    x, missing = mixed_rows(400)
    circuit = learn_spn(missing, leaf="chow_liu")
    # The group is one bit, which three of the columns tell.
    assert gain_over_independent_columns(circuit, x) > 0.8


@pytest.mark.parametrize("test", ["g_test", "rdc"])
def test_groups(test):
    """Two pairs of columns; false alarms of 1 in 1,000 tests of a fixed seed."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, [2000, 5])
    x[:, 3] = (x[:, 0] + (rng.random(2000) < 0.3)) % 3
    x[:, 4] = np.where(rng.random(2000) < 0.6, x[:, 1], x[:, 4])
    columns = read_columns(x, None, "test")
    rows, scope = np.arange(2000), np.arange(5)
    groups = dependent_groups(columns, rows, scope, test, 1e-3, 0.3, rng)
    assert sorted(map(tuple, groups)) == [(0, 3), (1, 4), (2,)]


def test_coefficient_sees_what_correlation_does_not():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, [1000, 3])
    x[:, 1] = x[:, 0] ** 2
    columns = read_columns(x, None, "test")
    scope = np.arange(3)
    groups = dependent_groups(columns, np.arange(1000), scope, "auto", 1e-3, 0.3, rng)
    assert sorted(map(tuple, groups)) == [(0, 1), (2,)]


def test_degenerate_tables():
    for x in (
        np.zeros([1, 3]),
        np.ones([200, 2]),
        np.full([5, 2], np.nan),
        np.repeat(np.arange(2.0), 200).reshape(-1, 1),
        np.repeat(np.random.default_rng(0).normal(size=[200, 1]), 3, axis=1),
    ):
        check_parameters(learn_spn(x))


def test_errors():
    x = dependent_rows(50)
    with pytest.raises(ValueError, match="independence='g_test' needs categorical"):
        learn_spn(x + 0.5, independence="g_test")
    with pytest.raises(ValueError, match="`independence` must be one of"):
        learn_spn(x, independence="t_test")
    with pytest.raises(ValueError, match="`leaf` must be one of"):
        learn_spn(x, leaf="tree")
