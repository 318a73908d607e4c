"""What the arguments of public functions may be: counts, rates, flags, axes, seeds.

    @reads(num_sums=a_count(), rate=a_rate(most=1), seed=a_seed())
    def __init__(self, num_sums: int, rate: float = 0.1, seed: int | None = None): ...

A reader takes a value and its place for messages, and returns the value as Python's
own type, or raises: `TypeError` for what is no number, flag or text, `ValueError` for
what is out of range.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

Reader = Callable[[object, str], Any]
_P = ParamSpec("_P")
_T = TypeVar("_T")

LARGEST_SIZE = 2**31 - 1
"""Of an axis: what an int32 index reaches."""

LARGEST_INTEGER = 2**63 - 1
LARGEST_SEED = 2**32 - 1  # of Keras and scikit-learn

_LARGEST_RANK = 254  # of a tensor
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120


def shown(value: object) -> str:
    """Writes a value for a message, cut: it may be of any size, depth and kind."""
    try:
        return _REPR.repr(value)
    except Exception:  # integers of too many digits, and whatever a class does
        return f"<{type(value).__name__}>"


def reads(**readers: Reader) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorates a function whose arguments of these names are read before its body.

    `None` passes where it is the default.

    Args:
        **readers: For each argument what it may be.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(function)
        optional = {n for n, p in signature.parameters.items() if p.default is None}
        is_method = next(iter(signature.parameters)) in ("self", "cls")

        @functools.wraps(function)
        def reading(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError:
                _check_positions(function.__name__, signature, args)
                return function(*args, **kwargs)  # which has Python's own message
            for name, read in readers.items():
                if name not in given.arguments:
                    continue
                value = given.arguments[name]
                if value is None and name in optional:
                    continue
                owner = _owner(function, args[0] if is_method else None, kwargs)
                given.arguments[name] = read(value, f"{owner}: `{name}`")
            return function(*given.args, **given.kwargs)

        reading.__signature__ = signature  # type: ignore[attr-defined]
        return reading

    return decorate


def _check_positions(
    name: str, signature: inspect.Signature, args: tuple[object, ...]
) -> None:
    """Raises a `TypeError` if arguments come by position that have to be named."""
    kinds = {n: p.kind for n, p in signature.parameters.items()}
    by_name = [n for n, k in kinds.items() if k is inspect.Parameter.KEYWORD_ONLY]
    first = [
        n for n, k in kinds.items() if k is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    has_rest = inspect.Parameter.VAR_POSITIONAL in kinds.values()
    if by_name and not has_rest and len(args) > len(first):
        raise TypeError(
            f"{name}: received {len(args)} arguments without a name, expected at most "
            f"{', '.join(first)}. Name the others, as in {name}({', '.join(first)}, "
            f"NAME=...), by one of: {', '.join(by_name)}."
        )


def read_fields(instance: object, **readers: Reader) -> None:
    """Reads fields of a frozen dataclass, in its ``__post_init__``, as `reads` does."""
    for name, read in readers.items():
        what = f"{type(instance).__name__}: `{name}`"
        object.__setattr__(instance, name, read(getattr(instance, name), what))


def _owner(function: Callable, instance: object, kwargs: Mapping[str, object]) -> str:
    if instance is None:
        return function.__name__
    if function.__name__ != "__init__":
        return f"{type(instance).__name__}.{function.__name__}"
    name = kwargs.get("name")
    return type(instance).__name__ + (f' "{name}"' if isinstance(name, str) else "")


def _given(what: str, value: object) -> str:
    """``name=value`` of an argument whose name is in backquotes, or the value alone."""
    name = what.split("`")[-2] if what.endswith("`") else ""
    return f"{name}={shown(value)}" if name else shown(value)


def as_int(value: Any, what: str, most: int = LARGEST_INTEGER) -> int:
    """Returns `value` as a Python int, or raises an error that names `what`."""
    number = None
    # bool has __index__, but a region called True is always a mistake.
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
    if number is None:
        raise TypeError(
            f"{what} must be an integer. Received {shown(value)} of type "
            f"{type(value).__name__}. Pass a Python or NumPy integer."
        )
    if abs(number) > most:
        received = shown(number) if number.bit_length() < 64 else "an integer"
        raise ValueError(
            f"{what} is out of range. Received {received} of {number.bit_length()} "
            f"bits; expected at most {most}. Pass a smaller one."
        )
    return number


def a_count(least: int = 1, most: int = LARGEST_SIZE) -> Reader:
    """Integers of at least `least`."""

    def read(value: object, what: str) -> int:
        number = as_int(value, what, most)
        if number < least:
            wanted = "a positive integer" if least == 1 else "a larger integer"
            raise ValueError(
                f"{what} must be at least {least}. Received {_given(what, number)}. "
                f"Pass {wanted}."
            )
        return number

    return read


def a_seed(most: int = LARGEST_INTEGER) -> Reader:
    """Integers from 0 on."""
    return a_count(least=0, most=most)


def an_axis() -> Reader:
    """Integers that may be the place of an axis, counted from either end."""
    return functools.partial(as_int, most=_LARGEST_RANK)


def a_rate(
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Reader:
    """Finite numbers in an interval.

    Args:
        least: The smallest.
        most: The largest.
        above: All are larger.
        below: All are smaller.
    """
    bounds = [
        f"{words} {bound:g}"
        for words, bound in (
            ("of at least", least),
            ("above", above),
            ("of at most", most),
            ("below", below),
        )
        if math.isfinite(bound)
    ]
    expected = " ".join(["a finite number", " and ".join(bounds)]).strip()

    def read(value: object, what: str) -> float:
        number = _as_float(value)
        if number is None:
            raise TypeError(
                f"{what} must be {expected}. Received {_given(what, value)} of type "
                f"{type(value).__name__}. Pass a Python or NumPy number."
            )
        is_within = least <= number <= most and above < number < below
        if not (is_within and math.isfinite(number)):
            raise ValueError(
                f"{what} must be {expected}. Received {_given(what, value)}. Correct "
                "the argument."
            )
        return number

    return read


def _as_float(value: Any) -> float | None:
    """A number of any library, or `None`: `float` also takes text and flags."""
    is_flag = isinstance(value, bool | np.bool_)
    if is_flag or isinstance(value, str | bytes | bytearray | memoryview):
        return None
    if not isinstance(value, numbers.Real) and getattr(value, "ndim", None):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except Exception:  # symbolic tensors and whatever a class does
        return None


def a_flag() -> Reader:
    """`True` or `False`; 1 and 0 stand for them."""

    def read(value: object, what: str) -> bool:
        is_one_or_zero = isinstance(value, numbers.Integral) and value in (0, 1)
        if not (isinstance(value, np.bool_) or is_one_or_zero):
            raise TypeError(
                f"{what} must be True or False. Received {_given(what, value)} of type "
                f"{type(value).__name__}. Pass one of them."
            )
        return bool(value)

    return read


def a_text() -> Reader:
    """A str."""

    def read(value: object, what: str) -> str:
        if not isinstance(value, str):
            raise TypeError(
                f"{what} must be a str. Received {_given(what, value)} of type "
                f"{type(value).__name__}. Pass text."
            )
        return value

    return read


def one_of(*choices: str) -> Reader:
    """One of these words."""

    def read(value: object, what: str) -> str:
        if not isinstance(value, str) or value not in choices:
            error = ValueError if isinstance(value, str) else TypeError
            raise error(
                f"{what} must be one of {', '.join(map(repr, choices))}. Received "
                f"{_given(what, value)}. Choose one of these."
            )
        return value

    return read


def _element(what: str, index: int) -> str:
    return f"{what[:-1]}[{index}]`" if what.endswith("`") else f"{what}[{index}]"


def or_function(read: Reader) -> Reader:
    """Functions as they are, anything else by `read`."""

    def read_other(value: object, what: str) -> object:
        is_function = callable(value) and not isinstance(value, type)
        return value if is_function else read(value, what)

    return read_other


def sequence_of(read: Reader, length: int | None = None, words: str = "") -> Reader:
    """Sequences, as tuples.

    Args:
        read: What each element may be.
        length: How many there must be.
        words: What the elements are, for messages.
    """

    def read_all(values: Any, what: str) -> tuple[object, ...]:
        is_sequence = isinstance(values, Sequence) or getattr(values, "ndim", 0) == 1
        if isinstance(values, str | bytes | bytearray) or not is_sequence:
            raise TypeError(
                f"{what} must be a sequence{words}. Received "
                f"{_given(what, values)} of type {type(values).__name__}. Pass a list "
                "or tuple."
            )
        if length is not None and len(values) != length:
            raise ValueError(
                f"{what} must have {length} elements{words}. Received "
                f"{_given(what, values)}. Pass {length}."
            )
        return tuple(read(v, _element(what, i)) for i, v in enumerate(values))

    return read_all


def each_of(read: Reader) -> Reader:
    """Iterables, which may be endless: elements are read as they are needed."""

    def read_later(values: object, what: str) -> Iterable[object]:
        if isinstance(values, list | tuple):
            return sequence_of(read)(values, what)
        if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
            raise TypeError(
                f"{what} must be an iterable. Received "
                f"{_given(what, values)} of type {type(values).__name__}. Pass a list "
                "or tuple."
            )
        return (read(v, _element(what, i)) for i, v in enumerate(values))

    return read_later


def one_or_each(read: Reader) -> Reader:
    """One number for all, or a sequence of them."""

    def read_them(values: object, what: str) -> object:
        has_axes = getattr(values, "ndim", 0) or isinstance(values, list | tuple)
        return (sequence_of(read) if has_axes else read)(values, what)

    return read_them


def rows_and_columns(values: object, what: str) -> tuple[int, int]:
    """Two counts, for rows and columns; one stands for both."""
    if isinstance(values, numbers.Integral):
        values = (values, values)
    pair = sequence_of(a_count(), 2, ", for rows and columns,")(values, what)
    return pair[0], pair[1]


def check_axis(owner: str, axis: int, shape: Sequence[int]) -> None:
    """Raises a `ValueError` unless a tensor of a shape has an axis."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"{owner}: received shape {tuple(shape)}, which has no axis={axis}; "
            f"expected an axis from {-len(shape)} to {len(shape) - 1}. Pass another "
            "axis, or values with more axes."
        )
