"""Leaves that learn from how often each of finitely many rows was seen."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.long_sums import long_sum

_MIN_PART = 512
"""What so many examples add to a table keeps its digits."""


class CountedLeaf(ElementwiseLeaf):
    """Base of leaves whose statistics are counts: of values, or of bins of values.

    A subclass says by `num_rows` how many counts a component has, and by `row_of` which
    of them a value adds to.
    """

    @property
    def num_rows(self) -> int:
        """Counts of a component."""
        raise NotImplementedError

    def row_of(self, x: Tensor) -> Tensor:
        """Of values within the support, int32 of their shape."""
        raise NotImplementedError

    def sums_of_rows(self, values: Tensor, index: Tensor) -> Tensor:
        """What each row gets of `values` ``[L, D, N, K]``: ``[L, D, G, K]``."""
        num_slots, num_dims, num_examples = index.shape
        shape = [num_slots, num_dims, self.num_rows, self.num_components]
        num_rows = num_slots * num_dims * self.num_rows
        part = max(_MIN_PART, self.num_rows)  # tables are no larger than values
        num_parts = -(-(num_examples or 0) // part)
        if num_parts <= 1:
            sums = tf.math.unsorted_segment_sum(values, index, num_rows)
            return tf.reshape(sums, shape)
        index += tf.range(num_examples) // part * num_rows
        sums = tf.math.unsorted_segment_sum(values, index, num_parts * num_rows)
        return long_sum(tf.reshape(sums, [num_parts, *shape]), axis=-5)

    def row_offset(self, x: Tensor) -> Tensor:
        """``[L, D, 1]``: where each slot's table begins among all rows."""
        num_tables = x.shape[-3] * x.shape[-2]
        offset = tf.range(num_tables) * self.num_rows
        return tf.reshape(offset, [x.shape[-3], x.shape[-2], 1])

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``sums [L, D, G, K]``: how much of each component saw each row."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        x = self.row_of(x)
        flow = slot_flow(flow, observed, layout)
        rows = tf.linalg.matrix_transpose(flow)[:, tf.newaxis]  # [L, 1, N, K]
        rows = tf.repeat(rows, x.shape[-2], axis=1)
        sums = self.sums_of_rows(rows, x + self.row_offset(x))
        return {"sums": sums, "count": tf.reduce_sum(flow, -1)}
