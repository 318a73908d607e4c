"""One trace per circuit: compiled functions are kept as long as their circuit lives."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from tfp_spn.learning.maximization import trainable_names

Maker = TypeVar("Maker", bound=Callable[..., Any])


def per_circuit(make: Maker) -> Maker:
    """Remembers ``make(circuit, *arguments)``; a second call of `fit` traces nothing.

    What was made is forgotten with the circuit, and made anew when the circuit was
    compiled again or other variables have become trainable. `make` must not keep the
    circuit itself alive: its program and variables are what it needs.
    """
    cache: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

    @functools.wraps(make)
    def remembered(circuit: Any, *arguments: Any) -> Any:
        made = cache.setdefault(circuit, {})
        key = (circuit.program, trainable_names(circuit), *arguments)
        if key not in made:
            made[key] = make(circuit, *arguments)
        return made[key]

    return remembered  # type: ignore[return-value]
