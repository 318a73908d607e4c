"""Targets that losses are called with."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._typing import DTypeLike, ShapeLike, Tensor, TensorLike


class CircuitLoss(keras.losses.Loss):
    """Base of losses of ``log p(x, class)``.

    It checks that a Keras model hands over targets, or at least weights. Where it hands
    over neither, nobody knows whether weights were given: plain Keras models drop the
    weights of arrays without targets.

    Args:
        reduction: See `keras.losses.Loss`; ``"auto"`` is the default of Keras 2.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.
    """

    needs_labels = False

    def __init__(self, reduction: str, name: str, dtype: DTypeLike) -> None:
        reduction = "sum_over_batch_size" if reduction == "auto" else reduction
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        """The loss of a batch.

        Raises:
            ValueError: There are neither targets nor weights, or a row of numbers where
                a label is needed.
        """
        if y_true is None and (sample_weight is None or self.needs_labels):
            remedy = (
                "Pass labels: fit(x, labels)."
                if self.needs_labels
                else "Pass any, which are ignored, as in fit(x, x), or make the stack "
                "a tfp_spn.models.SequentialSumProductNetwork or SumProductNetwork, "
                "which need none."
            )
            raise ValueError(
                f"{type(self).__name__}: the model has no targets for its loss, "
                "received y=None, expected targets, without which Keras drops sample "
                f"weights too. {remedy}"
            )
        if self.needs_labels:
            check_are_classes(type(self).__name__, y_true, y_pred)
        return super().__call__(*self._pair(y_true, y_pred), sample_weight)

    def _pair(self, y_true: TensorLike, y_pred: TensorLike) -> tuple[Tensor, Tensor]:
        """Targets and output as tensors."""
        return y_true, y_pred


def check_are_classes(owner: str, y_true: TensorLike, y_pred: TensorLike) -> None:
    """Raises a `ValueError` for one-hot vectors, as far as shapes are known."""
    own = tf.TensorShape(_shape_of(y_true))
    outputs = tf.TensorShape(_shape_of(y_pred))
    if own.rank is None or own.rank != outputs.rank or own[-1] in (1, None):
        return
    raise ValueError(
        f"{owner}: targets are no labels, received shape {tuple(own)} for "
        f"log-probabilities of shape {tuple(outputs)}, expected {tuple(outputs[:-1])}: "
        "one class number each. Pass class numbers, of one-hot vectors "
        "labels.argmax(-1)."
    )


def _shape_of(value: TensorLike) -> ShapeLike:
    return value.shape if hasattr(value, "shape") else np.shape(value)
