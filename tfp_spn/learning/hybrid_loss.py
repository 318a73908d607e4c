"""Between generative and discriminative training."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import tensorflow as tf

from tfp_spn._arguments import a_count, a_rate, as_int, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Tensor, TensorLike
from tfp_spn.learning.targets import CircuitLoss
from tfp_spn.ops.log_space import is_finite, logsumexp
from tfp_spn.programs.labels import log_joint_of_labels

GenerativeTerm = Literal["marginal", "joint", "conditional"]


@register
class HybridGenerativeDiscriminative(CircuitLoss):
    """A mixture of cross-entropy and negative log-likelihood.

        loss = -weight * log p(y | x) - (1 - weight) * g(x, y) / num_variables

    where ``y_pred[b, c] = log p(x[b], c)``, and `generative_term` says what g is:
    ``log p(x)``, ``log p(x, y)`` or ``log p(x | y)``. Weight 1 is discriminative
    training, weight 0 generative training; dividing by the number of variables brings
    both terms to comparable size [1].

    A label that is not a class has probability zero, and so an infinite loss; so has
    an example of probability zero. Examples without a label, see `unlabelled`, are
    learned from by ``g = log p(x)`` alone, in one `fit` with the others.

    Args:
        discriminative_weight: The weight of the cross-entropy, from 0 to 1.
        num_variables: What the log-likelihood is divided by.
        generative_term: ``"marginal"``, ``"joint"`` or ``"conditional"``: the
            log-likelihood of x, of x and y, or of x given y. (Of the last, class
            probabilities p(y) are those of the circuit that is trained; of other
            models all are taken for equal.) Default: ``"conditional"``, with a warning,
            since it was ``"marginal"`` before.
        unlabelled: The label that stands for none, such as -1. Default: there is none.
        reduction: See `keras.losses.Loss`.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, tfp_spn
        >>> loss = tfp_spn.losses.HybridGenerativeDiscriminative(
        ...     0.5, generative_term="marginal")
        >>> y_pred = np.log([[0.375, 0.125]])  # p(x) = 1/2, p(y=1 | x) = 1/4
        >>> round(float(loss(np.array([1]), y_pred)), 4)  # (log 2 + log 4) / 2
        1.0397

    References:
        [1]: Peharz et al. Random Sum-Product Networks: A Simple and Effective Approach
            to Probabilistic Deep Learning. UAI, 2019.
    """

    needs_labels = True

    @reads(
        discriminative_weight=a_rate(least=0, most=1),
        num_variables=a_count(),
        unlabelled=as_int,
    )
    def __init__(
        self,
        discriminative_weight: float = 0.5,
        num_variables: int = 1,
        generative_term: GenerativeTerm | None = None,
        unlabelled: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "hybrid_generative_discriminative",
        dtype: DTypeLike = None,
    ) -> None:
        if generative_term is None:
            generative_term = "conditional"
            warnings.warn(
                "HybridGenerativeDiscriminative: the generative term is log p(x | y) "
                "where none is asked for; it was log p(x) before, received "
                "generative_term=None. Pass generative_term='conditional', or "
                "'marginal' for what it was.",
                FutureWarning,
                stacklevel=3,
            )
        if generative_term not in ("marginal", "joint", "conditional"):
            raise ValueError(
                "HybridGenerativeDiscriminative: received generative_term="
                f"{generative_term!r}, expected 'marginal', 'joint' or 'conditional'. "
                "Choose one of these."
            )
        super().__init__(reduction, name, dtype)
        self.discriminative_weight = discriminative_weight
        self.num_variables = num_variables
        self.generative_term = generative_term
        self.unlabelled = unlabelled
        self._log_prior: Tensor | None = None

    @contextlib.contextmanager
    def given_classes(self, log_prior: Tensor | None) -> Iterator[None]:
        """Within the block class probabilities are these, see `generative_term`."""
        before, self._log_prior = self._log_prior, log_prior
        try:
            yield
        finally:
            self._log_prior = before

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """The loss of each example."""
        y_pred = tf.convert_to_tensor(y_pred)
        shape = tf.shape(y_pred)
        flat = tf.reshape(y_pred, [-1, shape[-1]])
        labels = tf.reshape(y_true, [-1])
        log_joint = log_joint_of_labels(tf.transpose(flat), labels)
        log_prob = logsumexp(flat, axis=-1)
        possible = is_finite(log_prob)
        finite = tf.where(possible, log_prob, tf.zeros_like(log_prob))
        weight, hidden = self.discriminative_weight, self._is_unlabelled(labels)
        loss = tf.zeros_like(log_prob)
        if weight > 0:  # else 0 * inf
            of_label = tf.where(hidden, tf.zeros_like(log_joint), log_joint - finite)
            loss -= weight * of_label
        if weight < 1:
            generative = log_prob
            if self.generative_term != "marginal":
                of_label = self._given_label(log_joint, labels, shape[-1])
                generative = tf.where(hidden, log_prob, of_label)
            loss -= (1 - weight) / self.num_variables * generative
        return tf.reshape(loss, shape[:-1])

    def _is_unlabelled(self, labels: Tensor) -> Tensor:
        if self.unlabelled is None:
            return tf.zeros_like(labels, tf.bool)
        return labels == self.unlabelled

    def _given_label(self, log_joint: Tensor, labels: Tensor, count: Tensor) -> Tensor:
        """``log p(x, y)``, or ``log p(x | y)`` if that is the generative term."""
        if self.generative_term == "joint":
            return log_joint
        if self._log_prior is None:
            return log_joint + tf.math.log(tf.cast(count, log_joint.dtype))
        log_prior = tf.cast(self._log_prior, log_joint.dtype)
        labels = tf.clip_by_value(tf.cast(labels, tf.int32), 0, count - 1)
        log_prior = tf.gather(log_prior, labels)
        possible = is_finite(log_prior)
        return log_joint - tf.where(possible, log_prior, tf.zeros_like(log_prior))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "discriminative_weight": self.discriminative_weight,
            "num_variables": self.num_variables,
            "generative_term": self.generative_term,
            "unlabelled": self.unlabelled,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HybridGenerativeDiscriminative:
        """The loss of a saved model; files before `generative_term` mean log p(x)."""
        return cls(**{"generative_term": "marginal", **config})
