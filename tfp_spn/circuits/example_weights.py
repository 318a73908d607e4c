"""Weights of examples in Keras' own methods, with and without targets.

Keras packs arrays as ``(x, y, sample_weight)``, and drops the weights if `y` is `None`.
Targets of zero columns in its place keep them on their way to the compiled step.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import shown
from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.circuits.keras_call import KerasCall

NO_LABEL = -1
"""The label of unlabelled examples: no class, so of probability zero under a loss that
should not have been asked for one."""

# That of no labels: TensorFlow would compile for targets of any rank if the same step
# saw others of this dtype, and could not tell them apart.
_DTYPE = "uint16"


def targets_beside(
    sample_weight: TensorLike, inputs: TensorLike, y: TensorLike
) -> TensorLike:
    """Targets, of no column if there are none to keep the weights of arrays."""
    if y is None and sample_weight is not None and _are_arrays(inputs):
        return np.zeros([len(_parts(inputs)[0]), 0], _DTYPE)
    return y


def given_targets(y: TensorLike) -> Tensor | None:
    """The targets of a batch; `None` if there are none."""
    if keras.tree.is_nested(y) or y is None:
        return y
    is_ours = keras.backend.standardize_dtype(y.dtype) == _DTYPE
    return None if is_ours and tuple(y.shape[1:]) == (0,) else y


def check_weights(model: keras.Model, sample_weight: TensorLike) -> None:
    """Checks weights of examples that are known already.

    Raises:
        ValueError: One is NaN or infinite; or negative, if the model learns by EM.
    """
    if sample_weight is None:
        return
    if tf.is_tensor(sample_weight) and not hasattr(sample_weight, "numpy"):
        return
    sample_weight = np.asarray(sample_weight)
    if sample_weight.dtype.kind not in "iuf":
        return
    wrong = ~np.isfinite(sample_weight)
    expected = "finite numbers"
    if hasattr(getattr(model, "optimizer", None), "train_circuit"):
        wrong |= sample_weight < 0
        expected += " that are not negative"
    if wrong.any():
        raise ValueError(
            f'{type(model).__name__} "{model.name}": weights of examples are no '
            f"counts, received sample_weight={sample_weight[wrong][0]} "
            f"({int(wrong.sum())} such weights), expected {expected}. Leave examples "
            "out with 0."
        )


def check_class_weight(call: KerasCall) -> None:
    """Raises a `ValueError` if classes are weighed of arrays without labels."""
    data, class_weight = call.data, call.arguments.get("class_weight")
    if class_weight and data.labels is None and _are_arrays(data.x):
        raise ValueError(
            f"{call.method.__name__}: class_weight weighs classes, received "
            f"class_weight={shown(class_weight)} without labels, expected labels too. "
            "Pass labels, or weights of examples as sample_weight."
        )


def _are_arrays(inputs: TensorLike) -> bool:
    """Whether data are no stream, which would have to bring labels and weights."""
    parts = _parts(inputs)
    return bool(parts) and all(hasattr(part, "shape") for part in parts)


def _parts(inputs: TensorLike) -> list:
    """The inputs one by one, without a mask that is `None`."""
    return [part for part in keras.tree.flatten(inputs) if part is not None]
