"""What leaves over finitely many values share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.choice import sample_index
from tfp_spn.ops.long_sums import long_sum
from tfp_spn.region_graphs.arguments import as_count

_MIN_PART = 512
"""What so many examples add to a table keeps its digits."""


class TableLeaf(ElementwiseLeaf):
    """Base of leaves over the integers from 0 to ``num_categories - 1``.

    A subclass gives `component_log_prob`, the table of all log-probabilities, which the
    other queries read, and an M-step for the counts of each value.

    Args:
        num_components: Number of components per leaf slot.
        num_categories: Number of values.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    is_discrete = True

    def __init__(
        self, num_components: int, num_categories: int, **kwargs: object
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.num_categories = as_count(num_categories, "num_categories")

    @property
    def support(self) -> str:
        """Integers in range."""
        return f"integers from 0 to {self.num_categories - 1}"

    def is_valid(self, x: Tensor) -> Tensor:
        """Whether values are integers in range."""
        return (x >= 0) & (x < self.num_categories) & (tf.math.floor(x) == x)

    def log_base(self, x: Tensor) -> Tensor:
        """0, or ``-inf`` out of range."""
        valid = tf.reduce_all(self.is_valid(x), axis=-2)
        return tf.where(valid, tf.zeros([], x.dtype), -float("inf"))

    def safe_value(self, x: Tensor) -> Tensor:
        """Category 0 out of range."""
        return tf.where(self.is_valid(x), x, tf.zeros_like(x))

    def component_tables(self, params: Params) -> Params:
        """`log_probs`, ``[..., L, K, D, C]``: normalised."""
        raise NotImplementedError

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """Draws categories."""
        log_probs = rows["log_probs"]
        return tf.cast(sample_index(log_probs, seed), log_probs.dtype)

    def component_mode(self, params: Params) -> Tensor:
        """The most probable category."""
        log_probs = self.component_tables(params)["log_probs"]
        return tf.cast(tf.argmax(log_probs, axis=-1), log_probs.dtype)

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """Log-probability of the most probable category."""
        log_probs = self.component_tables(params)["log_probs"]
        return tf.reduce_sum(tf.reduce_max(log_probs, axis=-1), axis=-1)

    def component_mean(self, params: Params) -> Tensor:
        """``sum_c c p(c)``."""
        return tf.linalg.matvec(self.value_probs(params), self._categories())

    def component_variance(self, params: Params) -> Tensor:
        """``sum_c (c - mean)^2 p(c)``."""
        probs = self.value_probs(params)
        distance = self._categories() - self.component_mean(params)[..., tf.newaxis]
        rounding = tf.reduce_sum(probs * distance, axis=-1)  # of the mean
        square = tf.reduce_sum(probs * tf.square(distance), axis=-1)
        return tf.maximum(square - tf.square(rounding), tf.zeros_like(square))

    def value_probs(self, params: Params) -> Tensor:
        """``[..., L, K, D, C]``."""
        return tf.exp(self.component_tables(params)["log_probs"])

    def _categories(self) -> Tensor:
        return tf.range(self.num_categories, dtype=self.compute_dtype)

    def sums_of_rows(self, values: Tensor, index: Tensor) -> Tensor:
        """What each category gets of `values` ``[L, D, N, K]``: ``[L, D, C, K]``."""
        num_slots, num_dims, num_examples = index.shape
        shape = [num_slots, num_dims, self.num_categories, self.num_components]
        num_rows = num_slots * num_dims * self.num_categories
        part = max(_MIN_PART, self.num_categories)  # tables are no larger than values
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
        offset = tf.range(num_tables) * self.num_categories
        return tf.reshape(offset, [x.shape[-3], x.shape[-2], 1])

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``sums [L, D, C, K]``: how much of each component saw each category."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        x = tf.cast(x, tf.int32)
        flow = slot_flow(flow, observed, layout)
        rows = tf.linalg.matrix_transpose(flow)[:, tf.newaxis]  # [L, 1, N, K]
        rows = tf.repeat(rows, x.shape[-2], axis=1)
        sums = self.sums_of_rows(rows, x + self.row_offset(x))
        return {"sums": sums, "count": tf.reduce_sum(flow, -1)}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_categories": self.num_categories}
