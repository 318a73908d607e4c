"""Products of all combinations of nodes of two steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape
from tfp_spn.ops.products import log_kronecker


@register
class TemporalDenseProduct(RegionLayer):
    """All products of a node of the previous steps and a node of the current one.

        log y[i * N_b + j] = log a[i] + log b[j]

    It joins the interface of a dynamic sum-product network at the previous step, ``a``,
    with that of the current one, ``b``, scope by scope and decomposition by
    decomposition; `tfp_spn.models.DynamicSumProductNetwork` does so at every step. In
    contrast to LibSPN-Keras its computed output shape is right.

    Args:
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        A pair of ``[batch, scopes, decomps, nodes_a]`` and ``[batch, scopes, decomps,
        nodes_b]``.

    Output shape:
        ``[batch, scopes, decomps, nodes_a * nodes_b]``.

    Raises:
        ValueError: The input is not a pair, or scopes, decompositions or dtypes of
            the two differ.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.TemporalDenseProduct()
        >>> layer.compute_output_shape([(None, 1, 1, 3), (None, 1, 1, 4)])
        (None, 1, 1, 12)
    """

    def call(self, x: Sequence[Tensor]) -> Tensor:
        """Multiplies."""
        previous, current = self._pair(x)
        if previous.dtype != current.dtype:
            raise ValueError(
                f"{self.label}: received inputs of dtypes {previous.dtype.name} and "
                f"{current.dtype.name}, expected one dtype. Pass the same dtype to "
                "all layers."
            )
        # The kernel combines axis -2; there is nothing behind it here.
        factors = [previous[..., tf.newaxis], current[..., tf.newaxis]]
        return tf.squeeze(log_kronecker(factors), -1)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """``[batch, scopes, decomps, nodes_a * nodes_b]``."""
        previous, current = self._pair(input_shape)
        *regions, nodes_a = self.check_input_shape(previous)
        *others, nodes_b = self.check_input_shape(current)
        if regions != others:
            raise ValueError(
                f"{self.label}: received input shapes {tuple(previous)} and "
                f"{tuple(current)}, expected the same scopes and decompositions. The "
                f"first has {regions[0]} and {regions[1]}, the second {others[0]} and "
                f"{others[1]}; end both networks in layers of equal regions."
            )
        return (current[0], *regions, nodes_a * nodes_b)

    def compute_output_spec(self, x: Sequence[Any]) -> keras.KerasTensor:
        """Symbolic output."""
        shapes = [each.shape for each in self._pair(x)]
        return keras.KerasTensor(self.compute_output_shape(shapes), dtype=x[0].dtype)

    def _pair(self, x: TensorLike) -> Any:
        is_pair = isinstance(x, list | tuple) and len(x) == 2
        if not is_pair or isinstance(x[0], int | type(None)):
            raise ValueError(
                f"{self.label}: received {_described(x)}, expected a pair [previous, "
                "current] of region values. Pass a list of the two."
            )
        return x


def _described(x: TensorLike) -> str:
    if isinstance(x, list | tuple):
        shape = all(isinstance(size, int | type(None)) for size in x)
        return f"the shape {tuple(x)}" if shape else f"{len(x)} inputs"
    return f"one input of shape {tuple(x.shape)}"
