"""Equal, very small weights."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Tensor


@register
class EpsilonInverseFanIn(keras.initializers.Initializer):
    """Weights ``epsilon / K`` for ``K`` children.

    Meant for hard EM, whose counts then outweigh the initial weights from the first
    batch on. All sums of a region start alike: only a rule that breaks ties at random
    tells them apart.

    Args:
        axis: The axis of the children.
        epsilon: The sum of the weights, positive.

    Raises:
        ValueError: `epsilon` is not positive.

    Example:
        >>> import tfp_spn
        >>> initializer = tfp_spn.initializers.EpsilonInverseFanIn(epsilon=0.5)
        >>> initializer(shape=(4, 2)).numpy().max().item()
        0.125
    """

    def __init__(self, axis: int = -2, epsilon: float = 1e-4) -> None:
        if not epsilon > 0:
            raise ValueError(
                f"EpsilonInverseFanIn: received epsilon={epsilon}, expected a positive "
                "number. Use the default, 1e-4."
            )
        self.axis = int(axis)
        self.epsilon = float(epsilon)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Returns weights of this shape."""
        value = self.epsilon / shape[self.axis]
        return keras.ops.full(
            shape, value, dtype=keras.backend.standardize_dtype(dtype)
        )

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"axis": self.axis, "epsilon": self.epsilon}
