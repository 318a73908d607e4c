"""Targets that losses are called with."""

from __future__ import annotations

import keras

from tfp_spn._typing import TensorLike


def check_targets(
    loss: keras.losses.Loss, y_true: TensorLike, sample_weight: TensorLike
) -> None:
    """Checks that a Keras model hands targets to a loss, or at least weights.

    Where it hands neither, nobody knows whether weights were given: plain Keras models
    drop the weights of arrays without targets.

    Args:
        loss: The loss, for messages.
        y_true: The targets, or `None`.
        sample_weight: Weights of examples, or `None`.

    Raises:
        ValueError: There are neither targets nor weights.
    """
    if y_true is None and (sample_weight is None or loss.needs_labels):
        remedy = (
            "Pass labels: fit(x, labels)."
            if loss.needs_labels
            else "Pass any, which are ignored, as in fit(x, x), or make the stack a "
            "tfp_spn.models.SequentialSumProductNetwork or SumProductNetwork, which "
            "need none."
        )
        raise ValueError(
            f"{type(loss).__name__}: the model has no targets for its loss, received "
            "y=None, expected targets, without which Keras drops sample weights too. "
            f"{remedy}"
        )
