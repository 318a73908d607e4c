"""From flat data to one region per variable and decomposition."""

from __future__ import annotations

from typing import Unpack

import tensorflow as tf

from tfp_spn._arguments import a_count, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape


@register
class FlatToRegions(RegionLayer):
    """Repeats each variable once per decomposition: the first layer of a stack.

    Each decomposition is one way to split the variables, with leaves and weights of
    its own; `RootSum` mixes them. Integers stay integers.

    Args:
        num_decomps: Number of decompositions.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, num_variables]`` or ``[batch, num_variables, dims]``.

    Output shape:
        ``[batch, num_variables, num_decomps, dims]``, where `dims` is 1 for input of
        rank 2.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.FlatToRegions(num_decomps=3)
        >>> layer.compute_output_shape((None, 16))
        (None, 16, 3, 1)
    """

    @reads(num_decomps=a_count())
    def __init__(self, num_decomps: int, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.num_decomps = num_decomps

    def call(self, x: Tensor) -> Tensor:
        """Repeats the variables."""
        if x.shape.rank == 2:
            x = x[..., tf.newaxis]
        return tf.repeat(x[:, :, tf.newaxis, :], self.num_decomps, axis=2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, num_variables, num_decomps, dims]``."""
        shape = tuple(input_shape)
        if len(shape) not in (2, 3) or None in shape[1:]:
            raise ValueError(
                f"{self.label}: received input shape {shape}, expected [batch, "
                "num_variables] or [batch, num_variables, dims] with known "
                "num_variables and dims. Reshape the data, for example images of 28 by "
                "28 pixels to [batch, 784]."
            )
        dims = shape[2] if len(shape) == 3 else 1
        return (shape[0], shape[1], self.num_decomps, dims)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_decomps": self.num_decomps}
