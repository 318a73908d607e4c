"""From a grid of cells to one region."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.layers.regions.region_layer import Shape
from tfp_spn.layers.spatial.grid_scopes import GridScopes
from tfp_spn.layers.spatial.spatial_layer import SpatialLayer


@register
class SpatialToRegions(SpatialLayer):
    """Makes one region of all cells, so that sums may range over all of them.

    Valid if every cell covers the whole image; anything else is refused when the
    model's input shape is known (LibSPN-Keras does not check it). Put a `DenseSum` or
    the `RootSum` above. Nodes are ordered by row, column and channel.

    Args:
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, height, width, channels]``.

    Output shape:
        ``[batch, 1, 1, height * width * channels]``.

    Raises:
        ValueError: If some cell does not cover the whole image.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.SpatialToRegions()
        >>> layer.compute_output_shape((None, 8, 8, 64))
        (None, 1, 1, 4096)
    """

    keeps_scopes = False
    gives_cells = False

    def call(self, x: Tensor) -> Tensor:
        """Reshapes."""
        return tf.reshape(x, [-1, *self.compute_output_shape(x.shape)[1:]])

    def scopes_out(self, scopes: GridScopes) -> None:
        """Checks that each cell covers everything; regions have no grid."""
        scopes.check_complete(self.label)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, 1, 1, height * width * channels]``."""
        height, width, channels = self.check_input_shape(input_shape)
        return (input_shape[0], 1, 1, height * width * channels)
