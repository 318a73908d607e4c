"""Rows that learning does not see, to judge what it found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import LARGEST_SIZE, a_seed, reads
from tfp_spn.structure.columns import Columns, Kind, Table, read_columns
from tfp_spn.structure.distinct_rows import row_groups, without_copies

ValidationData: TypeAlias = Table | Mapping[str, npt.ArrayLike | None] | None
"""Rows, or a dict of them with a mask and weights."""

_PART = 0.1


@reads(seed=a_seed(most=LARGEST_SIZE))
def split_table(
    x: npt.ArrayLike,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    validation_data: ValidationData = None,
    kinds: Sequence[Kind] | None = None,
    seed: int = 0,
) -> tuple[Columns, Columns]:
    """Reads a table as `learn` does: rows to learn from, and rows to judge by.

    Copies of rows are counted, as `distinct_rows` does; categories that are nowhere in
    `x` are missing in `validation_data`. All that learns a structure takes the tables
    in place of arrays, and `tfp_spn.fit` their `data`.

    Args:
        x: See `learn`, as for all arguments.
        observed: Which values count.
        sample_weight: How often each row counts.
        validation_data: Rows to judge by. Default: a tenth of `x`.
        kinds: Of each column.
        seed: Of the draw.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.random.default_rng(0).integers(0, 2, [200, 3])
        >>> train, valid = tfp_spn.structure.split_table(x)
        >>> train.weights.sum(), valid.weights.sum()
        (np.float64(180.0), np.float64(20.0))
        >>> circuit = tfp_spn.structure.learn_spn(train)
        >>> history = tfp_spn.fit(
        ...     circuit, **train.data, validation_data=valid.data, epochs=1,
        ...     verbose=False)
    """
    columns = read_columns(x, observed, "learn", kinds, sample_weight)
    train, valid = split_rows(columns, validation_data, "learn", seed)
    return without_copies(train), without_copies(valid)


def split_rows(
    columns: Columns,
    validation_data: ValidationData,
    owner: str,
    seed: int,
) -> tuple[Columns, Columns]:
    """Rows to learn from, and rows to judge by.

    Args:
        columns: All rows.
        validation_data: Rows to judge by, or `None`: a tenth of all, drawn by `seed`;
            of a single row that row. Rows with reals that are equal stay together: they
            are copies. Others recur by chance, and a row that counts several times goes
            in part to either side.
        owner: Who reads them, for messages.
        seed: Of the draw.

    Raises:
        ValueError: The rows to judge by have other columns, or values that rows to
            learn from do not allow.
    """
    if validation_data is not None:
        named: Any = {"x": validation_data}
        if isinstance(validation_data, dict):
            named = validation_data
        if "x" not in named or not set(named) <= {"x", "observed", "sample_weight"}:
            raise ValueError(
                f"{owner}: received validation_data with keys {sorted(map(str, named))}"
                ", expected 'x' and maybe 'observed', 'sample_weight'. Rename them."
            )
        valid = read_columns(
            named["x"],
            named.get("observed"),
            owner,
            sample_weight=named.get("sample_weight"),
        )
        return columns, _like(columns, valid, owner)
    held_out = _held_out(columns, np.random.default_rng(seed)) * columns.weights
    if not held_out.any():
        return columns, columns
    train, valid = (
        columns.rows(own > 0, own[own > 0])
        for own in (columns.weights - held_out, held_out)
    )
    return train, valid


def _held_out(columns: Columns, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Of each row the part, from 0 to 1, that is not learned from."""
    if "real" in columns.kinds:
        group = row_groups(columns)
        copies = np.ones([group.max() + 1])
    else:
        group = np.arange(len(columns.values))
        copies = np.maximum(np.floor(columns.weights), 1.0)
    order = rng.permutation(len(copies))
    # Each group gets its share of places that are evenly spread over all copies.
    places = np.cumsum(copies[order])
    taken = np.diff(np.floor(_PART * places + 0.5), prepend=0.0)
    if not taken.any() and len(copies) > 1:
        taken[0] = copies[order[0]]
    part = np.zeros([len(copies)])
    part[order] = taken / copies[order]
    return part[group]


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
    return dataclasses.replace(
        valid,
        values=values,
        observed=observed,
        kinds=columns.kinds,
        num_categories=sizes,
    )
