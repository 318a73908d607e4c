"""Linear accumulators kept away from zero and normalised."""

from __future__ import annotations

import keras

from tfp_spn._arguments import a_rate, an_axis, check_axis, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Tensor


@register
class GreaterEqualEpsilonNormalized(keras.constraints.Constraint):
    """Raises weights to at least ``epsilon / K`` and divides them by their sum.

        w_new[i] = max(w[i], epsilon / K) / sum_j max(w[j], epsilon / K)

    ``K`` is the number of weights along `axis`. Sums normalise their weights as they
    read them, so that this constraint changes none of their values; it keeps what is
    stored from drifting, as the steps of hard EM make it. In contrast to LibSPN-Keras
    it works in any floating-point dtype.

    Args:
        epsilon: The smallest weight times their number, positive.
        axis: The axis along which weights sum to one.

    Raises:
        ValueError: `epsilon` is not positive.

    Example:
        >>> import numpy as np, tfp_spn
        >>> constraint = tfp_spn.constraints.GreaterEqualEpsilonNormalized(axis=0)
        >>> constraint(np.array([-1.0, 3.0, 1.0])).numpy().round(6).tolist()
        [0.0, 0.75, 0.25]
    """

    @reads(epsilon=a_rate(above=0), axis=an_axis())
    def __init__(self, epsilon: float = 1e-10, axis: int = -2) -> None:
        self.epsilon = epsilon
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the projected weights."""
        w = keras.ops.convert_to_tensor(w)
        check_axis("GreaterEqualEpsilonNormalized", self.axis, w.shape)
        smallest = keras.ops.cast(self.epsilon / w.shape[self.axis], w.dtype)
        w = keras.ops.maximum(w, smallest)
        return w / keras.ops.sum(w, axis=self.axis, keepdims=True)

    def get_config(self) -> dict[str, float]:
        """Returns the constructor's arguments."""
        return {"epsilon": self.epsilon, "axis": self.axis}
