"""Checks of the arguments that region graphs and their generators share."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

_BITS = 63  # of an integer that NumPy can hold
_MOST_IN_SCOPES = 20_000_000  # two to eight gigabytes

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120


def shown(value: object) -> str:
    """Writes a value for a message, cut: it may be of any size, depth and kind."""
    try:
        return _REPR.repr(value)
    except Exception:  # integers of too many digits, and whatever a class does
        return f"<{type(value).__name__}>"


def as_int(value: Any, what: str) -> int:
    """Returns `value` as a Python int, or raises an error that names `what`."""
    number = None
    # bool has __index__, but a region called True is always a mistake.
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
    if number is None:
        raise TypeError(
            f"{what} must be an integer. Received {shown(value)} of type "
            f"{type(value).__name__}. Pass a Python or NumPy integer."
        )
    if number.bit_length() > _BITS:
        raise ValueError(
            f"{what} is out of range. Received an integer of {number.bit_length()} "
            f"bits; expected at most {_BITS}. Pass a smaller one."
        )
    return number


NEST_EVENLY = "Nest evenly: a balanced nest of n variables has n * log2(n)."


def check_total(total: int, what: str, advice: str) -> None:
    """Refuses graphs whose scopes would be longer than memory, before they are made.

    Args:
      total: The number of variables in the scopes of all regions altogether.
      what: What would be made, and "is too large" or the like.
      advice: How to mend it.
    """
    if total > _MOST_IN_SCOPES:
        raise ValueError(
            f"{what} for a region graph. Received regions that have {total:,} "
            "variables in their scopes altogether; expected at most "
            f"{_MOST_IN_SCOPES:,}. {advice}"
        )


def as_scope(variables: Iterable[Any], total: int) -> tuple[Any, ...]:
    """Returns the elements of a scope, unless they and `total` others are too many."""
    try:
        count = operator.length_hint(variables)
    except OverflowError:  # a range of more than an index can reach
        count = 2**_BITS
    what, advice = "The list of scopes is too large", "Pass fewer or smaller regions."
    check_total(total + count, what, advice)
    elements = tuple(islice(variables, _MOST_IN_SCOPES + 1 - total))
    check_total(total + len(elements), what, advice)
    return elements


def as_count(value: object, name: str) -> int:
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
            f"`shape` must be a pair (height, width). Received {shown(shape)} of type "
            f"{type(shape).__name__}. Pass for example shape=(28, 28)."
        ) from None
    if len(sides) != 2:
        raise ValueError(
            f"`shape` must be a pair (height, width). Received {len(sides)} sides, "
            f"shape={shown(shape)}. Drop the channels: all channels of a pixel belong "
            "to one variable."
        )
    return as_count(sides[0], "shape[0]"), as_count(sides[1], "shape[1]")


def as_sequence(values: Iterable[Any], name: str) -> tuple[Any, ...]:
    """Returns the elements of an iterable argument, or raises naming the argument."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(
            f"`{name}` must be a sequence. Received {shown(values)} of type "
            f"{type(values).__name__}. Pass a list or tuple."
        )
    return tuple(values)
