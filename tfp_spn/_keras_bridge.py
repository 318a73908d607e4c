"""Where Keras variables meet TFP.

TFP sees `tf.Variable`s, Keras owns `keras.Variable`s: the former is the latter's
`value`, the same object each time. A distribution that holds the un-read `value`s
follows training, is found by `tf.Module` and gets gradients; one that is given a
`keras.Variable` would freeze its present value.
"""

from __future__ import annotations

from typing import Any

import keras


def frozen_variable_ids(owner: Any) -> set[int]:
    """Ids of the `tf.Variable`s that Keras holds but does not train."""
    while not isinstance(owner, keras.layers.Layer):
        owner = owner.circuit  # a view of another circuit
    trainable = {id(v.value) for v in owner.trainable_variables}
    return {id(v.value) for v in owner.variables} - trainable
