"""The base class of layers over regions: input checks, dtype, symbolic outputs."""

from __future__ import annotations

from typing import Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._keras_typing import LayerOptions
from tfp_spn._typing import TensorLike
from tfp_spn.layers.default_dtype import fill_in_dtype
from tfp_spn.layers.finite_variables import FiniteVariables
from tfp_spn.layers.known_shapes import KnownShapes
from tfp_spn.layers.regions.stock_layers import check_layer_below

Shape = tuple[int | None, ...]


class RegionLayer(KnownShapes, FiniteVariables, keras.layers.Layer):
    """Base class of layers from ``[batch, scopes, decomps, nodes]`` to the same.

    Subclasses implement `call` and `compute_output_shape`, which is exact. The simplest
    one to copy is `ReduceProduct`.

    Args:
        **kwargs: Passed on to `keras.layers.Layer`. `dtype` defaults to that of
            variables under the global policy: circuits stay in full precision inside
            mixed-precision models.

    Attributes:
        keeps_input_dtype: Whether the output has the dtype of the input (layers
            without weights) rather than the layer's own.
    """

    keeps_input_dtype = True
    _axes = ("scopes", "decomps", "nodes")
    _first_layers = "FlatToRegions and a leaf layer, and give keras.Input a full shape"

    def __init__(self, **kwargs: Unpack[LayerOptions]) -> None:
        fill_in_dtype(kwargs)
        super().__init__(autocast=not self.keeps_input_dtype, **kwargs)

    @property
    def label(self) -> str:
        """Class and name, as error messages begin."""
        return f'{type(self).__name__} "{self.name}"'

    def check_input_shape(self, input_shape: Shape) -> tuple[int, int, int]:
        """Returns scopes, decomps and nodes; of images, height, width and channels.

        Raises:
            ValueError: If the rank is not four or one of the three is unknown.
        """
        shape = tuple(input_shape)
        if len(shape) != 4 or None in shape[1:]:
            a, b, c = self._axes
            raise ValueError(
                f"{self.label}: received input shape {shape}, expected [batch, {a}, "
                f"{b}, {c}] with known {a}, {b} and {c}. Begin the stack with "
                f"{self._first_layers}."
            )
        return shape[1:]  # type: ignore[return-value]

    def build(self, input_shape: Shape) -> None:
        """Checks the shape."""
        self.compute_output_shape(input_shape)
        self.built = True

    def add_table(self, name: str, table: np.ndarray) -> keras.Variable:
        """Adds a constant of integers, which is saved with the weights."""
        return self.add_weight(
            name=name,
            shape=table.shape,
            initializer=lambda shape, dtype=None: tf.constant(table, tf.int32),
            dtype="int32",
            trainable=False,
            autocast=False,
        )

    def compute_output_spec(self, x: TensorLike) -> keras.KerasTensor:
        """Symbolic output."""
        check_layer_below(self.label, x)
        dtype = x.dtype if self.keeps_input_dtype else self.compute_dtype
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=dtype)
