"""The base class of permuting layers: the table, and how scopes move."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape


class BasePermutation(RegionLayer):
    """Base class of layers that reorder scopes, in each decomposition differently.

    Output scope ``s`` of decomposition ``d`` is the input scope ``table[d, s]``; for
    -1 it is padding: log-value 0 in all nodes, as of a variable integrated out.

    The table is a non-trainable int32 weight, so that it is saved and loaded with the
    weights.
    """

    def make_table(self, num_scopes: int, num_decomps: int) -> np.ndarray:
        """The int32 table ``[num_decomps, num_scopes_out]``, checked."""
        raise NotImplementedError

    def num_scopes_out(self, num_scopes: int) -> int:
        """Scopes of the output."""
        raise NotImplementedError

    def build(self, input_shape: Shape) -> None:
        """Makes the table."""
        scopes, decomps, _ = self.check_input_shape(input_shape)
        table = self.make_table(scopes, decomps)
        self.permutation_table = self.add_table("permutations", table)
        self.built = True

    @property
    def table(self) -> np.ndarray:
        """The current table, int32 ``[decomps, scopes_out]``, once built."""
        with tf.init_scope():  # a concrete value also while a graph is traced
            return self.permutation_table.value.numpy()

    def call(self, x: Tensor) -> Tensor:
        """Moves the scopes."""
        _, scopes, decomps, nodes = x.shape
        table = tf.transpose(self.permutation_table.value)  # [scopes_out, decomps]
        position = table * decomps + tf.range(decomps)
        position = tf.where(table < 0, scopes * decomps, position)
        regions = tf.reshape(x, [-1, scopes * decomps, nodes])
        padding = tf.zeros_like(regions[:, :1])
        return tf.gather(tf.concat([regions, padding], axis=1), position, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, scopes_out, decomps, nodes]``."""
        scopes, decomps, nodes = self.check_input_shape(input_shape)
        return (input_shape[0], self.num_scopes_out(scopes), decomps, nodes)
