"""Keras constraints of accumulators and scales."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max, safe_log

__all__ = [
    "Clip",
    "GreaterEqualEpsilon",
    "GreaterEqualEpsilonNormalized",
    "LogNormalized",
]


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

    def __init__(self, min: float, max: float | None = None) -> None:
        if max is not None and not min <= max:
            raise ValueError(
                f"Clip: received min={min} and max={max}, expected min to be at most "
                "max. Exchange them, or leave max out."
            )
        self.min = float(min)
        self.max = None if max is None else float(max)

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

    def __init__(self, epsilon: float = 1e-10) -> None:
        if not epsilon > 0:
            raise ValueError(
                f"GreaterEqualEpsilon: received epsilon={epsilon}, expected a positive "
                "number. Use the default, 1e-10, for weights of sums."
            )
        self.epsilon = float(epsilon)

    def __call__(self, w: Tensor) -> Tensor:
        """Returns ``max(w, epsilon)``."""
        w = keras.ops.convert_to_tensor(w)
        return keras.ops.maximum(w, keras.ops.cast(self.epsilon, w.dtype))

    def get_config(self) -> dict[str, float]:
        """Returns the constructor's arguments."""
        return {"epsilon": self.epsilon}


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

    def __init__(self, epsilon: float = 1e-10, axis: int = -2) -> None:
        if not epsilon > 0:
            raise ValueError(
                f"GreaterEqualEpsilonNormalized: received epsilon={epsilon}, expected "
                "a positive number. Use the default, 1e-10, for weights of sums."
            )
        self.epsilon = float(epsilon)
        self.axis = int(axis)

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the projected weights."""
        w = keras.ops.convert_to_tensor(w)
        smallest = keras.ops.cast(self.epsilon / w.shape[self.axis], w.dtype)
        w = keras.ops.maximum(w, smallest)
        return w / keras.ops.sum(w, axis=self.axis, keepdims=True)

    def get_config(self) -> dict[str, float]:
        """Returns the constructor's arguments."""
        return {"epsilon": self.epsilon, "axis": self.axis}


@register
class LogNormalized(keras.constraints.Constraint):
    """Subtracts the log-sum-exp, so that ``exp w`` sums to one along an axis.

        w_new[i] = w[i] - log sum_j exp w[j]

    Sums normalise their weights as they read them, so that this constraint changes
    none of their values. Where all are ``-inf`` they stay.

    Args:
        axis: The axis along which ``exp w`` sums to one.

    Example:
        >>> import numpy as np, tfp_spn
        >>> constraint = tfp_spn.constraints.LogNormalized(axis=0)
        >>> np.exp(constraint(np.log([2.0, 6.0]))).round(6).tolist()
        [0.25, 0.75]
    """

    def __init__(self, axis: int = -2) -> None:
        self.axis = int(axis)

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the normalised logarithms."""
        w = tf.convert_to_tensor(w)
        maximum = finite_max(w, self.axis)
        total = tf.reduce_sum(tf.exp(w - maximum), self.axis, keepdims=True)
        log_total = safe_log(total) + maximum
        return w - tf.where(total > 0, log_total, tf.zeros_like(log_total))

    def get_config(self) -> dict[str, int]:
        """Returns the constructor's arguments."""
        return {"axis": self.axis}
