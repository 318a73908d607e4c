"""Pairwise mutual information of the columns of a data set."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import a_count, a_rate, reads
from tfp_spn._arrays import as_array
from tfp_spn._masks import read_table

DataType = Literal["auto", "discrete", "gaussian"]

# Bounds of the work arrays: cells of a one-hot block, columns of a joint block.
_MAX_CELLS = 2**24
_MAX_COLUMNS = 2048
# A correlation of one would have an infinite mutual information.
_MAX_SQUARED_CORRELATION = 1.0 - 1e-12


@reads(alpha=a_rate(least=0), num_bins=a_count())
def mutual_information(
    data: npt.ArrayLike,
    *,
    data_type: DataType = "auto",
    observed: npt.ArrayLike | None = None,
    alpha: float = 0.01,
    num_bins: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float64]:
    """Estimates the mutual information of every pair of variables, in nats.

    For discrete variables with the counts n(a, b) of pairs of values,

        p(a, b) = (n(a, b) + alpha) / (N + alpha * K_a * K_b)
        MI = sum_ab p(a, b) log(p(a, b) / (p(a) p(b))),

    where p(a) and p(b) are the marginals of p(a, b) and K_a, K_b the numbers of values
    that occur. For Gaussian variables `MI = -log(1 - correlation**2) / 2`. A pair of
    variables is estimated from the examples in which both are observed. Time grows with
    the square of the number of variables (and of values), memory only with blocks.

    Args:
      data: Array of shape [num_examples, num_variables] of bools, integers or floats.
        NaN means missing.
      data_type: "discrete", "gaussian", or "auto": discrete for bools and integers and
        if `num_bins` is given, else Gaussian.
      observed: Boolean array of the shape of `data`, or [num_variables] for all of
        them; False means missing.
      alpha: The pseudocount of each pair of values, for discrete data.
      num_bins: If given, the distinct values of each variable are grouped, in order,
        into at most so many intervals of about equal numbers, and are discrete.
      sample_weight: How often each example counts, [num_examples]; once by default.

    Returns:
      A symmetric [num_variables, num_variables] array, zero on the diagonal.

    Raises:
      TypeError: If the data are not numbers or `observed` not boolean.
      ValueError: If the shapes are wrong, there is no data, a value is infinite, or an
        argument is out of range.

    Example:
      >>> x = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
      >>> np.round(mutual_information(x, alpha=0.0), 3)
      array([[0.   , 0.693, 0.   ],
             [0.693, 0.   , 0.   ],
             [0.   , 0.   , 0.   ]])
    """
    values, mask = read_table(data, observed, "mutual_information", "data")
    if data_type not in ("auto", "discrete", "gaussian"):
        raise ValueError(
            f"`data_type` is unknown. Received {data_type!r}; expected 'auto', "
            "'discrete' or 'gaussian'. Pass one of these."
        )
    weights = checked_weights(sample_weight, len(values), "mutual_information")
    if num_bins is not None:
        if data_type == "gaussian":
            raise ValueError(
                f"`num_bins` makes the data discrete. Received num_bins={num_bins} "
                "with data_type='gaussian'. Leave out one of the two."
            )
    elif data_type == "gaussian" or (
        data_type == "auto" and np.issubdtype(values.dtype, np.floating)
    ):
        return _gaussian(values, mask, weights)
    return discrete_information(*_codes(values, mask, num_bins), alpha, weights)


def checked_weights(
    given: npt.ArrayLike | None, count: int, owner: str
) -> npt.NDArray[np.float64] | None:
    """How often each example counts; `None`: once."""
    if given is None:
        return None
    weights = as_array(given, owner, "sample_weight").astype(float)
    if weights.shape != (count,):
        raise ValueError(
            f"`sample_weight` must have the shape ({count},). Received shape "
            f"{weights.shape}. Pass one number per example."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(
            "`sample_weight` must be finite, at least 0 and somewhere positive. "
            f"Received values from {weights.min()} to {weights.max()}. Correct them, "
            "or leave out the examples."
        )
    return weights


def _codes(
    values: npt.NDArray[Any], mask: npt.NDArray[np.bool_], num_bins: int | None
) -> tuple[npt.NDArray[np.int32], list[int]]:
    """Ranks each value among those of its variable (-1: missing); also their number."""
    codes = np.full(values.shape, -1, np.int32)
    sizes = []
    for variable in range(values.shape[1]):
        seen = mask[:, variable]
        column = values[seen, variable]
        found, ranks = np.unique(column, return_inverse=True)
        size = max(len(found), 1)
        if num_bins is not None:
            if size > num_bins:
                ranks, size = ranks * num_bins // size, num_bins
        elif values.dtype.kind == "f" and (found != np.floor(found)).any():
            raise ValueError(
                f"Variable {variable} has values that are not whole numbers, but the "
                "data are taken as discrete. Received for example "
                f"{found[found != np.floor(found)][0]}. Pass data_type='gaussian', or "
                "num_bins."
            )
        codes[seen, variable] = ranks
        sizes.append(size)
    return codes, sizes


def discrete_information(
    codes: npt.NDArray[np.int32],
    sizes: list[int],
    alpha: float,
    weights: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """Mutual information from the joint counts of blocks of variables."""
    if weights is not None and (weights == 1).all():
        weights = None  # one product of an array with itself takes half the time
    num_variables = codes.shape[1]
    blocks = []
    start = 0
    while start < num_variables:
        stop = start + 1
        while stop < num_variables and sum(sizes[start : stop + 1]) <= _MAX_COLUMNS:
            stop += 1
        blocks.append(slice(start, stop))
        start = stop
    result = np.zeros((num_variables, num_variables))
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            block = _block(codes, sizes, rows, columns, alpha, weights)
            result[rows, columns] = block
            result[columns, rows] = block.T
    np.fill_diagonal(result, 0.0)
    # Smoothed estimates are never negative; rounding may make them so.
    return np.maximum((result + result.T) / 2, 0.0)


def _block(
    codes: npt.NDArray[np.int32],
    sizes: list[int],
    rows: slice,
    columns: slice,
    alpha: float,
    weights: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float64]:
    """Mutual information of the variables `rows` with the variables `columns`."""
    row_sizes, column_sizes = np.array(sizes[rows]), np.array(sizes[columns])
    row_starts = np.cumsum(row_sizes) - row_sizes
    column_starts = np.cumsum(column_sizes) - column_sizes
    joint = np.zeros((row_sizes.sum(), column_sizes.sum()))
    step = max(1, _MAX_CELLS // max(joint.shape))
    for begin in range(0, len(codes), step):
        chunk = codes[begin : begin + step]
        left = _one_hot(chunk[:, rows], row_starts, joint.shape[0])
        # The same array twice lets NumPy compute half of the symmetric product.
        right = left
        if columns != rows or weights is not None:
            right = _one_hot(chunk[:, columns], column_starts, joint.shape[1])
        if weights is not None:
            left = left * weights[begin : begin + step, np.newaxis].astype(np.float32)
        joint += left.T @ right  # float32 is exact here: counts are below 2**24
    joint += alpha
    by_row = np.add.reduceat(joint, column_starts, axis=1)  # [row values, columns]
    by_column = np.add.reduceat(joint, row_starts, axis=0)  # [rows, column values]
    total = np.add.reduceat(by_row, row_starts, axis=0)  # [rows, columns]
    # MI = (sum f(joint) - sum f(by_row) - sum f(by_column) + f(total)) / total
    terms = np.add.reduceat(_x_log_x(joint), column_starts, axis=1) - _x_log_x(by_row)
    sums = np.add.reduceat(terms, row_starts, axis=0)
    sums -= np.add.reduceat(_x_log_x(by_column), column_starts, axis=1)
    sums += _x_log_x(total)
    result: npt.NDArray[np.float64] = np.divide(
        sums, total, out=np.zeros_like(sums), where=total > 0
    )
    return result


def _one_hot(
    codes: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.float32]:
    """One column per value of each variable; no one where a value is missing."""
    result = np.zeros((len(codes), width + 1), np.float32)
    columns = np.where(codes >= 0, codes + starts, width)  # the last one is dropped
    np.put_along_axis(result, columns, np.float32(1), axis=1)
    return result[:, :width]


def _x_log_x(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns x log x, which is 0 at 0."""
    result: npt.NDArray[np.float64] = x * np.log(np.where(x > 0, x, 1.0))
    return result


def _gaussian(
    values: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float64]:
    """Mutual information from the correlations over pairwise complete examples."""
    if weights is not None:
        weights = weights * (len(weights) / weights.sum())
        mask = mask & (weights > 0)[:, np.newaxis]
    count = np.maximum(mask.sum(axis=0), 1)
    mean = np.where(mask, values, 0).sum(axis=0, dtype=np.float64) / count
    # Centred and scaled, so that the sums below lose no digits and do not overflow.
    scaled = np.where(mask, values - mean, 0.0)
    largest = np.abs(scaled).max(axis=0)
    scaled /= np.where(largest > 0, largest, 1.0)
    size = values.shape[1]
    both, first, squares, product = np.zeros((4, size, size))
    step = max(1, _MAX_CELLS // size)
    for begin in range(0, len(values), step):
        seen = mask[begin : begin + step]
        x = scaled[begin : begin + step]
        ones = seen.astype(np.float64)
        counted, weighted = ones, x
        if weights is not None:
            own = weights[begin : begin + step, np.newaxis]
            counted, weighted = own * ones, own * x
        both += counted.T @ ones
        first += weighted.T @ ones  # sum of variable i where variable j is observed
        squares += (weighted * x).T @ ones
        product += weighted.T @ x
    both = np.where(both > 0, both, 1.0)
    covariance = product / both - first * first.T / both**2
    variance = squares / both - (first / both) ** 2
    # A variance that is only rounding is that of a constant.
    variance = np.where(variance > 1e-12 * squares / both, variance, 0.0)
    scale = variance * variance.T
    squared = np.divide(covariance**2, scale, out=np.zeros_like(scale), where=scale > 0)
    result: npt.NDArray[np.float64] = -0.5 * np.log1p(
        -np.minimum(squared, _MAX_SQUARED_CORRELATION)
    )
    np.fill_diagonal(result, 0.0)
    return result
