"""Logarithms of the values of an initializer."""

from __future__ import annotations

from typing import Any

import keras

from tfp_spn._serialization import initializer_of, register, serialize
from tfp_spn._typing import Tensor
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

    def __init__(self, initializer: Any) -> None:
        self.initializer = initializer_of(self, "initializer", initializer)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """Returns logarithms of this shape."""
        return safe_log(self.initializer(shape, dtype=dtype))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"initializer": serialize(self.initializer)}
