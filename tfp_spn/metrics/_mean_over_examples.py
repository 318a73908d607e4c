"""Means over examples that minus infinity and weights of zero do not spoil."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_spn._typing import Tensor


class MeanOverExamples(keras.metrics.Mean):
    """Base: the weighted mean of `example_values`.

    An example of weight zero does not count, even where its value is ``-inf``. Steps of
    sequences are examples; those that a Keras mask of the predictions leaves out are
    not.
    """

    def example_values(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """Values of the examples, ``[batch]`` or ``[batch, num_steps]``."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
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
