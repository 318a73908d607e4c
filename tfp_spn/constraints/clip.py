"""Values kept in an interval."""

from __future__ import annotations

import keras

from tfp_spn._arguments import a_rate, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Tensor


@register
class Clip(keras.constraints.Constraint):
    """Values from `min` to `max`.

    Used as the `scale_constraint` of location-scale leaves. In contrast to LibSPN-Keras
    `max` may really be left out.

    Args:
        min: The smallest value.
        max: The largest value; `None` for none.

    Raises:
        ValueError: `max` is smaller than `min`.

    Example:
        >>> import numpy as np, tfp_spn
        >>> tfp_spn.constraints.Clip(0.5)(np.array([0.25, 2.0])).numpy().tolist()
        [0.5, 2.0]
        >>> tfp_spn.constraints.Clip(0.5, 1.0)(np.array([0.25, 2.0])).numpy().tolist()
        [0.5, 1.0]
    """

    @reads(min=a_rate(), max=a_rate())
    def __init__(self, min: float, max: float | None = None) -> None:
        if max is not None and not min <= max:
            raise ValueError(
                f"Clip: received min={min} and max={max}, expected min to be at most "
                "max. Exchange them, or leave max out."
            )
        self.min = min
        self.max = max

    def __call__(self, w: Tensor) -> Tensor:
        """Returns ``min(max(w, self.min), self.max)``."""
        w = keras.ops.convert_to_tensor(w)
        w = keras.ops.maximum(w, keras.ops.cast(self.min, w.dtype))
        if self.max is None:
            return w
        return keras.ops.minimum(w, keras.ops.cast(self.max, w.dtype))

    def get_config(self) -> dict[str, float | None]:
        """Returns the constructor's arguments."""
        return {"min": self.min, "max": self.max}
