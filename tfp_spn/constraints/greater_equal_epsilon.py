"""Linear accumulators kept away from zero."""

from __future__ import annotations

import keras

from tfp_spn._arguments import a_rate, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Tensor


@register
class GreaterEqualEpsilon(keras.constraints.Constraint):
    """Raises weights below `epsilon` to `epsilon`.

    Sums treat a negative linear accumulator as zero, from where no gradient leads back;
    this constraint keeps an optimizer's step from ending there.

    Args:
        epsilon: The smallest weight, positive.

    Example:
        >>> import numpy as np, tfp_spn
        >>> constraint = tfp_spn.constraints.GreaterEqualEpsilon(0.25)
        >>> constraint(np.array([-1.0, 0.5])).numpy().tolist()
        [0.25, 0.5]
    """

    @reads(epsilon=a_rate(above=0))
    def __init__(self, epsilon: float = 1e-10) -> None:
        self.epsilon = epsilon

    def __call__(self, w: Tensor) -> Tensor:
        """Returns ``max(w, epsilon)``."""
        w = keras.ops.convert_to_tensor(w)
        return keras.ops.maximum(w, keras.ops.cast(self.epsilon, w.dtype))

    def get_config(self) -> dict[str, float]:
        """Returns the constructor's arguments."""
        return {"epsilon": self.epsilon}
