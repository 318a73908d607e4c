"""Log-weights of sum layers that are normalised once for many calls.

A layer that is called at every step of a loop would normalise its weights every time.
That costs time, and would be wrong under the rules of EM: what is normalised, when a
weight's counts come back, are the counts of all steps together.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tfp_spn._typing import Tensor

# Of each thread its own: replicas trace in threads, and share the layers.
_HELD: contextvars.ContextVar[Mapping[int, Tensor]] = contextvars.ContextVar(
    "held_log_weights", default=MappingProxyType({})
)


def held_log_weights(layer: object) -> Tensor | None:
    """Returns the log-weights that `hold_log_weights` holds for a layer, or `None`."""
    return _HELD.get().get(id(layer))


@contextlib.contextmanager
def hold_log_weights(sums: Iterable[Any]) -> Iterator[None]:
    """Within the context, `log_weights` of the given sums is evaluated once.

    Args:
        sums: Layers with weights (`BaseSum`).
    """
    held = {id(layer): layer.log_weights() for layer in sums}
    token = _HELD.set({**_HELD.get(), **held})
    try:
        yield
    finally:
        _HELD.reset(token)
