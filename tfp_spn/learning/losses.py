"""Losses for circuits that are trained by Keras."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import DTypeLike, Tensor, TensorLike
from tfp_spn.learning.targets import CircuitLoss
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.programs.labels import log_joint_of_labels


@register
class NegativeLogLikelihood(CircuitLoss):
    """``-log p(x)``: generative training, without labels.

        loss = -logsumexp_c y_pred[b, c],   y_pred[b, c] = log p(x[b], c)

    A model that returns a distribution in place of log-probabilities has the loss
    ``-y_pred.log_prob(y_true)``; for all other models targets are ignored.

    Args:
        reduction: See `keras.losses.Loss`.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.

    Example:
        >>> import numpy as np, tfp_spn
        >>> loss = tfp_spn.learning.NegativeLogLikelihood()
        >>> y_pred = np.log([[0.25, 0.25], [0.5, 0.5]])
        >>> round(float(loss(np.zeros([2]), y_pred)), 4)  # (log 2 + 0) / 2
        0.3466
    """

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "negative_log_likelihood",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(reduction, name, dtype)

    def _pair(self, y_true: TensorLike, y_pred: TensorLike) -> tuple[Tensor, Tensor]:
        if hasattr(y_pred, "log_prob"):
            y_pred = y_pred.log_prob(y_true)[..., tf.newaxis]
        return tf.zeros([tf.shape(y_pred)[0]]) if y_true is None else y_true, y_pred

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """The loss of each example."""
        return -logsumexp(tf.convert_to_tensor(y_pred), axis=-1)


@register
class NegativeLogJoint(CircuitLoss):
    """``-log p(x, y)``: generative training with labels.

        loss = -y_pred[b, y_true[b]],   y_pred[b, c] = log p(x[b], c)

    A label that is not a class has probability zero, and so an infinite loss.

    (For discriminative training use `keras.losses.SparseCategoricalCrossentropy` with
    ``from_logits=True``: its softmax turns the same output into ``log p(y | x)``.)

    Args:
        reduction: See `keras.losses.Loss`.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.

    Example:
        >>> import numpy as np, tfp_spn
        >>> loss = tfp_spn.learning.NegativeLogJoint()
        >>> round(float(loss(np.array([1]), np.log([[0.75, 0.25]]))), 4)  # log 4
        1.3863
    """

    needs_labels = True

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "negative_log_joint",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(reduction, name, dtype)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """The loss of each example."""
        y_pred = tf.convert_to_tensor(y_pred)
        shape = tf.shape(y_pred)
        joint = tf.transpose(tf.reshape(y_pred, [-1, shape[-1]]))
        labels = tf.reshape(y_true, tf.shape(joint)[1:])
        return -tf.reshape(log_joint_of_labels(joint, labels), shape[:-1])
