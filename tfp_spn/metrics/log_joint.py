"""The mean log joint probability of data and labels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.metrics._mean_over_examples import MeanOverExamples
from tfp_spn.programs.labels import log_joint_of_labels


@register
class LogJoint(MeanOverExamples):
    """Mean of ``log p(x, y) = y_pred[b, y_true[b]]``, in nats.

    A label that is no class has probability zero: the mean is then ``-inf``.

    Args:
        name: Name of the metric.
        dtype: See `keras.metrics.Metric`.

    Example:
        >>> import numpy as np, tfp_spn
        >>> metric = tfp_spn.metrics.LogJoint()
        >>> round(float(metric(np.array([1]), np.log([[0.75, 0.25]]))), 4)  # log 1/4
        -1.3863
    """

    def __init__(self, name: str = "log_joint", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def example_values(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """``log p(x, y)``."""
        shape = tf.shape(y_pred)
        joint = tf.transpose(tf.reshape(y_pred, [-1, shape[-1]]))
        labels = tf.reshape(y_true, [-1])
        return tf.reshape(log_joint_of_labels(joint, labels), shape[:-1])
