"""Between generative and discriminative training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.learning.targets import check_targets
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.programs.labels import log_joint_of_labels


@register
class HybridGenerativeDiscriminative(keras.losses.Loss):
    """A mixture of cross-entropy and negative log-likelihood.

        loss = -weight * log p(y | x) - (1 - weight) * log p(x) / num_variables

    where ``y_pred[b, c] = log p(x[b], c)``. Weight 1 is discriminative training, weight
    0 generative training without labels; with ``num_variables=1``, 1/2 is half of
    `NegativeLogJoint`. Dividing by the number of variables brings both terms to
    comparable size [1].

    A label that is no class has probability zero, and so an infinite loss; an example
    of probability zero too.

    Args:
        discriminative_weight: The weight of the cross-entropy, from 0 to 1.
        num_variables: What the log-likelihood is divided by.
        reduction: See `keras.losses.Loss`.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, tfp_spn
        >>> loss = tfp_spn.losses.HybridGenerativeDiscriminative(0.5)
        >>> y_pred = np.log([[0.375, 0.125]])  # p(x) = 1/2, p(y=1 | x) = 1/4
        >>> round(float(loss(np.array([1]), y_pred)), 4)  # (log 2 + log 4) / 2
        1.0397

    References:
        [1]: Peharz et al. Random Sum-Product Networks: A Simple and Effective Approach
            to Probabilistic Deep Learning. UAI, 2019.
    """

    needs_labels = True

    def __init__(
        self,
        discriminative_weight: float = 0.5,
        num_variables: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str = "hybrid_generative_discriminative",
        dtype: Any = None,
    ) -> None:
        if not 0 <= discriminative_weight <= 1 or num_variables < 1:
            raise ValueError(
                "HybridGenerativeDiscriminative: received discriminative_weight="
                f"{discriminative_weight} and num_variables={num_variables}, expected "
                "a number from 0 to 1 and a positive integer. Use 1 to train "
                "discriminatively, 0 generatively."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.discriminative_weight = float(discriminative_weight)
        self.num_variables = int(num_variables)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of a batch."""
        check_targets(self, y_true, sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """The loss of each example."""
        y_pred = tf.convert_to_tensor(y_pred)
        shape = tf.shape(y_pred)
        flat = tf.reshape(y_pred, [-1, shape[-1]])
        labels = tf.reshape(y_true, [-1])
        log_joint = log_joint_of_labels(tf.transpose(flat), labels)
        log_prob = logsumexp(flat, axis=-1)
        possible = tf.math.is_finite(log_prob)
        finite = tf.where(possible, log_prob, tf.zeros_like(log_prob))
        weight = self.discriminative_weight
        loss = tf.zeros_like(log_prob)
        if weight > 0:  # else 0 * inf
            loss -= weight * (log_joint - finite)
        if weight < 1:
            loss -= (1 - weight) / self.num_variables * log_prob
        return tf.reshape(loss, shape[:-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "discriminative_weight": self.discriminative_weight,
            "num_variables": self.num_variables,
        }
