"""Products of all combinations of nodes."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.layers.regions.base_product import BaseProduct
from tfp_spn.ops.products import log_kronecker


@register
class DenseProduct(BaseProduct):
    """All products of one node of each of `num_factors` adjacent scopes.

        log y[k_0 * K + k_1] = log x_0[k_0] + log x_1[k_1]      (num_factors = 2)

    The first factor is the most significant digit of the output's index.

    Args:
        num_factors: Number of adjacent scopes that are multiplied.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]``, `scopes` a multiple of `num_factors`.

    Output shape:
        ``[batch, scopes / num_factors, decomps, nodes ** num_factors]``.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.DenseProduct(num_factors=2)
        >>> layer.compute_output_shape((None, 16, 1, 4))
        (None, 8, 1, 16)
    """

    product = "kronecker"

    def call(self, x: Tensor) -> Tensor:
        """Multiplies."""
        # The kernel combines axis -2; there is nothing behind it here.
        factors = [factor[..., tf.newaxis] for factor in self.factors(x)]
        return tf.squeeze(log_kronecker(factors), -1)

    def num_outputs(self, num_nodes: int) -> int:
        """``nodes ** num_factors``."""
        return num_nodes**self.num_factors
