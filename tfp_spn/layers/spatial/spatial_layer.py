"""The base class of layers over images: input checks, and scopes known at build."""

from __future__ import annotations

import keras

from tfp_spn._typing import TensorLike
from tfp_spn.layers.regions.region_layer import RegionLayer
from tfp_spn.layers.spatial.grid_scopes import GridScopes, attach_scopes, scopes_of


class SpatialLayer(RegionLayer):
    """Base class of layers over ``[batch, height, width, channels]``.

    The scopes of all cells follow the symbolic tensors from layer to layer, from the
    leaf upwards, so that a stack that is not a circuit is refused as soon as its model
    knows its input shape. A layer of your own in between that neither moves nor mixes
    cells says ``keeps_scopes = True``.
    """

    keeps_scopes = True
    gives_cells = True  # a grid: a root has to wait for regions
    _axes = ("height", "width", "channels")
    _first_layers = "keras.Input((height, width, dims)) and a leaf layer"

    def scopes_out(self, scopes: GridScopes) -> GridScopes | None:
        """Scopes of the output's cells.

        Raises:
            ValueError: If the layer's nodes would be no valid products or sums.
        """
        return scopes

    def compute_output_spec(self, x: TensorLike) -> keras.KerasTensor:
        """Symbolic output, which carries its scopes."""
        output = super().compute_output_spec(x)
        scopes = scopes_of(x)
        attach_scopes(output, None if scopes is None else self.scopes_out(scopes))
        return output
