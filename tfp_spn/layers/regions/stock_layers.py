"""Keras' own layers, and missing ones, that would make a stack no circuit."""

from __future__ import annotations

from typing import Any

import keras

from tfp_spn._typing import TensorLike

_DROPOUT = (
    "scales what it keeps and drops single components: use "
    "tfp_spn.layers.InputDropout, which drops whole variables, or LogDropout before "
    "sums"
)
_PADDING = (
    "leaves cells that no scope is known of: use padding='full' (or 'final') of "
    "tfp_spn.layers.Conv2DProduct"
)
_OTHERS = (
    "changes them or mixes variables: take it out, or put it below the leaf layer, "
    "where it acts on data"
)
_HARMLESS = (
    keras.layers.InputLayer,
    keras.layers.Identity,
    keras.layers.Lambda,
    keras.Model,
    keras.layers.Permute,
    keras.layers.Reshape,
)
_REMEDIES = {
    keras.layers.Dropout: _DROPOUT,
    keras.layers.AlphaDropout: _DROPOUT,
    keras.layers.GaussianDropout: _DROPOUT,
    keras.layers.SpatialDropout1D: _DROPOUT,
    keras.layers.SpatialDropout2D: _DROPOUT,
    keras.layers.SpatialDropout3D: _DROPOUT,
    keras.layers.ZeroPadding1D: _PADDING,
    keras.layers.ZeroPadding2D: _PADDING,
    keras.layers.ZeroPadding3D: _PADDING,
}


def check_layer_below(label: str, x: TensorLike) -> None:
    """Refuses layers of Keras between a leaf and a circuit layer.

    Args:
        label: The circuit layer, as messages begin.
        x: Its symbolic input.

    Raises:
        ValueError: The layer below stands above a leaf, and is not a part of a circuit.
    """
    below = _layer_below(x)
    remedy = _REMEDIES.get(type(below))
    if remedy is None and _changes_values(below):
        remedy = _OTHERS
    if remedy is None or not _stands_on_leaf(below):
        return
    raise ValueError(
        f"{label}: received log-probabilities that went through "
        f'{type(below).__name__} "{below.name}", which {remedy}. Expected layers of '
        "circuits only, or the model would be no distribution."
    )


def check_top(label: str, outputs: TensorLike) -> None:
    """Refuses dropout and padding above the root of a network.

    Layers that turn class logits into something else, such as a softmax, may stand
    there.

    Args:
        label: The network, as messages begin.
        outputs: Its symbolic outputs.

    Raises:
        ValueError: See `check_layer_below`.
    """
    for output in keras.tree.flatten(outputs):
        if type(_layer_below(output)) in _REMEDIES:
            check_layer_below(label, output)


def check_has_left_grid(label: str, x: TensorLike) -> None:
    """Refuses a root whose children still are cells of a grid.

    Args:
        label: The root, as messages begin.
        x: Its symbolic input.

    Raises:
        ValueError: There is a spatial layer below, and no `SpatialToRegions`.
    """
    below = _layer_below(x)
    while getattr(below, "keeps_scopes", False) and not _gives_cells(below):
        below = _layer_below(below.input)
    if _gives_cells(below) and not _has_left_grid(below):
        raise ValueError(
            f"{label}: received cells of a grid, from {below.label}, expected regions. "
            "Put a tfp_spn.layers.SpatialToRegions() before it, which checks that each "
            "cell covers the whole image."
        )


def _changes_values(layer: Any) -> bool:
    """Whether a layer is of Keras itself, and none of those that only pass values."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, _HARMLESS):
        return False
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is not keras.activations.linear
    return type(layer).__module__.startswith("keras.")


def _has_left_grid(layer: keras.layers.Layer) -> bool:
    """Whether there is a `SpatialToRegions` below, out of place."""
    while getattr(layer, "keeps_scopes", False):
        layer = _layer_below(layer.input)
    return getattr(layer, "gives_cells", None) is False


def _gives_cells(layer: object) -> bool:
    return getattr(layer, "gives_cells", False)


def _layer_below(x: TensorLike) -> Any:
    history = getattr(x, "_keras_history", None)
    return None if history is None else history.operation


def _stands_on_leaf(layer: keras.layers.Layer) -> bool:
    """Whether a leaf is below, through whatever layers of one input."""
    while layer is not None:
        if hasattr(layer, "parameter_specs"):
            return True
        inputs = keras.tree.flatten(
            getattr(layer, "_inbound_nodes", None) and layer.input
        )
        layer = _layer_below(inputs[0]) if len(inputs) == 1 else None
    return False
