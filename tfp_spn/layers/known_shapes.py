"""Shapes that a graph has forgotten, and the layer that it calls has not."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arrays import as_array
from tfp_spn._typing import ShapeLike, Tensor, TensorLike


class KnownShapes:
    """Mixin of Keras layers: in calls, what was told to `build` is known of the shape.

    So data whose static shape is lost, as by `tf.reshape` within a `tf.data.Dataset`,
    pass through layers that need it; other shapes are refused when the graph runs.
    """

    def __call__(self, x: TensorLike, *args: object, **kwargs: object) -> Tensor:
        """Calls the layer; masked arrays, whose mask Keras drops, are refused."""
        layer: keras.layers.Layer = self
        if np.ma.isMaskedArray(x):
            x = as_array(x, f'{type(self).__name__} "{layer.name}"')
        if layer.built and _has_unknown_axes(x):
            known = (layer.get_build_config() or {}).get("input_shape")
            x = x if known is None else with_known_shape(x, known)
        return super().__call__(x, *args, **kwargs)  # type: ignore[misc]


def with_known_shape(x: TensorLike, shape: ShapeLike) -> Tensor:
    """Returns `x` with the axes of `shape`, except the first, that it does not know.

    Args:
        x: Anything; what is not a tensor of fewer known axes is returned as it is.
        shape: The shape, of which the first axis is the batch.
    """
    shape = (None, *tuple(shape)[1:])
    if not _has_unknown_axes(x) or not x.shape.is_compatible_with(shape):
        return x
    return tf.ensure_shape(x, shape)


def _has_unknown_axes(x: TensorLike) -> bool:
    if not isinstance(x, tf.Tensor):
        return False
    return x.shape.rank is None or not x.shape[1:].is_fully_defined()
