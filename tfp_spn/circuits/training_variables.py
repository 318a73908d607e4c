"""Variables of optimizer and metrics, made before a step is traced.

Keras makes them in the first trace of a step, and TensorFlow traces anew whatever has
made variables: for a circuit that is most of what the first step takes.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn.circuits.data import Data


def make_training_variables(model: Any, data: Data) -> None:
    """Makes the variables that training will need, as far as data tell.

    Args:
        model: A compiled model; under a strategy that distributes Keras makes them.
        data: What it will be trained on.
    """
    with model.distribute_strategy.scope():
        if not model.built or tf.distribute.has_strategy() or model.optimizer is None:
            return
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if not (hasattr(data.x, "shape") and hasattr(data.labels, "shape")):
        return
    x, y = (np.asarray(values[:1]) for values in (data.x, data.labels))

    @tf.function(autograph=False)
    def metrics() -> dict:
        y_pred = tf.zeros(model.compute_output_shape(x.shape), model.compute_dtype)
        return model.compute_metrics(x, tf.constant(y), y_pred)

    # What fails here fails in the step, which has more to say about it.
    with contextlib.suppress(Exception):
        metrics.get_concrete_function()
