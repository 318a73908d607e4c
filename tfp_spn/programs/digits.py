"""Digits of data that the dtype of a circuit cannot hold.

Seconds since 1970 are 128 apart in float32: once they are cast, what told them apart is
gone, and no query can say so. A few rows tell whether it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.ops.log_space import is_finite

_REMEDY = (
    "Subtract a number near the mean from the column, or create the leaf layers with "
    'dtype="float64".'
)
_NUM_ROWS, _NUM_ROWS_OF_BATCH = 100, 32  # batches are looked at again and again
_MAX_MERGED = 0.25
"""So many of 100 distinct values are one with another if they are rounded by about a
hundredth of their deviation."""

Changed = Callable[[np.ndarray, np.ndarray], np.ndarray]


def may_lose(given: tf.DType | np.dtype, kept: tf.DType) -> bool:
    """Whether there are numbers of one dtype that the other cannot hold."""
    given, kept = (np.dtype(getattr(d, "as_numpy_dtype", d)) for d in (given, kept))
    return given.kind in "iuf" and not np.can_cast(given, kept, "safe")


def is_symbolic(x: TensorLike) -> bool:
    """Whether an array or tensor has no values before its graph runs."""
    return not isinstance(x, np.ndarray) and not hasattr(x, "numpy")


def check_digits(
    owner: str,
    dtype: tf.DType,
    x: Any,
    event_shape: tuple[int, ...],
    observed: np.ndarray | None = None,
    least: float = 0.0,
    changed: Changed | None = None,
) -> None:
    """Raises unless values stay distinct in the dtype of a circuit.

    Args:
        owner: Who is given the data, for messages.
        dtype: The dtype of the circuit.
        x: ``[..., *event_shape]``: an array, or a tensor that is not symbolic, which
            is not copied.
        event_shape: The columns are its axes, flattened.
        observed: bool ``[N, V]`` or `None`: the others may be anything.
        least: Rounding by less than this is let pass unseen.
        changed: Of rows before and after rounding, which values it changes too much
            for the circuit as it is. Default: nothing is known of that.

    Raises:
        ValueError: The values of a column are not told apart, or changed.
    """
    kept = dtype.as_numpy_dtype
    if not may_lose(x.dtype, dtype):
        return
    num_rows = math.prod(x.shape[: len(x.shape) - len(event_shape)])
    every = slice(None, None, max(1, num_rows // _NUM_ROWS))
    array = np.asarray(memoryview(x) if tf.is_tensor(x) else x)
    rows = array.reshape(num_rows, *event_shape)[every]
    rows = rows.astype(np.promote_types(array.dtype, np.float64))
    rows = rows.reshape(len(rows), math.prod(event_shape))
    if observed is not None:
        chosen = observed[every]
        per_flag = rows.shape[1] // chosen.shape[1]
        rows[~np.repeat(chosen, per_flag, axis=1)] = np.nan
    largest = np.nanmax(np.abs(rows), initial=0)
    if not len(rows) or np.finfo(kept).eps * largest < least:
        return
    with np.errstate(over="ignore"):
        rounded = rows.astype(kept)
    if changed is not None:
        _check_changes(owner, dtype, rows, rounded, event_shape, changed)
    rows.sort(axis=0)  # NaN comes last
    rounded.sort(axis=0)
    is_next = rows[1:] > rows[:-1]
    merged = is_next & ~(rounded[1:] > rounded[:-1]) & np.isfinite(rounded[1:])
    wrong = merged.sum(0) > _MAX_MERGED * (1 + is_next.sum(0))
    if wrong.any():
        column = int(np.argmax(wrong))
        row = int(np.argmax(merged[:, column]))
        raise ValueError(
            f"{owner}: {dtype.name}, the dtype of the circuit, cannot tell the "
            f"values of column {_place(column, event_shape)} apart, received "
            f"{rows[row, column]!s} and {rows[row + 1, column]!s}, which both become "
            f"{rounded[row, column]!s}, expected values that keep their digits "
            f"({int(wrong.sum())} such columns). {_REMEDY}"
        )


def with_kept_digits(
    owner: str,
    dtype: tf.DType,
    x: TensorLike,
    event_shape: tuple[int, ...],
    observed: TensorLike = None,
    least: float = 0.0,
    changed: Changed | None = None,
) -> TensorLike:
    """Values that keep their digits: `check_digits`, of graphs when they run.

    Args:
        owner: See `check_digits`.
        dtype: See `check_digits`.
        x: See `check_digits`; or a symbolic tensor.
        event_shape: See `check_digits`.
        observed: A mask that broadcasts with `x`, or `None`.
        least: See `check_digits`.
        changed: See `check_digits`.

    Returns:
        The values; they are not looked at if they are known and the mask is not.
    """
    if is_symbolic(x):
        return with_checked_digits(owner, dtype, x, len(event_shape), observed, least)
    if observed is not None:
        known = tf.get_static_value(observed) if tf.is_tensor(observed) else observed
        if known is None:
            return x
        rows = x.shape[: len(x.shape) - len(event_shape)]
        try:
            observed = np.broadcast_to(known, x.shape)
            observed = observed.reshape(math.prod(rows), math.prod(event_shape))
        except ValueError:  # more masks than values
            observed = None
    check_digits(owner, dtype, x, event_shape, observed, least, changed)
    return x


def with_checked_digits(
    owner: str,
    dtype: tf.DType,
    x: Tensor,
    event_ndims: int,
    observed: Tensor | None = None,
    least: float = 0.0,
) -> Tensor:
    """A symbolic tensor that raises, when its graph runs, where `check_digits` would.

    (XLA leaves such checks out.)

    Args:
        owner: See `check_digits`.
        dtype: See `check_digits`.
        x: ``[..., *event]``; returned as it is where there are no rows to compare.
        event_ndims: Rank of the event.
        observed: bool tensor that broadcasts with `x`, or `None`.
        least: See `check_digits`.
    """
    rank = x.shape.rank
    if rank is None or rank <= event_ndims or not may_lose(x.dtype, dtype):
        return x
    infinity = tf.constant(math.inf, tf.float64)
    wide = tf.cast(x, tf.float64)
    wide = tf.where(is_finite(wide), wide, infinity)
    if observed is not None:
        wide = tf.where(observed, wide, infinity)
    columns = tf.reduce_prod(tf.shape(wide)[wide.shape.rank - event_ndims :])
    rows = tf.reshape(wide, [-1, columns])
    rows = rows[:: tf.maximum(1, tf.shape(rows)[0] // _NUM_ROWS_OF_BATCH)]
    by_column = tf.sort(tf.transpose(rows), axis=-1)
    rounded = tf.cast(by_column, dtype)
    is_next = (by_column[:, 1:] > by_column[:, :-1]) & is_finite(rounded[:, 1:])
    merged = is_next & ~(rounded[:, 1:] > rounded[:, :-1])
    num_merged, num_next = (
        tf.reduce_sum(tf.cast(flags, tf.float32), -1) for flags in (merged, is_next)
    )
    wrong = num_merged > _MAX_MERGED * (1 + num_next)
    size = tf.where(is_finite(rows), tf.abs(rows), tf.zeros([], tf.float64))
    wrong &= np.finfo(dtype.as_numpy_dtype).eps * tf.reduce_max(size) >= least
    message = (
        f"{owner}: {dtype.name}, the dtype of the circuit, cannot tell values of some "
        f"columns apart, received {x.dtype.name}, expected values that keep their "
        f"digits. {_REMEDY} The first such column:"
    )
    first = tf.argmax(tf.concat([wrong, [True]], 0))  # there may be no columns
    check = tf.debugging.Assert(~tf.reduce_any(wrong), [message, first])
    with tf.control_dependencies([check]):
        return tf.identity(x)


def _check_changes(
    owner: str,
    dtype: tf.DType,
    rows: np.ndarray,
    rounded: np.ndarray,
    event_shape: tuple[int, ...],
    changed: Changed,
) -> None:
    wrong = changed(rows, rounded)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{owner}: {dtype.name}, the dtype of the circuit, rounds the values of "
            f"column {_place(column, event_shape)} by much of the width of its "
            f"components, received {rows[row, column]!s}, which becomes "
            f"{rounded[row, column]!s}, expected values that keep their digits "
            f"({int(wrong.any(0).sum())} such columns). {_REMEDY}"
        )


def _place(column: int, event_shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, np.unravel_index(column, event_shape)))
