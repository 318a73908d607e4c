"""Rows that occur several times, once each with a weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfp_spn.structure.columns import Columns, read_columns

_PART = 0.8
"""Of the rows that may be different, if it is to be worth a weight for each."""


def row_groups(columns: Columns) -> npt.NDArray[np.int64]:
    """``[N]``: the number of the group of equal rows that each belongs to."""
    rows = np.concatenate([columns.values + 0.0, columns.observed], axis=1)
    flat = np.ascontiguousarray(rows).view(np.dtype((np.void, rows[0].nbytes)))
    return np.unique(flat, return_inverse=True)[1].reshape(-1)


def without_copies(columns: Columns) -> Columns:
    """Every row once, if there are many copies; else the table as it is."""
    group = row_groups(columns)
    if group.max() + 1 > _PART * len(group):
        return columns
    first = np.unique(group, return_index=True)[1]
    order = np.argsort(first)
    total = np.bincount(group, columns.weights).astype(np.float64)
    return columns.rows(first[order], total[order])


def distinct_rows(
    x: npt.ArrayLike,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Counts equal rows, which makes learning from discrete tables faster.

    Rows are equal if the same cells are missing and the others are equal. The rows with
    their weights have the likelihood of all: 291,326 rows of the clicks of msnbc are
    9,228 different ones. If more than four fifths are different, all are returned, but
    for those of weight zero.

    Args:
        x: ``[N, V]``. NaN means missing.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``. Default: once.

    Returns:
        ``[M, V]``: the rows in the order in which each came first, 0 where missing;
        bool ``[M, V]``: which values are there; ``[M]``: the weights.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or weights are negative or all zero.

    Example:
        >>> import tfp_spn
        >>> x = [[0, 1], [1, 1], [0, 1], [0, 1]]
        >>> rows, observed, weight = tfp_spn.structure.distinct_rows(x)
        >>> rows.tolist(), weight.tolist()
        ([[0.0, 1.0], [1.0, 1.0]], [3.0, 1.0])
    """
    columns = read_columns(x, observed, "distinct_rows", None, sample_weight)
    found = without_copies(columns)
    return found.values, found.observed, found.weights
