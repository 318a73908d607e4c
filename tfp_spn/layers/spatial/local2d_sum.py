"""Weighted sums over the channels of each cell."""

from __future__ import annotations

from tfp_spn._serialization import register
from tfp_spn.layers.regions.dense_sum import DenseSum
from tfp_spn.layers.spatial.spatial_layer import SpatialLayer


@register
class Local2DSum(SpatialLayer, DenseSum):
    """`num_sums` weighted sums over the channels of each cell, each with own weights.

        log y[i, j, o] = log sum_k exp(log x[i, j, k] + log w[i, j, k, o])

    Weights ``[height, width, channels, num_sums]`` are normalised over `channels` in
    the forward pass. A cell that covers no pixel (all padding) stays 1. `DenseSum`
    tells what else differs from LibSPN-Keras, and explains the arguments.

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
        >>> layer = tfp_spn.layers.Local2DSum(num_sums=16)
        >>> layer.compute_output_shape((None, 14, 14, 8))
        (None, 14, 14, 16)
    """
