"""`tf.custom_gradient` whose graphs can be forgotten."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

_KEPT = "_tfp_spn_gradients"


class Gradients:
    """Keeps the gradients' functions of graphs that are traced while it collects."""

    def __init__(self) -> None:
        self._kept: list[object] = []

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Collects those of custom gradients that are called meanwhile."""
        token = _collecting.set(self)
        try:
            yield
        finally:
            _collecting.reset(token)

    def keep_for_caller(self) -> None:
        """Lets the graph that is being built keep them, as it calls their graphs."""
        caller = _collecting.get()
        if caller is None:
            graph = tf.compat.v1.get_default_graph()
            setattr(graph, _KEPT, [*getattr(graph, _KEPT, []), self])
        elif caller is not self:
            caller._kept.append(self)

    def take(self, name: str) -> None:
        """Takes over a function that TensorFlow has registered."""
        registered = gradient_registry._registry[name]  # noqa: SLF001
        function = registered["type"]
        self._kept.append(function)
        registered["type"] = _Kept(function, self)
        forget = gradient_registry._registry.pop  # noqa: SLF001
        weakref.finalize(function, forget, name, None)


class _Kept:
    """A gradient's function that others keep."""

    def __init__(self, function: Callable[..., Any], gradients: Gradients) -> None:
        self._function, self._gradients = weakref.ref(function), weakref.ref(gradients)

    def __call__(self, *arguments: Any) -> Any:
        function, gradients = self._function(), self._gradients()
        if function is None or gradients is None:
            raise LookupError(
                "tfp_spn: the gradient of a function was asked for after `clear_traces`"
                " had forgotten it. Trace the function anew."
            )
        with gradients.collect():
            return function(*arguments)


_collecting: ContextVar[Gradients | None] = ContextVar("gradients", default=None)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function that returns its value and its gradient's function.

    TensorFlow keeps the gradient's function of each call in a graph for good, and with
    it the graph and all that the function refers to. Here `Gradients` keep it.
    """
    decorated = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        result = decorated(*arguments)
        gradients = _collecting.get()
        if gradients is not None:
            tensor = tf.nest.flatten(result)[0]
            if not isinstance(tensor, tf.__internal__.EagerTensor):
                gradients.take(tensor.op.get_attr("_gradient_op_type").decode())
        return result

    return call
