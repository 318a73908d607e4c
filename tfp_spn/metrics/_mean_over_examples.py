"""Means over examples that minus infinity and weights of zero do not spoil."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_spn._typing import Tensor


class MeanOverExamples(keras.metrics.Mean):
    """Base: the weighted mean of `example_values`.

    An example of weight zero does not count, even where its value is ``-inf``.
    """

    def example_values(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """Values of the examples, ``[batch]``."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        values = self.example_values(y_true, tf.convert_to_tensor(y_pred))
        if sample_weight is not None:
            sample_weight = tf.reshape(tf.cast(sample_weight, values.dtype), [-1])
            values = tf.where(sample_weight == 0, tf.zeros_like(values), values)
        super().update_state(values, sample_weight)
