"""How often what was asked of a structure has been traced."""

from __future__ import annotations

from typing import Any


def num_traces(circuit: Any) -> int:
    """Of all functions of a circuit's structure since `clear_traces`."""
    functions = circuit.program.traces._functions.values()
    return sum(function.experimental_get_tracing_count() for function in functions)
