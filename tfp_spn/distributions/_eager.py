"""Densities outside of graphs: compiled from the second call on.

Run operation by operation, a small circuit takes a hundred times longer than it needs.
One trace serves all views of a circuit and, after the second shape of values, all
shapes. The first call and later ones may differ in the last digit.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.distributions import _density

_Key = tuple[Any, ...]

_seen: weakref.WeakKeyDictionary[Any, dict[_Key, Callable | None]] = (
    weakref.WeakKeyDictionary()
)


def log_prob(distribution: Any, value: Tensor, observed: Tensor | None) -> Tensor:
    """`_density.log_prob`; a first call runs as it is, for it may be the only one.

    Args:
        distribution: A view of a circuit's own variables.
        value: ``[..., V(, D)]``.
        observed: bool ``[..., V]`` or `None`.
    """
    circuit = distribution.circuit
    functions = _seen.setdefault(circuit, {})
    key = (distribution.program, value.shape.rank, observed is None)
    if key not in functions:
        functions[key] = None
        return _density.log_prob(distribution, value, observed)
    function = functions[key]
    if function is None:
        function = functions[key] = _compiled(circuit)
    return function(value) if observed is None else function(value, observed)


def _compiled(circuit: Any) -> Callable[..., Tensor]:
    # Not the circuit itself: the function would keep it, and so itself, alive.
    program, params = circuit.program, circuit.live_params()

    @tf.function(autograph=False, reduce_retracing=True)
    def log_prob(value: Tensor, observed: Tensor | None = None) -> Tensor:
        return _density.log_prob_of(program, params, value, observed)

    return log_prob
