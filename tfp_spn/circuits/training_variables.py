"""Variables of optimizer and metrics, made before a step is traced.

Keras makes them in the first trace of a step, and TensorFlow traces anew whatever has
made variables: for a circuit that is most of what the first step takes.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn.circuits.keras_call import KerasCall

_KERAS_BATCH_SIZE = 32


def make_training_variables(model: Any, call: KerasCall) -> None:
    """Makes the variables that training will need, as far as arrays tell.

    Args:
        model: A compiled model; under a strategy that distributes Keras makes them.
        call: The call of `fit`.
    """
    with model.distribute_strategy.scope():
        is_distributed = tf.distribute.has_strategy()
    if is_distributed or model.run_eagerly or not model.built:
        return
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    # What fails here fails in the step, which has more to say about it.
    with contextlib.suppress(Exception):
        _make_those_of_metrics(model, call)


def _make_those_of_metrics(model: Any, call: KerasCall) -> None:
    """Traces the metrics of a batch like the first one."""
    size = call.arguments.get("batch_size") or _KERAS_BATCH_SIZE
    x, y = (np.asarray(v[:size]) for v in (call.data.x, call.data.labels))

    @tf.function(autograph=False)
    def metrics() -> dict:
        y_pred = tf.zeros(model.compute_output_shape(x.shape), model.compute_dtype)
        return model.compute_metrics(x, tf.constant(y), y_pred)

    metrics.get_concrete_function()
