"""Whether a mask fits the values that it is about.

A mask has one flag for each variable of each example, True where the value counts.
Flags that are the same for all examples may be given once, and those that are the same
for all variables of a step once for each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tfp_spn._arrays import as_array

Sizes: TypeAlias = Sequence[int | None]
"""A shape, `None` for a size that is not known."""


def mask_fault(
    dtype: str,
    shape: Sizes,
    lead: Sizes,
    flags: Sequence[Sizes],
    may_repeat_values: bool = False,
) -> Literal["dtype", "shape"] | None:
    """Says what is wrong with a mask, as far as it is known.

    Args:
        dtype: The name of its dtype.
        shape: Its shape.
        lead: The axes of the values before an example.
        flags: What the last axes of a mask may be.
        may_repeat_values: Whether there may be more masks than values, which are then
            repeated.

    Returns:
        What the reader of the mask has to complain of; `None` if it fits.
    """
    if dtype != "bool":
        return "dtype"
    for each in flags:
        count = len(shape) - len(each)
        if count < 0 or not _agree(shape[count:], each):
            continue
        if may_repeat_values and _broadcast(shape[:count], lead):
            return None
        if count <= len(lead) and _spreads(shape[:count], lead):
            return None
    return "shape"


def aligned(
    mask: npt.NDArray[np.bool_], shape: Sizes, flags: Sequence[Sizes]
) -> npt.NDArray[np.bool_] | None:
    """A mask that broadcasts with values ``[N, ...]`` of a shape.

    Args:
        mask: An array or a tensor.
        shape: Of the values.
        flags: What the last axes of a mask may be.

    Returns:
        It with axes behind the flags; `None` if it does not fit.
    """
    own = tuple(mask.shape)
    for each in flags:
        behind = (1,) * (len(shape) - 1 - len(each))
        fault = mask_fault(mask.dtype.name, own, shape[:1], [each])
        if fault is None and _broadcast((*own, *behind), shape):
            return mask[(..., *[np.newaxis] * len(behind))]
    return None


def _agree(one: Sizes, other: Sizes) -> bool:
    return all(a == b or None in (a, b) for a, b in zip(one, other, strict=True))


def _spreads(shape: Sizes, lead: Sizes) -> bool:
    """Whether a shape can be broadcast to another one of at least its rank."""
    last = lead[len(lead) - len(shape) :]
    return all(a in (1, b) or None in (a, b) for a, b in zip(shape, last, strict=True))


def _broadcast(one: Sizes, other: Sizes) -> bool:
    """Whether two shapes can be broadcast to a third one."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return all(a == b or a in (1, None) or b in (1, None) for a, b in pairs)


def read_table(
    data: npt.ArrayLike, observed: npt.ArrayLike | None, owner: str, what: str = "x"
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Reads a table in which NaN, too, means missing.

    Args:
        data: ``[N, V]``: an array, a DataFrame or lists.
        observed: bool ``[N, V]``, or ``[V]`` for all examples; `None`: all.
        owner: Who reads, for messages.
        what: What the data are to it, for messages.

    Returns:
        The values, and which of them are observed.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or a value is infinite.
    """
    values = as_array(data, owner, what)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{owner}: {what} must have the shape [num_examples, num_variables], "
            f"neither zero. Received shape {values.shape}. Pass one row per example."
        )
    mask = np.ones(values.shape, bool)
    if observed is not None:
        given = as_array(observed, owner, "observed")
        fault = mask_fault(
            given.dtype.name, given.shape, values.shape[:1], [mask[0].shape]
        )
        if fault == "dtype":
            raise TypeError(
                f"{owner}: observed must be a mask, expected booleans, True where the "
                f"value counts. Received dtype {given.dtype}. Convert it, for example "
                "observed=(mask == 1)."
            )
        if fault == "shape":
            raise ValueError(
                f"{owner}: observed does not fit {what}, expected shape "
                f"{values.shape}. Received shape {given.shape}. Pass one flag per "
                "value, or per column for all examples."
            )
        mask = np.broadcast_to(given, values.shape)
    if values.dtype.kind == "f":
        mask = mask & ~np.isnan(values)
        if np.isinf(values[mask]).any():
            raise ValueError(
                f"{owner}: {what} has infinite values. Expected finite numbers, or NaN "
                "where one is missing. Replace the infinite values."
            )
    return values, mask
