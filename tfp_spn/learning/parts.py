"""Checks of settings that are parts of a whole."""

from __future__ import annotations

import numbers
from typing import Any


def check_part(owner: Any, name: str, value: Any, *, below: bool = False) -> None:
    """Checks that a setting is a number from 0 to 1 (to below 1).

    Raises:
        ValueError: It is not.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= float(value) <= 1 or (below and float(value) == 1):
        raise ValueError(
            f"{_named(owner)}: {name} is no part, received {name}={value!r}, "
            f"expected a number from 0 to {'below ' if below else ''}1. Correct the "
            "argument."
        )


def check_size(owner: Any, name: str, value: Any) -> None:
    """Checks that a setting is a finite number of at least 0.

    Raises:
        ValueError: It is not.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= float(value) < float("inf"):
        raise ValueError(
            f"{_named(owner)}: {name} must not be negative, received "
            f"{name}={value!r}, expected a finite number of at least 0. Correct the "
            "argument."
        )


def _named(owner: Any) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
