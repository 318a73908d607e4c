"""Lengths of sequences in the place of labels, where LibSPN-Keras has them."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfp_spn._typing import TensorLike


def check_are_no_lengths(owner: str, x: TensorLike, y: TensorLike, remedy: str) -> None:
    """Refuses one number for each sequence of full length, where no labels are needed.

    They may be lengths, in the layout of LibSPN-Keras, which are floats where they were
    read from a file; as labels they would be ignored, and padding would count as data.

    Args:
        owner: The model, for messages.
        x: What the model is called with.
        y: The targets, or `None`.
        remedy: How lengths are passed.

    Raises:
        ValueError: The targets are one number for each sequence.
    """
    has_steps = keras.tree.is_nested(x) or isinstance(x, tf.RaggedTensor)
    if y is None or has_steps or keras.tree.is_nested(y):
        return
    shape = tf.TensorShape(y.shape)
    if shape.rank == 1 or (shape.rank == 2 and shape[1] == 1):
        raise ValueError(
            f"{owner}: received numbers as targets of sequences without lengths, "
            "expected no targets. If they are lengths (LibSPN-Keras has them there), "
            f"{remedy} If they are labels, leave them out: this model ignores them."
        )
