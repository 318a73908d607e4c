"""Weighted sums over the channels of each cell, with the same weights everywhere."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.layers.regions._layout import from_kernel, to_kernel
from tfp_spn.layers.regions.dense_sum import DenseSum
from tfp_spn.layers.regions.region_layer import Shape
from tfp_spn.layers.spatial.spatial_layer import SpatialLayer
from tfp_spn.ops.weighted_sum import checked_weighted_sum


@register
class Conv2DSum(SpatialLayer, DenseSum):
    """`num_sums` weighted sums over the channels of each cell, weights shared.

        log y[i, j, o] = log sum_k exp(log x[i, j, k] + log w[k, o])

    A convolution with a kernel of one cell. Weights ``[1, 1, channels, num_sums]`` are
    normalised over `channels` in the forward pass; their counts are those of all cells
    together. `DenseSum` tells what else differs from LibSPN-Keras, and explains the
    arguments.

    Args:
        num_sums: Number of sums per cell: channels of the output.
        logspace_accumulators: Whether to store logarithms of weights.
        accumulator_initializer: Initializer of the weights.
        sum_op: Learning rule.
        accumulator_regularizer: Regularizer of what is stored.
        logspace_accumulator_constraint: Constraint of stored logarithms.
        linear_accumulator_constraint: Constraint of stored weights.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, height, width, channels]``.

    Output shape:
        ``[batch, height, width, num_sums]``.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.Conv2DSum(num_sums=16)
        >>> layer.compute_output_shape((None, 14, 14, 8))
        (None, 14, 14, 16)
    """

    def build(self, input_shape: Shape) -> None:
        """Creates the accumulators."""
        _, _, channels = self.check_input_shape(input_shape)
        self.add_accumulators((1, 1, channels, self.num_sums))
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """Sums."""
        height, width, channels = self.check_input_shape(x.shape)
        self.check_children(x.shape, num_axes=1)
        # To shared weights, cells are further examples.
        cells = to_kernel(tf.reshape(x, [-1, 1, 1, channels]))
        log_y = checked_weighted_sum(cells, self.log_weights(), self.sum_op)
        return tf.reshape(from_kernel(log_y), [-1, height, width, self.num_sums])
