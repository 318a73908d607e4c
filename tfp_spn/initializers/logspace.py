"""Logarithms of the values of an initializer."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfp_spn._keras_typing import Initializer
from tfp_spn._serialization import initializer_of, register, serialize
from tfp_spn._typing import Config, DTypeLike, Tensor
from tfp_spn.ops.log_space import safe_log


@register
class Logspace(keras.initializers.Initializer):
    """Logarithms of the values of another initializer, ``-inf`` where none is positive.

    Layers take the logarithms of initial weights themselves; this is for variables of
    your own.

    Args:
        initializer: The other initializer.

    Example:
        >>> import tfp_spn
        >>> initializer = tfp_spn.initializers.Logspace("ones")
        >>> initializer(shape=(2,)).numpy().tolist()
        [0.0, 0.0]
    """

    def __init__(self, initializer: Initializer) -> None:
        self.initializer = initializer_of(self, "initializer", initializer)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Returns logarithms of this shape."""
        return safe_log(self.initializer(shape, dtype=dtype))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"initializer": serialize(self.initializer)}
