"""Weights of examples without targets, in Keras' `fit` and `evaluate`.

Keras packs arrays as ``(x, y, sample_weight)``, and drops the weights if `y` is `None`.
Targets of zero columns in its place keep them on their way to the compiled step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import shown
from tfp_spn._typing import Config, Tensor, TensorLike

NO_LABEL = -1
"""The label of unlabelled examples: no class, so of probability zero under a loss that
should not have been asked for one."""

# That of no labels: TensorFlow would compile for targets of any rank if the same step
# saw others of this dtype, and could not tell them apart.
_DTYPE = "uint16"


class ExampleWeights:
    """Mixin of Keras models: weights of examples count, with or without targets."""

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Keras' `fit`.

        Args:
            *args: As of `keras.Model.fit`.
            **kwargs: As of `keras.Model.fit`.

        Returns:
            Keras' history.
        """
        fit = super().fit  # type: ignore[misc]
        return fit(**_with_weights_kept(fit, args, kwargs))

    def evaluate(self, *args: Any, **kwargs: Any) -> float | list | dict:
        """Keras' `evaluate`.

        Args:
            *args: As of `keras.Model.evaluate`.
            **kwargs: As of `keras.Model.evaluate`.

        Returns:
            The loss, with the metrics if there are any.
        """
        evaluate = super().evaluate  # type: ignore[misc]
        return evaluate(**_with_weights_kept(evaluate, args, kwargs))

    def compute_metrics(
        self,
        x: TensorLike,
        y: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike = None,
    ) -> dict[str, Any]:
        """The metrics."""
        return super().compute_metrics(  # type: ignore[misc]
            x, given_targets(y), y_pred, sample_weight=sample_weight
        )


def given_targets(y: TensorLike) -> Tensor | None:
    """The targets of a batch; `None` if there are none."""
    if keras.tree.is_nested(y) or y is None:
        return y
    is_ours = keras.backend.standardize_dtype(y.dtype) == _DTYPE
    return None if is_ours and tuple(y.shape[1:]) == (0,) else y


def _no_targets(x: TensorLike) -> np.ndarray:
    return np.zeros([len(keras.tree.flatten(x)[0]), 0], _DTYPE)


def _with_weights_kept(method: Callable, args: tuple, kwargs: Config) -> Config:
    """The arguments of a call, with targets of no column where there are none."""
    named = inspect.signature(method).bind(*args, **kwargs).arguments
    named.update(named.pop("kwargs", {}))
    x, is_labelled = named.get("x"), named.get("y") is not None
    if not (is_labelled or _is_stream(x)):
        if named.get("class_weight"):
            raise ValueError(
                "fit: class_weight weighs classes, received class_weight="
                f"{shown(named['class_weight'])} without labels, expected labels too. "
                "Pass labels, or weights of examples as sample_weight."
            )
        if named.get("sample_weight") is not None:
            named["y"] = _no_targets(x)
    validation = named.get("validation_data")
    if isinstance(validation, list | tuple) and len(validation) == 3:
        x, y, weights = validation
        if y is None and weights is not None:
            named["validation_data"] = (x, _no_targets(x), weights)
    return named


def _is_stream(x: TensorLike) -> bool:
    """Whether weights would have to come with the data: Keras says so."""
    return isinstance(x, tf.data.Dataset | keras.utils.PyDataset) or hasattr(
        x, "__next__"
    )
