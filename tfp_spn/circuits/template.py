"""Checks that the template of a dynamic network covers the variables of a step."""

from __future__ import annotations

import keras

from tfp_spn.circuits.layer_stack import check_template
from tfp_spn.circuits.stack_validation import KNOWN_LAYERS
from tfp_spn.layers.input_dropout import InputDropout
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.log_dropout import LogDropout
from tfp_spn.layers.normalize_standard_score import NormalizeStandardScore
from tfp_spn.layers.regions.flat_to_regions import FlatToRegions

# These change values, not what a region covers.
_TRANSPARENT = (InputDropout, LogDropout, NormalizeStandardScore)


def check_template_network(network: keras.Model) -> None:
    """Checks that a template covers the variables of a step.

    A network that is not a chain of circuit layers (one with branches, or with layers
    of other kinds) passes: nothing tells what its outputs cover.

    Args:
        network: A built model.

    Raises:
        ValueError: If a chain is not decomposable, or does not end in regions that
            cover all variables.
    """
    layers = [
        layer for layer in chain_of(network) if not isinstance(layer, _TRANSPARENT)
    ]
    begins = bool(layers) and (
        isinstance(layers[0], BaseLeaf)
        or (
            len(layers) > 1
            and isinstance(layers[0], FlatToRegions)
            and isinstance(layers[1], BaseLeaf)
        )
    )
    if begins and all(isinstance(layer, KNOWN_LAYERS) for layer in layers):
        check_template(layers)


def chain_of(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a sequential model, or of a functional one without branches.

    Models inside are opened. Of a model with branches: nothing.
    """
    layers = [
        layer
        for layer in network.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    if not isinstance(network, keras.Sequential) and not _is_chain(network, layers):
        return []
    opened: list[keras.layers.Layer] = []
    for layer in layers:
        inside = chain_of(layer) if isinstance(layer, keras.Model) else [layer]
        if not inside:
            return []
        opened += inside
    return opened


def _is_chain(network: keras.Model, layers: list[keras.layers.Layer]) -> bool:
    """Whether each layer is called once, on what the one before it returns."""
    try:
        value = network.input
        for layer in layers:
            if layer.input is not value:
                return False
            value = layer.output
    except AttributeError:  # called never or twice, or the network is subclassed
        return False
    return value is network.output
