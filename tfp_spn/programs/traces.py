"""Compiled functions that circuits of equal structure share.

What a circuit computes depends on its structure alone: parameters are arguments. So one
trace serves all circuits of one structure, as in a grid search, in a loop over folds,
or when a model is loaded again. Traces live as long as any circuit of their structure
does; `clear_traces` drops them all.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import tensorflow as tf
from tensorflow.python.eager.forwardprop_util import pack_tangents
from tensorflow.python.eager.record import could_possibly_record

from tfp_spn._typing import Config, Tensor
from tfp_spn.ops.certainty import CHECKED, EXACT, Certainty, reporting
from tfp_spn.ops.custom_gradient import Gradients
from tfp_spn.ops.shared_functions import forget_shared_functions

T = TypeVar("T")

MAX_FUNCTIONS = 128
"""Functions kept for one structure; the one that was longest unused goes first."""

Body = Callable[..., Any]
"""Computes something of a program, a `Certainty` and further arguments."""


class Traces:
    """The functions of one structure.

    They know the structure by any of the living programs that have it, so that they
    keep no circuit, and none of its variables, alive.
    """

    def __init__(self) -> None:
        self._programs: weakref.WeakSet[object] = weakref.WeakSet()
        self._functions: OrderedDict[
            Hashable, tf.types.experimental.PolymorphicFunction
        ] = OrderedDict()
        self._calls: dict[Hashable, _Call] = {}
        self._lock = threading.RLock()

    def add(self, program: object) -> None:
        """Notes a program of this structure."""
        self._programs.add(program)

    def clear(self) -> None:
        """Forgets all functions."""
        with self._lock:
            self._functions.clear()
            self._calls.clear()

    def call(
        self,
        body: Body,
        certainty: str,
        *arguments: Tensor,
        is_compiled: bool = True,
        **options: object,
    ) -> Tensor:
        """``body(program, certainty, *arguments)``, compiled.

        Sizes that change from call to call are left open after the second one.

        Args:
            body: A function of a module, or of hashable parts: it is kept.
            certainty: ``"checked"``, ``"exact"``, ``"reporting"``, then the result is a
                pair, with whether digits may have been lost, or ``"blockwise"``, the
                same where there may be too much for one pass.
            *arguments: Nests of tensors, or `None`.
            is_compiled: Whether to compile it at all, which
                `tf.config.run_functions_eagerly` may forbid, too.
            **options: Of `tf.function`.
        """
        if not is_compiled or tf.config.functions_run_eagerly():
            return self._computed(body, certainty, arguments)
        if could_possibly_record():
            arguments = _read_if_pushed_forward(arguments)
        flat = tf.nest.flatten(arguments)
        ranks = tuple(None if t is None else len(t.shape) for t in flat)
        key = (body, certainty, ranks, tuple(sorted(options.items())))
        if not tf.executing_eagerly() or could_possibly_record():
            return self._call_function(key, arguments)
        given = [t for t in flat if t is not None]
        sizes = key, tuple((type(t), t.shape, t.dtype) for t in given)
        call = self._calls.get(sizes)
        if call is not None:
            return call(given)
        result = self._call_function(key, arguments)
        self._keep_call(sizes, given, arguments)
        return result

    def _computed(self, body: Body, certainty: str, arguments: tuple) -> Tensor:
        """What the compiled function of a body computes."""
        program = next(iter(self._programs))
        if certainty in _CERTAINTIES:
            return body(program, _CERTAINTIES[certainty], *arguments)
        found = reporting(is_large=certainty == "blockwise")
        return body(program, found, *arguments), found.is_lossy

    def _call_function(self, key: tuple, arguments: tuple) -> Tensor:
        """Calls the compiled function of a key, which is made if there is none."""
        body, certainty, _, options = key
        with self._lock:
            function = self._functions.get(key)
            if function is None:
                function = self._made(body, certainty, dict(options))
                self._functions[key] = function
                while len(self._functions) > MAX_FUNCTIONS:
                    self._functions.popitem(last=False)
            else:
                self._functions.move_to_end(key)
        if not tf.executing_eagerly():
            function.gradients.keep_for_caller()
        try:
            return function(*arguments)
        except tf.errors.OpError:  # while it ran: its trace is whole
            raise
        except BaseException:
            with self._lock:
                self._functions.pop(key, None)
            raise

    def _keep_call(self, sizes: tuple, given: list[Tensor], arguments: tuple) -> None:
        """Notes the trace of these sizes, so that the next call finds it at once."""
        kinds = {type(t).__name__ for t in given if not isinstance(t, tf.Tensor)}
        with self._lock:
            function = self._functions.get(sizes[0])
            if function is None or kinds - {"ResourceVariable"}:
                return
            if len(self._calls) >= MAX_FUNCTIONS:
                self._calls.clear()
            self._calls[sizes] = _Call(function.get_concrete_function(*arguments))

    def _made(
        self, body: Body, certainty: str, options: Config
    ) -> tf.types.experimental.PolymorphicFunction:
        """Compiles a body."""
        options = {"reduce_retracing": True, **options}
        if options.pop("noinline", False):
            options["experimental_attributes"] = {"_noinline": True}

        gradients = Gradients()

        def function(*arguments: Tensor) -> Tensor:
            with gradients.collect():
                return self._computed(body, certainty, arguments)

        compiled = tf.function(function, autograph=False, **options)
        compiled.gradients = gradients
        # Each structure has a few sizes of its own, for which the user is not to blame.
        compiled._omit_frequent_tracing_warning = True  # noqa: SLF001
        return compiled


class _Call:
    """A traced function for arguments that are all as they were the first time.

    Half of what `tf.function` takes for a small circuit goes into finding out which
    trace a call needs, and whether a tape listens.
    """

    def __init__(self, traced: tf.types.experimental.ConcreteFunction) -> None:
        self._function = traced  # which has what the C++ function refers to
        self._traced, self._captured = traced.inference_fn, traced.captured_inputs

    def __call__(self, given: list[Tensor]) -> Tensor:
        inputs = [t if isinstance(t, tf.Tensor) else t.handle for t in given]
        return self._traced.call_preflattened([*inputs, *self._captured])


_CERTAINTIES: dict[str, Certainty] = {"checked": CHECKED, "exact": EXACT}

_BY_DIGEST: weakref.WeakValueDictionary[str, Traces] = weakref.WeakValueDictionary()


def traces_of(program: object, digest: str) -> Traces:
    """Returns the functions of a program's structure."""
    traces = _BY_DIGEST.get(digest)
    if traces is None:
        traces = _BY_DIGEST.setdefault(digest, Traces())
    traces.add(program)
    return traces


def clear_traces() -> None:
    """Forgets what has been traced and compiled for circuits, to free its memory.

    Circuits stay as they are; what they are asked next is traced anew. TensorFlow gives
    the graphs back, but not what XLA compiled (``jit_compile=True``).

    Example:
        >>> import tfp_spn
        >>> tfp_spn.circuits.clear_traces()
    """
    for traces in list(_BY_DIGEST.values()):
        traces.clear()
    forget_shared_functions()


def _read_if_pushed_forward(arguments: tuple) -> tuple:
    """Reads variables that a `tf.autodiff.ForwardAccumulator` has tangents of.

    It does not push them through variables that are arguments of functions.
    """
    flat = tf.nest.flatten(arguments)
    if not _have_tangents([value for value in flat if _is_plain_variable(value)]):
        return arguments
    read = [tf.convert_to_tensor(v) if _is_plain_variable(v) else v for v in flat]
    return tf.nest.pack_sequence_as(arguments, read)


def _have_tangents(values: list[Tensor]) -> bool:
    """Whether a `tf.autodiff.ForwardAccumulator` pushes some values forward."""
    handles = [v.handle for v in values if _is_plain_variable(v)]
    # One that is made in a function watches what the function captures of a handle.
    handles += [tf.convert_to_tensor(handle) for handle in handles]
    tensors = [value for value in values if isinstance(value, tf.Tensor)]
    return bool(pack_tangents(handles + tensors).tangents)


def _is_plain_variable(value: object) -> bool:  # not distributed
    return type(value).__name__ == "ResourceVariable"


class Traced(Protocol):
    """What has compiled functions: any program."""

    @property
    def traces(self) -> Traces:
        """The functions of its structure."""


def answer(
    program: Traced,
    body: Callable[..., T],
    *arguments: Tensor,
    is_large: bool = False,
    **options: object,
) -> T:
    """``body(program, certainty, *arguments)``, by a compiled function if it is eager.

    The exact passes are traced and run only if the fast ones were lossy: of everything,
    or of single blocks if there is too much for one pass.

    Args:
        program: The program.
        body: What is computed.
        *arguments: Nests of tensors, or `None`.
        is_large: Whether there is too much for one pass.
        **options: Of `tf.function`.
    """
    if not tf.executing_eagerly():
        # TensorFlow pushes tangents through functions, but not through each operation.
        if could_possibly_record() and _have_tangents(tf.nest.flatten(arguments)):
            return program.traces.call(body, "checked", *arguments)
        return body(program, CHECKED, *arguments)

    def call(certainty: str) -> Tensor:
        traces = program.traces
        return traces.call(body, certainty, *arguments, is_compiled=True, **options)

    result, is_lossy = call("blockwise" if is_large else "reporting")
    if not is_lossy:
        return result
    return call("checked" if is_large else "exact")
