"""Digits of data that the dtype of a circuit cannot hold.

Seconds since 1970 are 128 apart in float32: once they are cast, what told them apart is
gone, and no query can say so. A few rows tell whether it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

_NUM_ROWS = 100
_MAX_MERGED = 0.25
"""So many of 100 distinct values are one with another if they are rounded by about a
hundredth of their deviation."""


def check_digits(
    owner: str,
    dtype: tf.DType,
    x: Any,
    event_shape: tuple[int, ...],
    observed: np.ndarray | None = None,
    least: float = 0.0,
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

    Raises:
        ValueError: The values of a column are not told apart.
    """
    kept = dtype.as_numpy_dtype
    given = np.dtype(x.dtype.as_numpy_dtype if tf.is_tensor(x) else x.dtype)
    if given.kind not in "iuf" or np.can_cast(given, kept, "safe"):
        return
    num_rows = math.prod(x.shape[: len(x.shape) - len(event_shape)])
    every = slice(None, None, max(1, num_rows // _NUM_ROWS))
    array = np.asarray(memoryview(x) if tf.is_tensor(x) else x)
    rows = array.reshape(num_rows, *event_shape)[every]
    rows = rows.astype(np.promote_types(given, np.float64))
    rows = rows.reshape(len(rows), math.prod(event_shape))
    if observed is not None:
        chosen = observed[every]
        per_flag = rows.shape[1] // chosen.shape[1]
        rows[~np.repeat(chosen, per_flag, axis=1)] = np.nan
    if not len(rows) or _rounding(rows, kept) < least:
        return
    rows.sort(axis=0)  # NaN comes last
    with np.errstate(over="ignore"):
        rounded = rows.astype(kept)
    is_next = rows[1:] > rows[:-1]
    merged = is_next & ~(rounded[1:] > rounded[:-1]) & np.isfinite(rounded[1:])
    wrong = merged.sum(0) > _MAX_MERGED * (1 + is_next.sum(0))
    if wrong.any():
        column = int(np.argmax(wrong))
        row = int(np.argmax(merged[:, column]))
        place = np.unravel_index(column, event_shape)
        raise ValueError(
            f"{owner}: {dtype.name}, the dtype of the circuit, cannot tell the "
            f"values of column {', '.join(map(str, place))} apart, received "
            f"{rows[row, column]!s} and {rows[row + 1, column]!s}, which both become "
            f"{rounded[row, column]!s}, expected values that keep their digits "
            f"({int(wrong.sum())} such columns). Subtract a number near the mean from "
            'the column, or create the leaf layers with dtype="float64".'
        )


def _rounding(x: Any, dtype: np.dtype) -> float:
    """Returns by how much the largest value may be rounded."""
    return float(np.finfo(dtype).eps * np.nanmax(np.abs(x), initial=0))
