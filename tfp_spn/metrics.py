"""Keras metrics of models whose output is ``log p(x, class)``."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfp_spn._arguments import LARGEST_INTEGER, a_count, a_rate, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Tensor, TensorLike
from tfp_spn.learning.targets import check_are_classes
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.programs.labels import log_joint_of_labels

__all__ = ["BitsPerDimension", "LogJoint", "LogLikelihood"]


class MeanOverExamples(keras.metrics.Mean):
    """Base: the weighted mean of `example_values`.

    An example of weight zero does not count, even where its value is ``-inf``. Steps of
    sequences are examples; those that a Keras mask of the predictions leaves out are
    not.
    """

    def example_values(self, y_true: TensorLike, y_pred: Tensor) -> Tensor:
        """Values of the examples, ``[batch]`` or ``[batch, num_steps]``."""
        raise NotImplementedError

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> None:
        """Adds a batch."""
        mask = getattr(y_pred, "_keras_mask", None)
        values = self.example_values(y_true, tf.convert_to_tensor(y_pred))
        if sample_weight is not None:
            sample_weight = tf.cast(sample_weight, values.dtype)
            if sample_weight.shape.rank != values.shape.rank:
                sample_weight = tf.reshape(
                    sample_weight, [-1] + [1] * (values.shape.rank - 1)
                )
            sample_weight = tf.broadcast_to(sample_weight, tf.shape(values))
        if mask is not None and values.shape.rank == len(mask.shape):
            flags = tf.cast(mask, values.dtype)
            sample_weight = flags if sample_weight is None else flags * sample_weight
        if sample_weight is not None:
            values = tf.where(sample_weight == 0, tf.zeros_like(values), values)
        super().update_state(values, sample_weight)


@register
class LogLikelihood(MeanOverExamples):
    """Mean of ``log p(x) = logsumexp_c y_pred[b, c]``, in nats; targets are ignored.

    Args:
        name: Name of the metric.
        dtype: See `keras.metrics.Metric`.

    Example:
        >>> import numpy as np, tfp_spn
        >>> metric = tfp_spn.metrics.LogLikelihood()
        >>> y_pred = np.log([[0.25, 0.25], [0.5, 0.5]])
        >>> round(float(metric(np.zeros([2]), y_pred)), 4)  # (log 1/2 + log 1) / 2
        -0.3466
    """

    def __init__(self, name: str = "llh", dtype: DTypeLike = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def example_values(self, y_true: TensorLike, y_pred: Tensor) -> Tensor:
        """``log p(x)``."""
        return logsumexp(y_pred, axis=-1)


@register
class LogJoint(MeanOverExamples):
    """Mean of ``log p(x, y) = y_pred[b, y_true[b]]``, in nats.

    A label that is not a class has probability zero: the mean is then ``-inf``.

    Args:
        name: Name of the metric.
        dtype: See `keras.metrics.Metric`.

    Raises:
        ValueError: Targets are one-hot vectors.

    Example:
        >>> import numpy as np, tfp_spn
        >>> metric = tfp_spn.metrics.LogJoint()
        >>> round(float(metric(np.array([1]), np.log([[0.75, 0.25]]))), 4)  # log 1/4
        -1.3863
    """

    def __init__(self, name: str = "log_joint", dtype: DTypeLike = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def example_values(self, y_true: TensorLike, y_pred: Tensor) -> Tensor:
        """``log p(x, y)``."""
        check_are_classes("LogJoint", y_true, y_pred)
        shape = tf.shape(y_pred)
        joint = tf.transpose(tf.reshape(y_pred, [-1, shape[-1]]))
        labels = tf.reshape(y_true, [-1])
        return tf.reshape(log_joint_of_labels(joint, labels), shape[:-1])


@register
class BitsPerDimension(MeanOverExamples):
    """Mean of ``-log2 p(x) / num_dimensions``, comparable between data sets and models.

        bits = -logsumexp_c y_pred[b, c] / (num_dimensions log 2) + log2(scale)

    Args:
        num_dimensions: Dimensions of an example: variables (times their dimensions).
        scale: What the data were divided by before the model saw them, such as 256 for
            grey values brought to [0, 1]: the density is then that of the grey values,
            whose bins have width 1. (A constant shift makes no difference.)
        name: Name of the metric.
        dtype: See `keras.metrics.Metric`.

    Raises:
        ValueError: An argument is not positive.

    Example:
        >>> import numpy as np, tfp_spn
        >>> metric = tfp_spn.metrics.BitsPerDimension(num_dimensions=2)
        >>> float(metric(np.zeros([1]), np.log([[1 / 64]])))  # 6 bits, 2 dimensions
        3.0
    """

    @reads(num_dimensions=a_count(most=LARGEST_INTEGER), scale=a_rate(above=0))
    def __init__(
        self,
        num_dimensions: int,
        scale: float = 1.0,
        name: str = "bits_per_dimension",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_dimensions = num_dimensions
        self.scale = scale

    def example_values(self, y_true: TensorLike, y_pred: Tensor) -> Tensor:
        """Bits per dimension."""
        nats = -logsumexp(y_pred, axis=-1) / self.num_dimensions
        return (nats + math.log(self.scale)) / math.log(2.0)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_dimensions": self.num_dimensions,
            "scale": self.scale,
        }
