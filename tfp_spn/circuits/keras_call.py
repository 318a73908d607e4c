"""Calls of Keras' own methods: what they say of the examples, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from tfp_spn._datasets import is_endless
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import Data, values_and_mask


class KerasCall:
    """A call of `fit`, `evaluate` and the like, before Keras gets it.

    Args:
        method: Keras' method.
        args: Its arguments by position.
        kwargs: Its arguments by name.

    Attributes:
        method: Keras' method.
        arguments: All arguments by name.
    """

    def __init__(
        self, method: Callable, args: tuple, kwargs: dict[str, object]
    ) -> None:
        self.method = method
        self._known = inspect.signature(method).parameters
        self.arguments = inspect.signature(method).bind(*args, **kwargs).arguments
        self.arguments.update(self.arguments.pop("kwargs", {}))

    def __call__(self) -> Any:
        """Keras' result."""
        return self.method(**self.arguments)

    @property
    def data(self) -> Data:
        """The examples; a stream of batches, which brings the rest, is `x`."""
        given = self.arguments.get
        return Data(*values_and_mask(given("x")), given("y"), given("sample_weight"))

    def check_end(self) -> None:
        """Raises a `ValueError` for datasets that never end, unless steps are given."""
        names = (("x", "steps_per_epoch"), ("validation_data", "validation_steps"))
        for name, steps in names:
            steps = steps if "steps" not in self._known else "steps"
            given = self.arguments.get
            if is_endless(given(name)) and given(steps) is None:
                raise ValueError(
                    f"{self.method.__name__}: received {name}, a dataset that never "
                    f"ends, without {steps}, expected one that can be read to its end. "
                    f"Leave out repeat(), or pass {steps}=100."
                )

    def replace(
        self, prepared: Callable[[TensorLike, TensorLike, TensorLike], tuple]
    ) -> None:
        """Replaces the examples, those for validation too.

        Args:
            prepared: What returns inputs, targets and weights in place of those given.
        """
        names = ("x", "y", "sample_weight")
        given = [self.arguments.get(name) for name in names]
        for name, old, new in zip(names, given, prepared(*given), strict=True):
            if new is not old:  # not all methods have all of them
                self.arguments[name] = new
        validation = self.arguments.get("validation_data")
        if validation is not None:
            parts = keras.utils.unpack_x_y_sample_weight(validation)
            self.arguments["validation_data"] = prepared(*parts)
