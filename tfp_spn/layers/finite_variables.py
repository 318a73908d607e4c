"""Checks that the variables of layers hold finite numbers.

Logarithms of weights may also be -inf, since a weight may be zero. Their Keras
variables have the attribute ``is_log_weight = True``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfp_spn.layers.untouched import mark_touched


class Entry(NamedTuple):
    """A number in a variable.

    Attributes:
        value: The number.
        name: Name of the variable.
        place: Its index there.
    """

    value: float
    name: str
    place: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.value} in '{self.name}' at {list(self.place)}"


class Content(NamedTuple):
    """The values of a variable.

    Attributes:
        name: Name of the variable.
        values: Its values.
        is_log_weight: Whether they may be -inf.
    """

    name: str
    values: np.ndarray
    is_log_weight: bool = False


class FiniteVariables:
    """Mixin of Keras layers that refuse files with values that are not finite."""

    def load_own_variables(self, store: Any) -> None:
        """Reads the layer's own variables from a file.

        Raises:
            ValueError: A value is NaN or infinite; the variables keep their values.
        """
        layer: Any = self
        before = [(variable, variable.numpy()) for variable in layer.weights]
        try:
            super().load_own_variables(store)  # type: ignore[misc]
            check_loaded(layer)
            mark_touched(layer.weights)
        except Exception as error:
            for variable, value in before:
                variable.assign(value)
            # Keras comes back to a layer with several owners, with nothing to read, and
            # tells of the last error only.
            first = self.__dict__.get("_refusal", error)
            self.__dict__["_refusal"] = error if list(store.keys()) else first
            raise self.__dict__["_refusal"]  # noqa: B904
        self.__dict__.pop("_refusal", None)


def check_loaded(layer: keras.layers.Layer) -> None:
    """Raises a `ValueError` unless what a layer has read from a file is finite."""
    found = first_not_finite(contents(layer.weights))
    if found is not None:
        raise ValueError(
            f'{type(layer).__name__} "{layer.name}": the file holds values that are '
            f"not finite, received {found}, expected finite numbers (or -inf, of log-"
            "weights). Nothing was loaded into the layer. Load a file that was written "
            "before training failed."
        )


def contents(variables: Iterable[keras.Variable]) -> Iterator[Content]:
    """Yields the values of variables of Keras or TensorFlow, under their names."""
    for variable in variables:
        name = getattr(variable, "path", variable.name)
        is_log_weight = getattr(variable, "is_log_weight", False)
        yield Content(name, variable.numpy(), is_log_weight)


def first_not_finite(contents: Iterable[Content]) -> Entry | None:
    """A number that its variable must not hold, or `None`."""
    for name, values, is_log_weight in contents:
        if not np.issubdtype(values.dtype, np.inexact):
            continue
        allowed = np.isfinite(values)
        if is_log_weight:
            allowed |= np.isneginf(values)
        if not allowed.all():
            place = tuple(int(axis) for axis in np.argwhere(~allowed)[0])
            return Entry(float(values[place]), name, place)
    return None
