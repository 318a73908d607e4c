"""Checks of the arguments that region graphs and their generators share."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any


def as_int(value: Any, what: str) -> int:
    """Returns `value` as a Python int, or raises a `TypeError` that names `what`."""
    # bool has __index__, but a region called True is always a mistake.
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(
        f"{what} must be an integer. Received {value!r} of type "
        f"{type(value).__name__}. Pass a Python or NumPy integer."
    )


def as_count(value: Any, name: str) -> int:
    """Returns `value` as an int of at least one, or raises naming the argument."""
    count = as_int(value, f"`{name}`")
    if count < 1:
        raise ValueError(
            f"`{name}` must be at least 1. Received {name}={count}. "
            "Pass a positive integer."
        )
    return count


def as_shape(shape: Any) -> tuple[int, int]:
    """Returns `shape` as (height, width), both at least one."""
    try:
        sides = tuple(shape)
    except TypeError:
        raise TypeError(
            f"`shape` must be a pair (height, width). Received {shape!r} of type "
            f"{type(shape).__name__}. Pass for example shape=(28, 28)."
        ) from None
    if len(sides) != 2:
        raise ValueError(
            f"`shape` must be a pair (height, width). Received {len(sides)} sides, "
            f"shape={shape!r}. Drop the channels: all channels of a pixel belong to "
            "one variable."
        )
    return as_count(sides[0], "shape[0]"), as_count(sides[1], "shape[1]")


def as_sequence(values: Iterable[Any], name: str) -> tuple[Any, ...]:
    """Returns the elements of an iterable argument, or raises naming the argument."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(
            f"`{name}` must be a sequence. Received {values!r} of type "
            f"{type(values).__name__}. Pass a list or tuple."
        )
    return tuple(values)
