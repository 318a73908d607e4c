"""Python that is written down as it runs: the code of a report is what was done."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec, TypeVar

_INDENT = " " * 4
_WRAPPER = textwrap.TextWrapper(
    88, _INDENT, _INDENT, break_long_words=False, break_on_hyphens=False
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Script:
    """Calls, each made and written down.

    Arguments are written by the names of the values that they are; values without a
    name by the call that gave them, or as constants.

    Args:
        **given: What whoever runs the code has to have, by name.
    """

    def __init__(self, **given: object) -> None:
        self._lines = [f"# {', '.join(given)}: as `learn` had them"]
        self._known = [(value, name) for name, value in given.items()]

    def copy(self) -> Script:
        """Another one that begins like this one."""
        other = copy.copy(self)
        other._lines, other._known = [*self._lines], [*self._known]
        return other

    def call(
        self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Calls a function; that is written where its value is used."""
        value = function(*args, **kwargs)
        self._known.append((value, self._call(function, args, kwargs)))
        return value

    def let(
        self,
        name: str,
        function: Callable[_P, _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Calls a function and names its value, or by ``"one, other"`` its parts."""
        value = function(*args, **kwargs)
        self.write(f"{name} = ", function, *args, **kwargs)
        parts = value if isinstance(value, tuple) else (value,)
        self._known += zip(parts, name.split(", "), strict=True)
        return value

    def write(
        self,
        left: str,
        function: Callable[_P, _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> None:
        """Writes a call that is made elsewhere, and what stands left of it."""
        line = left + self._call(function, args, kwargs)
        if len(line) > _WRAPPER.width:
            head, rest = line.split("(", 1)
            line = f"{head}(\n{_WRAPPER.fill(rest)}"
        self._lines.append(line)

    def __str__(self) -> str:
        """The code of all that was written."""
        body = "\n".join(self._lines)
        used = [name for name in ("keras", "tfp_spn") if f"{name}." in body]
        return "\n".join([*(f"import {name}" for name in used), body])

    def _call(
        self, function: Callable, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> str:
        parts = [self._text(value) for value in args]
        left = dict(kwargs)
        for known, name in self._names():
            if isinstance(known, dict) and all(
                left.get(key) is value for key, value in known.items()
            ):
                parts.append(f"**{name}")
                left = {key: left[key] for key in left if key not in known}
        parts += [f"{key}={self._text(value)}" for key, value in left.items()]
        return f"{self._path(function)}({', '.join(parts)})"

    def _text(self, value: object) -> str:
        if not isinstance(value, bool | int | float | str | None):
            for known, name in self._names():
                if known is value:
                    return name
        if isinstance(value, list):
            return f"[{', '.join(map(self._text, value))}]"
        if isinstance(value, tuple) and len(value) > 1:
            return f"({', '.join(map(self._text, value))})"
        return repr(value)

    def _names(self) -> Iterator[tuple[object, str]]:
        """All values with a name, those within tables after the whole."""
        for value, name in self._known:
            yield value, name
            if dataclasses.is_dataclass(value):
                yield from ((own, f"{name}.{key}") for key, own in vars(value).items())

    def _path(self, function: Callable) -> str:
        """Where users find a function: as high up in its package as it has its name."""
        name = function.__name__
        if inspect.ismethod(function):
            return f"{self._text(function.__self__)}.{name}"
        parts = [part for part in function.__module__.split(".") if part != "src"]
        for end in range(1, len(parts) + 1):
            module = ".".join(parts[:end])
            if getattr(sys.modules.get(module), name, None) is function:
                return f"{module}.{name}"
        return name
