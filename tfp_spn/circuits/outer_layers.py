"""Layers of a Keras model that do not belong to the circuit that it evaluates."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfp_spn.layers.input_dropout import InputDropout
from tfp_spn.layers.log_dropout import LogDropout
from tfp_spn.layers.normalize_standard_score import NormalizeStandardScore


def circuit_layers(layers: Sequence[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The layers of the circuit: all but those that act in training only.

    Raises:
        TypeError: If a layer normalises the data.
    """
    for layer in layers:
        if isinstance(layer, NormalizeStandardScore):
            raise TypeError(
                f'from_layers: received a layer {type(layer).__name__} "{layer.name}", '
                "expected a stack over the data themselves: a circuit above it is a "
                "distribution of z-scores. Pass the layers after it, "
                "model.layers[1:], and z-scores as data; layer.inverse and "
                "layer.forward_log_det_jacobian lead back to the data. (A "
                "tfp_spn.models.SequentialSumProductNetwork does both.)"
            )
    return without_training_layers(layers)


def without_training_layers(
    layers: Sequence[keras.layers.Layer],
) -> list[keras.layers.Layer]:
    """All layers but those that act in training only."""
    dropout = (InputDropout, LogDropout)
    return [layer for layer in layers if not isinstance(layer, dropout)]
