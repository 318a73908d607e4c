"""What structure learners read of a table: values, a mask, weights, kinds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tfp_spn._masks import read_table
from tfp_spn._typing import TensorLike
from tfp_spn.region_graphs.mutual_information import checked_weights

Kind = Literal["categorical", "count", "real"]

MAX_CATEGORIES = 32
"""Columns of integers of more values are counts."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A table that was read; all that learn structures take it in place of an array.

    Attributes:
        values: float64 ``[N, V]``, 0 where missing.
        observed: bool ``[N, V]``.
        kinds: Of each column.
        num_categories: int ``[V]``: of categorical columns, from 0 on; 0 of others.
        weights: float64 ``[N]``, positive: how often each row counts.
    """

    values: npt.NDArray[np.float64]
    observed: npt.NDArray[np.bool_]
    kinds: tuple[Kind, ...]
    num_categories: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @property
    def num_variables(self) -> int:
        """The number of columns."""
        return self.values.shape[1]

    @property
    def is_complete(self) -> bool:
        """Whether no cell is missing."""
        return bool(self.observed.all())

    @property
    def is_categorical(self) -> bool:
        """Whether all columns are."""
        return all(kind == "categorical" for kind in self.kinds)

    @property
    def is_binary(self) -> bool:
        """Whether all columns have two categories."""
        return self.is_categorical and int(self.num_categories.max()) == 2

    @property
    def is_weighted(self) -> bool:
        """Whether some rows count more than others, or not once."""
        return bool((self.weights != 1).any())

    def rows(self, chosen: np.ndarray, weights: npt.NDArray[np.float64]) -> Columns:
        """Some of the rows, and how often each counts."""
        values, observed = self.values[chosen], self.observed[chosen]
        return replace(self, values=values, observed=observed, weights=weights)

    @functools.cached_property
    def data(self) -> dict[str, TensorLike]:
        """What `fit` takes of it, by name; values in float32."""
        data = {"x": self.values.astype(np.float32), "observed": self.observed}
        return data | ({"sample_weight": self.weights} if self.is_weighted else {})

    @functools.cached_property
    def center(self) -> npt.NDArray[np.float64]:
        """Mean of each column, ``[V]``; 0 of one without any value."""
        # Distances from one of the values: a constant is exactly itself.
        some = self.values[self.observed.argmax(0), np.arange(self.num_variables)]
        return some + self._mean((self.values - some) * self.observed)

    @functools.cached_property
    def scale(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each column, ``[V]``; 1 of a constant."""
        distance = (self.values - self.center) * self.observed
        largest = np.abs(distance).max(0)
        largest = np.where(largest > 0, largest, 1.0)  # squares do not overflow
        scale = largest * np.sqrt(self._mean(np.square(distance / largest)))
        return np.where(scale > 0, scale, 1.0)

    def _mean(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Over the rows in which a column is observed."""
        total = self.weights @ self.observed
        return (self.weights @ values) / np.where(total > 0, total, 1.0)

    def codes(self, num_bins: int = 8) -> tuple[npt.NDArray[np.int64], np.ndarray]:
        """All columns as categories (-1: missing), and how many these are.

        Reals and counts are cut at quantiles into at most `num_bins` intervals.
        """
        codes = np.full(self.values.shape, -1, np.int64)
        sizes = self.num_categories.copy()
        for v, kind in enumerate(self.kinds):
            seen = self.observed[:, v]
            column = self.values[seen, v]
            if kind == "categorical":
                codes[seen, v] = column
                continue
            edges = _inner_quantiles(column, self.weights[seen], num_bins)
            codes[seen, v] = np.searchsorted(edges, column, side="right")
            sizes[v] = len(edges) + 1
        return codes, sizes


Table: TypeAlias = npt.ArrayLike | Columns
"""What learners take."""


def _inner_quantiles(
    column: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], num_bins: int
) -> npt.NDArray[np.float64]:
    """Values at which intervals of about equal weight begin, all but the first."""
    if not len(column):
        return column
    order = np.argsort(column, kind="stable")
    below = np.cumsum(weights[order])
    levels = np.linspace(0, 1, num_bins + 1)[1:-1] * below[-1]
    edges = np.unique(column[order][np.searchsorted(below, levels, side="right")])
    return edges[edges > column[order[0]]]


def read_columns(
    x: Table,
    observed: npt.ArrayLike | None,
    owner: str,
    kinds: Sequence[Kind] | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> Columns:
    """Reads a table and finds out what its columns are.

    Integers from 0 to 31 at most are categories, other integers that are not negative
    are counts, all else is real. A column without any value is real.

    Args:
        x: ``[N, V]``: an array, a DataFrame or lists. NaN means missing. A table that
            was read already is returned as it is.
        observed: bool ``[N, V]``, or ``[V]`` for all rows; `None`: all.
        owner: Who reads, for messages.
        kinds: Of each column, in place of what its values say.
        sample_weight: How often each row counts, ``[N]``, or `None`: once. Rows of
            weight zero are left out.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, a value is infinite, or does not fit its kind, or
            weights are negative or all zero.
    """
    if isinstance(x, Columns):
        if any(own is not None for own in (observed, kinds, sample_weight)):
            raise ValueError(
                f"{owner}: received a table that was read already with an argument "
                "observed, kinds or sample_weight, expected it alone: it has its own. "
                "Leave them out."
            )
        return x
    raw, mask = read_table(x, observed, owner)
    weights = checked_weights(sample_weight, len(raw), owner)
    if weights is None:
        weights = np.ones([len(raw)])
    counted = weights > 0
    raw, mask, weights = raw[counted], mask[counted], weights[counted]
    values = np.where(mask, raw, 0).astype(np.float64)
    if kinds is None:
        found = tuple(_kind_of(c[m]) for c, m in zip(values.T, mask.T, strict=True))
    else:
        found = _checked_kinds(tuple(kinds), values, mask, owner)
    top = values.max(axis=0)
    sizes = [
        max(2, int(t) + 1) if kind == "categorical" else 0
        for t, kind in zip(top, found, strict=True)
    ]
    return Columns(values, mask, found, np.array(sizes, np.int64), weights)


def _kind_of(column: npt.NDArray[np.float64]) -> Kind:
    if not len(column) or (column < 0).any() or (column != np.floor(column)).any():
        return "real"
    return "categorical" if column.max() < MAX_CATEGORIES else "count"


def _checked_kinds(
    kinds: tuple[Kind, ...],
    values: npt.NDArray[np.float64],
    mask: npt.NDArray[np.bool_],
    owner: str,
) -> tuple[Kind, ...]:
    if len(kinds) != values.shape[1] or not set(kinds) <= set(get_args(Kind)):
        raise ValueError(
            f"{owner}: received kinds={kinds!r}, expected one of {get_args(Kind)} "
            f"for each of the {values.shape[1]} columns. Leave it out."
        )
    for number, kind in enumerate(kinds):
        column = values[mask[:, number], number]
        whole = (column >= 0).all() and (column == np.floor(column)).all()
        if kind != "real" and not whole:
            raise ValueError(
                f"{owner}: column {number} is of kind {kind!r}, but has values that "
                "are negative or not whole, expected integers from 0 on. Recode it, or "
                "pass 'real'."
            )
    return kinds
