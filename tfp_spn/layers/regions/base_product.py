"""The base class of product layers: it groups adjacent scopes."""

from __future__ import annotations

from typing import Literal, Unpack

from tfp_spn._arguments import a_count, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._typing import Config, Tensor
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape


class BaseProduct(RegionLayer):
    """Base class of products of `num_factors` adjacent scopes.

    Factor ``a`` of the output region ``(s, d)`` is the input region
    ``(s * num_factors + a, d)``.

    Args:
        num_factors: Number of adjacent scopes that are multiplied.
        **kwargs: Passed on to `keras.layers.Layer`.

    Attributes:
        product: How the units of the factors are combined.
    """

    product: Literal["hadamard", "kronecker"]

    @reads(num_factors=a_count())
    def __init__(self, num_factors: int, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.num_factors = num_factors

    def factors(self, x: Tensor) -> list[Tensor]:
        """Factors of all output regions, ``[batch, scopes_out, decomps, nodes]``."""
        return [x[:, a :: self.num_factors] for a in range(self.num_factors)]

    def num_outputs(self, num_nodes: int) -> int:
        """Nodes of an output region whose factors have `num_nodes` each."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, scopes / num_factors, decomps, nodes_out]``."""
        scopes, decomps, nodes = self.check_input_shape(input_shape)
        if scopes % self.num_factors:
            raise ValueError(
                f"{self.label}: {scopes} scopes cannot be grouped by num_factors="
                f"{self.num_factors}. Received input shape {tuple(input_shape)}, "
                f"expected a multiple of {self.num_factors} scopes. "
                f"{_remedy(scopes)}"
            )
        outputs = self.num_outputs(nodes)
        return (input_shape[0], scopes // self.num_factors, decomps, outputs)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_factors": self.num_factors}


def _remedy(scopes: int) -> str:
    divisors = [f for f in range(2, scopes + 1) if scopes % f == 0][:4]
    remedy = "Pad the scopes with PermuteAndPadScopesRandom"
    if not divisors:
        return f"{remedy} or remove this layer."
    return f"{remedy} or use num_factors={' or '.join(map(str, divisors))}."
