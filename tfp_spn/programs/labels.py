"""Classes of examples: checked if their values are known, else masked."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import logsumexp, minus_infinity

UNLABELLED = int(np.iinfo(np.int32).min)
"""The label of an example whose class is not known: any of them."""


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Checks labels whose values are known, which they are not within a graph.

    Raises:
        ValueError: A label is not a class.
    """
    values = tf.get_static_value(labels)
    if values is None:
        return
    values = values[values != UNLABELLED]
    if not values.size:
        return
    if values.min() < 0 or values.max() >= num_classes:
        raise ValueError(
            "tfp_spn.learning: labels are out of range, received "
            f"{values.min()} to {values.max()}, expected 0 to {num_classes - 1}. "
            "Number the classes from 0, or build the circuit with more classes."
        )


def log_joint_of_labels(joint: Tensor, labels: Tensor) -> Tensor:
    """Returns ``joint[labels[n], n]`` of ``[C, N]``; -inf where a label is not a class.

    A fraction is not a class either: 0.5 is not the class 0. An example whose label
    is `UNLABELLED` has ``log p(x)``.
    """
    labels, num_classes = integer_labels(labels), tf.shape(joint)[0]
    own = tf.one_hot(labels, num_classes, True, False, 0, tf.bool)
    value = tf.reduce_sum(tf.where(own, joint, tf.zeros_like(joint)), axis=0)
    is_class = (labels >= 0) & (labels < num_classes)
    value = tf.where(is_class, value, minus_infinity(value))
    return tf.where(labels == UNLABELLED, logsumexp(joint, axis=0), value)


def integer_labels(labels: Tensor) -> Tensor:
    """Returns int32 labels, -1 for what is not an integer."""
    integers = tf.cast(labels, tf.int32)
    is_whole = tf.cast(integers, labels.dtype) == labels
    return tf.where(is_whole, integers, -tf.ones_like(integers))
