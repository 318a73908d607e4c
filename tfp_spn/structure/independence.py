"""Which columns of some rows depend on each other, pair by pair."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from tfp_spn.region_graphs import mutual_information
from tfp_spn.structure.columns import Columns

Test = Literal["auto", "g_test", "rdc"]

_NUM_FEATURES = 10
_WIDTH = 3.0
"""Standard deviation of the frequencies of a rank between 0 and 1."""

_MAX_ROWS = 4096
"""Rows that the correlation coefficient is estimated from."""


def dependent_groups(
    columns: Columns,
    rows: npt.NDArray[np.int64],
    scope: npt.NDArray[np.int64],
    test: Test,
    p_value: float,
    threshold: float,
    rng: np.random.Generator,
) -> list[npt.NDArray[np.int64]]:
    """Groups of columns that are connected by dependent pairs.

    The G-test is of counts of pairs of categories, `p_value` the probability of finding
    an independent pair dependent. The randomised dependence coefficient is the largest
    correlation of random functions of ranks (or of categories), from 0 to 1.

    Args:
        columns: The table.
        rows: The rows.
        scope: The columns.
        test: ``"g_test"``, ``"rdc"``, or ``"auto"``: the G-test of categories alone.
        p_value: Of the G-test.
        threshold: Of the coefficient, from which on columns are dependent.
        rng: Of the random functions.
    """
    from scipy.sparse.csgraph import connected_components

    is_categorical = all(columns.kinds[v] == "categorical" for v in scope)
    if test == "g_test" or (test == "auto" and is_categorical):
        dependent = _g_test(columns, rows, scope, p_value)
    else:
        dependent = _coefficients(columns, rows, scope, rng) > threshold
    count, group = connected_components(dependent, directed=False)
    return [scope[group == number] for number in range(count)]


def _g_test(
    columns: Columns,
    rows: npt.NDArray[np.int64],
    scope: npt.NDArray[np.int64],
    p_value: float,
) -> npt.NDArray[np.bool_]:
    from scipy.stats import chi2

    values = columns.values[np.ix_(rows, scope)].astype(np.int64)
    observed = columns.observed[np.ix_(rows, scope)]
    information = mutual_information(
        values,
        data_type="discrete",
        observed=observed,
        alpha=0.0,
        sample_weight=columns.weights[rows],
    )
    seen = observed.astype(np.float64)
    counted = seen * columns.weights[rows, np.newaxis]
    found = [len(np.unique(v[o])) for v, o in zip(values.T, observed.T, strict=True)]
    freedom = np.maximum(np.array(found) - 1, 0)
    degrees = np.outer(freedom, freedom)
    statistic = 2 * (counted.T @ seen) * information
    chance = chi2.sf(statistic, np.maximum(degrees, 1))
    return np.asarray((degrees > 0) & (chance < p_value))


def _coefficients(
    columns: Columns,
    rows: npt.NDArray[np.int64],
    scope: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """The randomised dependence coefficient of each pair."""
    if len(rows) > _MAX_ROWS:
        rows = rng.choice(rows, _MAX_ROWS, replace=False)
    features = [_features(columns, rows, int(v), rng) for v in scope]
    width = max(f.shape[1] for f in features)
    padded = [np.pad(f, [(0, 0), (0, width - f.shape[1])]) for f in features]
    flat = np.concatenate(padded, axis=1)
    size = len(scope)
    blocks = (flat.T @ flat).reshape(size, width, size, width).transpose(0, 2, 1, 3)
    largest = np.linalg.norm(blocks, ord=2, axis=(-2, -1))
    np.fill_diagonal(largest, 0.0)
    return largest


def _features(
    columns: Columns, rows: npt.NDArray[np.int64], v: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Orthonormal functions of a column; zero where a cell is missing.

    Each row is multiplied by the square root of its weight.
    """
    seen = columns.observed[rows, v]
    own = columns.values[rows, v][seen]
    weights = columns.weights[rows][seen]
    result = np.zeros([len(rows), 1])
    if len(np.unique(own)) < 2:
        return result
    if columns.kinds[v] == "categorical":
        raw = (own[:, np.newaxis] == np.unique(own)[1:]).astype(np.float64)
    else:
        _, inverse = np.unique(own, return_inverse=True)
        counts = np.bincount(inverse, weights)
        rank = (np.cumsum(counts) - 0.5 * counts)[inverse] / counts.sum()
        frequency = rng.normal(0, _WIDTH, _NUM_FEATURES)
        phase = rng.uniform(0, 2 * np.pi, _NUM_FEATURES)
        raw = np.sin(np.outer(rank, frequency) + phase)
    raw -= np.average(raw, axis=0, weights=weights)
    raw *= np.sqrt(weights)[:, np.newaxis]
    left, values, _ = np.linalg.svd(raw, full_matrices=False)
    result = np.zeros([len(rows), left.shape[1]])
    result[seen] = left * (values > 1e-3 * values[0])
    return result
