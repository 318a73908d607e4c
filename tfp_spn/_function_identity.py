"""Tells one function from another, now and in a later process."""

from __future__ import annotations

import dis
import functools
import hashlib
import types
from collections.abc import Iterator
from types import CellType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)
_SHOWN_ONLY = ("__doc__", "__firstlineno__", "__module__", "__qualname__")
_HOSTS = ("builtins", "keras", "numpy", "tensorflow", "tensorflow_probability")
_HAVE_STATE = (keras.Operation, tf.Module, tf.Variable)  # which training changes


def function_identity(function: object) -> dict[str, str]:
    """Tells functions apart that have no registered name, ready for JSON.

    Two of equal code, defaults, closures and globals are the same, wherever they are
    defined; of values that are neither plain nor arrays only the class is known.

    Args:
        function: A function, a class or another callable.

    Returns:
        Its name, and a hash of what is known.
    """
    named = function if hasattr(function, "__qualname__") else type(function)
    known = _Known(str(named.__module__)).of(function)
    code = hashlib.sha256(repr(known).encode("utf-8", "backslashreplace"))
    return {"function": named.__qualname__, "code": code.hexdigest()[:16]}


class _Known:
    """Reads functions and classes of one package; those of others have their names."""

    def __init__(self, module: str) -> None:
        self.package = module.split(".")[0]
        # By id, with their number: functions may name themselves. Held, so that no
        # other object gets the id.
        self.seen: dict[int, tuple[int, object]] = {}

    def of(self, value: object) -> Any:
        """A nest of tuples and strings, the same in every process."""
        if isinstance(value, _PLAIN):
            return type(value).__name__, repr(value)
        if isinstance(value, list | tuple):
            return tuple(map(self.of, value))
        if isinstance(value, set | frozenset):
            return tuple(sorted((self.of(item) for item in value), key=repr))
        if isinstance(value, dict):
            return tuple(sorted(map(self.of, value.items()), key=repr))
        is_tensor = isinstance(value, tf.Tensor) and hasattr(value, "numpy")
        if is_tensor or isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            if array.dtype.hasobject:
                return self.of(array.tolist())
            content = hashlib.sha256(array.tobytes()).hexdigest()
            return str(array.dtype), array.shape, content
        if isinstance(value, types.ModuleType):
            return value.__name__
        if id(value) in self.seen:
            return self.seen[id(value)][0]
        self.seen[id(value)] = (len(self.seen), value)
        return tuple(map(self.of, self._parts(value)))

    def _parts(self, value: object) -> Iterator[object]:
        if isinstance(value, types.CodeType):
            yield from (value.co_code, value.co_consts, value.co_names)
            yield value.co_varnames
        elif isinstance(value, functools.partial):
            yield from (value.func, value.args, value.keywords)
        elif isinstance(value, types.MethodType):
            yield from (value.__func__, value.__self__)
        elif isinstance(value, staticmethod | classmethod | property):
            yield getattr(value, "fget", None) or getattr(value, "__func__", None)
        elif isinstance(value, types.FunctionType) and self._is_own(value):
            yield from (value.__code__, value.__defaults__, value.__kwdefaults__)
            yield from map(_content, value.__closure__ or ())
            yield [value.__globals__.get(name) for name in _globals_in(value.__code__)]
        elif isinstance(value, type) and self._is_own(value):
            yield value.__bases__
            for name, part in sorted(vars(value).items()):
                if name not in _SHOWN_ONLY and isinstance(part, _OF_CLASSES):
                    yield from (name, part)
        elif hasattr(value, "__qualname__"):
            yield f"{value.__module__}.{value.__qualname__}"
        elif hasattr(value, "__wrapped__"):  # by a cache, or tf.function
            yield value.__wrapped__
        else:
            yield type(value)
            if callable(value) and not isinstance(value, _HAVE_STATE):
                yield getattr(value, "__dict__", None)

    def _is_own(self, value: object) -> bool:
        package = str(value.__module__).split(".")[0]
        return package == self.package and package not in _HOSTS


_OF_CLASSES = (*_PLAIN, types.FunctionType, staticmethod, classmethod, property)


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _globals_in(code: types.CodeType) -> list[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return sorted(found)
