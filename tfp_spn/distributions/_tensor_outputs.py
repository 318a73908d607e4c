"""Methods of Keras' models that take tensors only, and models that end in another.

Keras' `predict` would join the outputs of batches, and `export` write down what a graph
returns. A model of Keras' own that ends in a distribution has no place where these
could be told so but the call of its last layer.
"""

from __future__ import annotations

import sys
from typing import Any

import keras

_REMEDIES = {
    "predict": "Call the model for the distribution, such as model(x).mean()",
    "predict_on_batch": "Call the model for the distribution, such as model(x).mean()",
    "export": "Export single queries by tf.saved_model.save",
}


def check_caller_takes_distributions(layer: keras.layers.Layer) -> None:
    """Refuses calls from within `predict` or `export` of a model that a layer ends.

    Args:
        layer: A layer that returned a distribution.

    Raises:
        ValueError: The output of the model is the layer's, and has to be a tensor.
    """
    frame: Any = sys._getframe(1)  # noqa: SLF001 - there is no other way to know
    while frame is not None:
        method = frame.f_code.co_name
        module = frame.f_globals.get("__name__", "")
        if method in _REMEDIES and module.startswith("keras."):  # not a user's own
            model = frame.f_locals.get("self")
            if isinstance(model, keras.Model) and _ends_in(model, layer):
                raise ValueError(
                    f'{type(model).__name__} "{model.name}": {method} takes tensors, '
                    "received a distribution from the layer "
                    f'"{layer.name}", expected a model that returns tensors. '
                    f"{_REMEDIES[method]}; or end the model in a "
                    'tfp_spn.distributions.DistributionLayer with output="mean", '
                    '"sample" or a function of the distribution.'
                )
        frame = frame.f_back


def _ends_in(model: keras.Model, layer: keras.layers.Layer) -> bool:
    """Whether an output of a functional or Sequential model is that of a layer."""
    try:
        outputs = keras.tree.flatten(model.outputs)
    except AttributeError:  # subclassed, or not built yet
        return False
    for output in outputs:
        last = output._keras_history.operation  # noqa: SLF001
        if last is layer or (isinstance(last, keras.Model) and _ends_in(last, layer)):
            return True
    return False
