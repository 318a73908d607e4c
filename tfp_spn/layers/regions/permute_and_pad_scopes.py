"""Given permutations of scopes."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config
from tfp_spn.layers.regions.base_permutation import BasePermutation


@register
class PermuteAndPadScopes(BasePermutation):
    """Reorders and pads scopes, in each decomposition as told.

    Output scope ``s`` of decomposition ``d`` is the input scope
    ``permutations[d][s]``, and padding where that is -1: log-value 0 in all nodes, as
    of a variable integrated out. In contrast to LibSPN-Keras a scope may not occur
    twice in a decomposition, and the output shape counts the padding.

    Args:
        permutations: Integers ``[decomps, scopes_out]``. `None`: set the attribute
            `permutations` before the layer is built.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]``.

    Output shape:
        ``[batch, scopes_out, decomps, nodes]``.

    Example:
        >>> import numpy as np, tfp_spn
        >>> layer = tfp_spn.layers.PermuteAndPadScopes([[2, -1, 0, 1]])
        >>> layer(np.array([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1)).numpy().ravel()
        array([30.,  0., 10., 20.])
    """

    def __init__(
        self, permutations: object = None, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self.permutations = permutations

    @property
    def permutations(self) -> list[list[int]] | None:
        """The permutations as given."""
        if self._permutations is None:
            return None
        return [list(row) for row in self._permutations]

    @permutations.setter
    def permutations(self, permutations: object) -> None:
        if self.built:
            raise ValueError(
                f"{self.label}: received permutations after the layer was built; "
                "expected them before. Make a new layer."
            )
        if permutations is None:
            self._permutations = None
            return
        table = np.asarray(permutations)
        if table.ndim != 2 or table.dtype.kind not in "iu" or table.size == 0:
            raise ValueError(
                f"{self.label}: received permutations of shape {table.shape} and dtype "
                f"{table.dtype}, expected integers [decomps, scopes_out]. Give one "
                "list of scopes per decomposition, -1 for padding."
            )
        for decomp, row in enumerate(table):
            values, counts = np.unique(row[row >= 0], return_counts=True)
            if np.any(counts > 1):
                raise ValueError(
                    f"{self.label}: received permutations whose decomposition {decomp} "
                    f"holds the scopes {values[counts > 1].tolist()} more than once; "
                    "expected each at most once, as factors of a product must not "
                    "overlap. Remove the repetitions, or pad with -1."
                )
        # A tuple: Keras would wrap a list to track it.
        self._permutations = tuple(map(tuple, table.tolist()))

    def make_table(self, num_scopes: int, num_decomps: int) -> np.ndarray:
        """The permutations, if they fit the input."""
        self.num_scopes_out(num_scopes)
        table = np.asarray(self.permutations, np.int32)
        if len(table) != num_decomps:
            raise ValueError(
                f"{self.label}: received permutations of {len(table)} decompositions "
                f"for an input of {num_decomps}; expected one permutation for each. "
                f"Add or remove rows, or use FlatToRegions(num_decomps={len(table)})."
            )
        if table.min() < -1 or table.max() >= num_scopes:
            raise ValueError(
                f"{self.label}: received permutations with entries from {table.min()} "
                f"to {table.max()} for an input of {num_scopes} scopes; expected "
                f"entries from -1 (padding) to {num_scopes - 1}. Renumber the scopes."
            )
        return table

    def num_scopes_out(self, num_scopes: int) -> int:
        """The length of the permutations."""
        if self.permutations is None:
            raise ValueError(
                f"{self.label}: received no permutations, expected integers [decomps, "
                "scopes_out] before the layer is built. Pass permutations=[[...], ...] "
                "or set layer.permutations."
            )
        return len(self.permutations[0])

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "permutations": self.permutations}
