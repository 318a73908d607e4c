"""Rows that learning does not see, to judge what it found."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tfp_spn.structure.columns import Columns, read_columns

_PART = 0.1


def split_rows(
    columns: Columns,
    validation_data: npt.ArrayLike | None,
    owner: str,
    seed: int,
) -> tuple[Columns, Columns]:
    """Rows to learn from, and rows to judge by.

    Args:
        columns: All rows.
        validation_data: Rows to judge by, or `None`: a tenth of all, drawn by `seed`;
            of a single row that row.
        owner: Who reads them, for messages.
        seed: Of the draw.

    Raises:
        ValueError: The rows to judge by have other columns, or values that rows to
            learn from do not allow.
    """
    if validation_data is not None:
        valid = read_columns(validation_data, None, owner, None)
        return columns, _like(columns, valid, owner)
    count = len(columns.values)
    order = np.random.default_rng(seed).permutation(count)
    held_out = max(1, round(_PART * count))
    if count == 1:
        return columns, columns
    return _rows(columns, order[held_out:]), _rows(columns, order[:held_out])


def _rows(columns: Columns, index: np.ndarray) -> Columns:
    values, observed = columns.values[index], columns.observed[index]
    return dataclasses.replace(columns, values=values, observed=observed)


def _like(columns: Columns, valid: Columns, owner: str) -> Columns:
    if valid.num_variables != columns.num_variables:
        raise ValueError(
            f"{owner}: validation_data have {valid.num_variables} columns, expected "
            f"{columns.num_variables}, as x has. Pass rows of the same table."
        )
    sizes = columns.num_categories
    outside = valid.observed & (sizes > 0) & (valid.values >= sizes)
    # A category that learning has never seen says nothing about the other columns.
    observed = valid.observed & ~outside
    values = np.where(observed, valid.values, 0.0)
    return Columns(values, observed, columns.kinds, columns.num_categories)
