"""Logarithmic accumulators normalised."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfp_spn._arguments import an_axis, check_axis, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max, safe_log


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

    @reads(axis=an_axis())
    def __init__(self, axis: int = -2) -> None:
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the normalised logarithms."""
        w = tf.convert_to_tensor(w)
        check_axis("LogNormalized", self.axis, w.shape)
        maximum = finite_max(w, self.axis)
        total = tf.reduce_sum(tf.exp(w - maximum), self.axis, keepdims=True)
        log_total = safe_log(total) + maximum
        return w - tf.where(total > 0, log_total, tf.zeros_like(log_total))

    def get_config(self) -> dict[str, int]:
        """Returns the constructor's arguments."""
        return {"axis": self.axis}
