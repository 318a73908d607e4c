"""From decompositions to more nodes."""

from __future__ import annotations

from typing import Unpack

import tensorflow as tf

from tfp_spn._arguments import a_count, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape


@register
class Undecompose(RegionLayer):
    """Merges neighbouring decompositions of each scope, so that sums may mix them.

        y[s, d, j * nodes + k] = x[s, d * m + j, k],   m = decomps / num_decomps

    Valid where the decompositions that are merged have the same variables, which
    `tfp_spn.circuits.from_layers` checks and LibSPN-Keras does not. `RootSum` needs no
    such layer below: it ranges over all decompositions itself.

    Args:
        num_decomps: Number of decompositions that remain.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]``, `decomps` a multiple of `num_decomps`.

    Output shape:
        ``[batch, scopes, num_decomps, decomps / num_decomps * nodes]``.

    Raises:
        ValueError: If `decomps` is not a multiple of `num_decomps`.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.Undecompose()
        >>> layer.compute_output_shape((None, 1, 4, 8))
        (None, 1, 1, 32)
    """

    @reads(num_decomps=a_count())
    def __init__(self, num_decomps: int = 1, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.num_decomps = num_decomps

    def call(self, x: Tensor) -> Tensor:
        """Reshapes."""
        return tf.reshape(x, [-1, *self.compute_output_shape(x.shape)[1:]])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, scopes, num_decomps, decomps / num_decomps * nodes]``."""
        scopes, decomps, nodes = self.check_input_shape(input_shape)
        if decomps % self.num_decomps:
            raise ValueError(
                f"{self.label}: received {decomps} decompositions for num_decomps="
                f"{self.num_decomps}, expected a multiple of it. Choose a divisor of "
                f"{decomps}."
            )
        merged = decomps // self.num_decomps
        return (input_shape[0], scopes, self.num_decomps, merged * nodes)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_decomps": self.num_decomps}
