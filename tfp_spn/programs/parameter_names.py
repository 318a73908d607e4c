"""The names of a circuit's parameters, which are made here and nowhere else.

Files, `live_params` and the queries of distributions agree on them. Weights are
numbered from below; those of a leaf layer have their own names after a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

PRIOR = "prior"
"""The weights of the classes."""

CHAIN = INITIAL, TRANSITION, INTERFACE = "initial", "transition", "interface"
"""The weights of the interface of a dynamic circuit."""

_LEAF = "leaf_"


def sums_name(number: int) -> str:
    """The name of the weights that come after `number` others."""
    return f"sums_{number}"


def leaf_name(name: str) -> str:
    """The circuit's name of a parameter that its leaf layer calls `name`."""
    return _LEAF + name


def from_leaf(params: Mapping[str, T]) -> dict[str, T]:
    """Parameters of the leaf layer, under the circuit's names."""
    return {leaf_name(name): value for name, value in params.items()}


def to_leaf(params: Mapping[str, T]) -> dict[str, T]:
    """Those parameters that are the leaf layer's, under the layer's own names."""
    return {
        name.removeprefix(_LEAF): value
        for name, value in params.items()
        if name.startswith(_LEAF)
    }
