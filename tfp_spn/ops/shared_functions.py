"""Functions that are traced once and called by all graphs that need them.

What takes long to trace and to optimise, and occurs in a graph many times, is a call
there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import tensorflow as tf

_MAX_FUNCTIONS = 64


@functools.lru_cache(_MAX_FUNCTIONS)
def shared_function(
    function: Callable, *arguments: Hashable
) -> tf.types.experimental.ConcreteFunction:
    """The trace of a function of a module.

    Args:
        function: The function.
        *arguments: Specs of tensors, with which the trace is called, then whatever else
            it takes.
    """
    attributes = {"_noinline": True}
    traced = tf.function(function, autograph=False, experimental_attributes=attributes)
    with tf.init_scope():  # so that the graph that asks first can go
        return traced.get_concrete_function(*arguments)


def forget_shared_functions() -> None:
    """Forgets the functions; graphs that call them keep what they call."""
    shared_function.cache_clear()
