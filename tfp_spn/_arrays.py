"""Converts what users pass as data (frames, columns, lists, tensors) to arrays."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from tfp_spn._arguments import shown

_T = TypeVar("_T")
_FLOATS = tuple(map(np.dtype, ("float16", "float32", "float64")))
_NA_TYPES = {"NoneType", "NAType"}  # of pandas, which need not be there


def as_array(
    value: object, owner: str, what: str = "x", takes_missing: bool = True
) -> np.ndarray:
    """Data as an array of floats, integers or bools.

    Frames are read column by column, so that columns of different types become one
    array. Their missing values, and `None` in lists, become NaN, or are refused.

    Args:
        value: An array, an eager tensor, a DataFrame, a column of one, or lists.
        owner: Who reads the data, for messages.
        what: What they are to it, for messages.
        takes_missing: Whether there is a mask beside them, or NaN is refused later.

    Raises:
        TypeError: The data are not numbers, sparse, masked or a generator.
        ValueError: The rows are of unequal lengths, or values are missing.
    """
    _check_container(value, owner, what)
    if is_frame(value):
        return _of_frame(value, owner, what, takes_missing)
    return _of_column(value, owner, what, takes_missing)


def readable(
    value: _T, owner: str, what: str = "x", takes_missing: bool = True
) -> _T | np.ndarray:
    """An array in place of what holds numbers that TensorFlow cannot read.

    Args:
        value: See `as_array`, as for all arguments; or anything else, as it is.
        owner: Who reads the data.
        what: What they are to it.
        takes_missing: Whether there is a mask beside them.
    """
    names = ("dtypes", "toarray", "dense_shape", "row_splits")
    is_odd = isinstance(value, np.ma.MaskedArray | list)
    is_odd |= any(hasattr(value, name) for name in names)
    if isinstance(value, np.ndarray):
        is_odd |= value.dtype.kind not in "biu" and value.dtype not in _FLOATS
    return as_array(value, owner, what, takes_missing) if is_odd else value


def is_frame(value: object) -> bool:
    """Whether data have columns with types of their own."""
    return hasattr(value, "columns") and hasattr(value, "dtypes")


def from_nan(x: object) -> tuple[np.ndarray, np.ndarray]:
    """Splits data with NaN for missing values into values and a mask.

    NaN is not a missing value by itself: an observed NaN has probability zero, and
    `tfp_spn.learning.fit` refuses it. The mask says what is missing.

    Args:
        x: Numbers of any shape: an array, a DataFrame (of pandas also with nullable
            columns) or lists with `None`.

    Returns:
        The values, with 0 in place of NaN, and a bool mask of the same shape, True
        where there is a value: ``x, observed = from_nan(x)``. (A variable of several
        dimensions counts only as a whole: ``observed.all(-1)``.)

    Raises:
        TypeError: The data are not numbers.
        ValueError: The rows are of unequal lengths.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x, observed = tfp_spn.from_nan([[1.0, np.nan], [3.0, 4.0]])
        >>> x
        array([[1., 0.],
               [3., 4.]])
        >>> observed
        array([[ True, False],
               [ True,  True]])
    """
    if np.ma.isMaskedArray(x):
        hidden = np.ma.getmaskarray(x)
        values = as_array(np.ma.getdata(x), "from_nan")
    else:
        values = as_array(x, "from_nan")
        hidden = np.zeros(values.shape, bool)
    if values.dtype.kind == "f":
        hidden = hidden | np.isnan(values)
    return np.where(hidden, np.zeros([], values.dtype), values), ~hidden


def _check_container(value: object, owner: str, what: str) -> None:
    name = type(value).__name__
    if _is_masked(value):
        raise TypeError(
            f"{owner}: {what} is a masked array, whose mask would be lost; expected "
            "values and their mask apart. Split them by x, observed = "
            "tfp_spn.from_nan(x), and pass observed=observed."
        )
    if hasattr(value, "row_splits"):
        raise TypeError(
            f"{owner}: {what} is ragged, received a {name}, expected equally many "
            f"values in each example. Use {what}.to_tensor(), and say by observed=... "
            "(of sequences, by lengths=...) which values count."
        )
    if hasattr(value, "toarray") or hasattr(value, "dense_shape"):
        raise TypeError(
            f"{owner}: {what} is sparse, received a {name}, expected a dense array. "
            f"Use {what}.toarray(), or tf.sparse.to_dense({what}) of a tensor."
        )
    if hasattr(value, "element_spec"):
        raise TypeError(
            f"{owner}: {what} is no array, received a dataset, expected numbers. "
            f"Collect rows of a dataset of arrays by np.concatenate(list({what}.take("
            "100).as_numpy_iterator()))."
        )
    if isinstance(value, Mapping):
        keys = [key for key in value if key != "x"]
        apart = ", ".join([f"{what}['x']", *(f"{key}={what}[{key!r}]" for key in keys)])
        stacked = f"Stack its columns by np.stack(list({what}.values()), -1)."
        raise TypeError(
            f"{owner}: {what} is no array, received a {name} with the keys "
            f"{shown(list(value))}, expected numbers. "
            + (f"Pass its arrays one by one: {apart}." if "x" in value else stacked)
        )
    if hasattr(value, "__next__") or isinstance(value, (set, frozenset)):
        raise TypeError(
            f"{owner}: {what} is no array, received a {name}, expected numbers. Use "
            f"np.stack(list({what})) of a generator of rows, or wrap one of batches by "
            "tf.data.Dataset.from_generator."
        )


def _is_masked(value: object) -> bool:
    if np.ma.isMaskedArray(value):
        return bool(np.ma.is_masked(value))
    return isinstance(value, list | tuple) and any(map(_is_masked, value))


def _of_frame(frame: Any, owner: str, what: str, takes_missing: bool) -> np.ndarray:
    names = list(frame.columns)
    pick = frame.iloc.__getitem__ if hasattr(frame, "iloc") else None
    columns = [
        _of_column(
            pick((slice(None), i)) if pick else frame[name],
            owner,
            f"column {name!r} of {what}",
            takes_missing,
        )
        for i, name in enumerate(names)
    ]
    return np.stack(columns, axis=-1) if columns else np.zeros([len(frame), 0])


def _of_column(column: Any, owner: str, what: str, takes_missing: bool) -> np.ndarray:
    """One column of a frame, or any other array or list."""
    is_nullable = any(hasattr(column, name) for name in ("isna", "is_null"))
    is_nullable &= not isinstance(getattr(column, "dtype", None), np.dtype)
    array = _numbers(_read(column, owner, what), owner, what, takes_missing)
    if is_nullable and not takes_missing and array.dtype.kind == "f":
        _check_none_is_missing(np.isnan(array), "NA", owner, what)
    return array


def _read(value: object, owner: str, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{owner}: received a {what} that is no array, expected equally "
            "many numbers in each example. Fill up the shorter ones, and say by "
            f"observed=... which values count. ({error})"
        ) from None


def _numbers(
    array: np.ndarray, owner: str, what: str, takes_missing: bool = True
) -> np.ndarray:
    if array.dtype.kind == "O":
        numbers_only = _of_objects(array)
        if not takes_missing and numbers_only.dtype.kind == "f":
            missing = np.array([_is_missing(mark) for mark in array.ravel().tolist()])
            _check_none_is_missing(missing, "None or NA", owner, what)
        array = numbers_only
    if array.dtype.name.startswith(("bfloat", "float8")):
        return array.astype(np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)  # which TensorFlow can read
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{owner}: {what} must hold numbers, received dtype {array.dtype}, "
            f"expected floats, integers or bools. {_remedy_of(array)}"
        )
    return array


def _check_none_is_missing(
    is_missing: np.ndarray, mark: str, owner: str, what: str
) -> None:
    if is_missing.any():
        raise ValueError(
            f"{owner}: {what} has missing values, received {mark} "
            f"({int(is_missing.sum())} such values) without a mask, expected numbers. "
            "Split them by x, observed = tfp_spn.from_nan(x), and pass "
            "observed=observed."
        )


def _is_missing(value: object) -> bool:
    return type(value).__name__ in _NA_TYPES


def _remedy_of(array: np.ndarray) -> str:
    """What to do with an array that holds no numbers."""
    some = next(iter(array.ravel().tolist()), None) if array.dtype.kind == "O" else None
    if isinstance(some, list | tuple | np.ndarray):
        return (
            "Each example is a sequence: stack sequences of equal lengths by "
            "np.stack(list(x)), fill up shorter ones, and say by observed=... which "
            "values count."
        )
    if array.dtype.kind in "mM":
        return (
            "Take times as numbers since some start, such as (x - x.min()) / "
            "np.timedelta64(1, 's')."
        )
    if array.dtype.kind == "c":
        return "Pass real and imaginary parts as two variables."
    return "Encode categories as integers from 0; read numbers by astype(float)."


def _of_objects(array: np.ndarray) -> np.ndarray:
    """Numbers that stand in an array of objects; anything else as it is."""
    values = array.ravel().tolist()
    missing = [_is_missing(value) for value in values]
    kinds = (numbers.Real, np.bool_, decimal.Decimal)
    for i, value in enumerate(values):
        if missing[i]:
            values[i] = np.nan
        elif isinstance(value, decimal.Decimal):
            values[i] = float(value)
        elif not isinstance(value, kinds):
            return array
    read = np.array(values)  # of fractions and of large integers, objects again
    read = read.astype(np.float64) if read.dtype.kind == "O" else read
    return read.reshape(array.shape)
