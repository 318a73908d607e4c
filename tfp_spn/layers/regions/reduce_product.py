"""Products of nodes of equal index."""

from __future__ import annotations

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.layers.regions.base_product import BaseProduct
from tfp_spn.ops.products import log_hadamard


@register
class ReduceProduct(BaseProduct):
    """Products of the nodes of equal index of `num_factors` adjacent scopes.

        log y[k] = sum_a log x_a[k]

    Args:
        num_factors: Number of adjacent scopes that are multiplied.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]``, `scopes` a multiple of `num_factors`.

    Output shape:
        ``[batch, scopes / num_factors, decomps, nodes]``.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.ReduceProduct(num_factors=4)
        >>> layer.compute_output_shape((None, 16, 1, 8))
        (None, 4, 1, 8)
    """

    product = "hadamard"

    def call(self, x: Tensor) -> Tensor:
        """Multiplies."""
        return log_hadamard(self.factors(x))

    def num_outputs(self, num_nodes: int) -> int:
        """Returns the number of nodes of each factor."""
        return num_nodes
