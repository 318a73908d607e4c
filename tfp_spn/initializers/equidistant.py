"""Components at equal distances."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Tensor


@register
class Equidistant(keras.initializers.Initializer):
    """Values from `minval` to `maxval` in equal steps along the axis of components.

        value[..., k, :] = minval + k (maxval - minval) / (K - 1)

    A single component lies in the middle. In contrast to LibSPN-Keras the values run
    over the *components*: there they run over the last axis of a location, the
    dimensions of a variable, so that all components of a one-dimensional variable start
    at `minval`.

    Args:
        minval: The first component's value.
        maxval: The last component's value.
        axis: The axis of the components: -2 for locations and scales of leaves.

    Example:
        >>> import tfp_spn
        >>> initializer = tfp_spn.initializers.Equidistant(-1.0, 1.0)
        >>> initializer(shape=(3, 1)).numpy()[:, 0].tolist()
        [-1.0, 0.0, 1.0]
    """

    def __init__(
        self, minval: float = 0.0, maxval: float = 1.0, axis: int = -2
    ) -> None:
        self.minval = float(minval)
        self.maxval = float(maxval)
        self.axis = int(axis)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Returns values of this shape."""
        shape = tuple(shape)
        if not -len(shape) <= self.axis < len(shape):
            raise ValueError(
                f"Equidistant: received shape {shape}, which has no axis {self.axis}; "
                "expected the shape of a leaf's locations, [..., num_components, "
                "dims]. Pass the axis of the components."
            )
        count = shape[self.axis]
        values = np.linspace(self.minval, self.maxval, count)
        if count == 1:
            values[:] = (self.minval + self.maxval) / 2
        along = [1] * len(shape)
        along[self.axis] = count
        return keras.ops.convert_to_tensor(
            np.broadcast_to(values.reshape(along), shape),
            dtype=keras.backend.standardize_dtype(dtype),
        )

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"minval": self.minval, "maxval": self.maxval, "axis": self.axis}
