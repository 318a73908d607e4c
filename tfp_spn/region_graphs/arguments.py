"""Checks of the arguments that region graphs and their generators share."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeVar

from tfp_spn._arguments import LARGEST_INTEGER, a_count, shown

T = TypeVar("T")

_MOST_IN_SCOPES = 20_000_000  # two to eight gigabytes

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
        count = LARGEST_INTEGER
    what, advice = "The list of scopes is too large", "Pass fewer or smaller regions."
    check_total(total + count, what, advice)
    elements = tuple(islice(variables, _MOST_IN_SCOPES + 1 - total))
    check_total(total + len(elements), what, advice)
    return elements


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
    side = a_count()
    return side(sides[0], "`shape[0]`"), side(sides[1], "`shape[1]`")


def as_sequence(values: Iterable[T], name: str) -> tuple[T, ...]:
    """Returns the elements of an iterable argument, or raises naming the argument."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(
            f"`{name}` must be a sequence. Received {shown(values)} of type "
            f"{type(values).__name__}. Pass a list or tuple."
        )
    return tuple(values)
