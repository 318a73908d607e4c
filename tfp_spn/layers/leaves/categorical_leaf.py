"""Categorical leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_spn._serialization import initializer_of, register, serialize
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import ParameterSpec
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.choice import sample_index
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import logsumexp, softmax
from tfp_spn.ops.long_sums import long_sum
from tfp_spn.region_graphs.arguments import as_count

_MIN_PART = 512
"""What so many examples add to a table keeps its digits."""


@register
class CategoricalLeaf(ElementwiseLeaf):
    """Categorical components over integers from 0 to ``num_categories - 1``.

        log p(x | k) = log_softmax(logits[:, k])[x]

    Looked up, not multiplied out. Mean and variance are those of the category taken as
    an integer.

    Args:
        num_components: Number of components per leaf slot.
        num_categories: Number of categories.
        logits_initializer: Initializer of logits ``[..., dims, num_categories,
            num_components]``. Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.CategoricalLeaf(num_components=4, num_categories=17)
    """

    is_discrete = True
    can_overflow = False

    def __init__(
        self,
        num_components: int,
        num_categories: int,
        logits_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.num_categories = as_count(num_categories, "num_categories")
        self.logits_initializer = initializer_of(
            self, "logits_initializer", logits_initializer
        ) or keras.initializers.RandomNormal(stddev=1.0)

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """`logits`, ``[D, C, K]``: one row of components per category."""
        shape = (num_dims, self.num_categories, self.num_components)
        spec = ParameterSpec(shape, self.logits_initializer, is_log_weight=True)
        return {"logits": spec}

    def log_probs(self, params: Params) -> Tensor:
        """Normalised ``[..., L, D, C, K]``."""
        logits = tf.convert_to_tensor(params["logits"])
        return logits - logsumexp(logits, -2, keepdims=True)

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

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Rows of the table, one per value."""
        x = tf.cast(x, tf.int32)  # [..., L, D, N]
        logits = tf.convert_to_tensor(params["logits"])  # [..., L, D, C, K]
        if logits.shape.rank == 4 and x.shape.rank == 3:
            rows = self._normalized_rows(logits, x + self._row_offset(x))
        else:
            table = self.log_probs(params)
            batch = tf.broadcast_dynamic_shape(tf.shape(table)[:-4], tf.shape(x)[:-3])
            static = tf.broadcast_static_shape(table.shape[:-4], x.shape[:-3])
            tails = table.shape[-4:], x.shape[-3:]
            table = tf.broadcast_to(table, tf.concat([batch, tf.shape(table)[-4:]], 0))
            table = tf.ensure_shape(table, static.concatenate(tails[0]))
            x = tf.broadcast_to(x, tf.concat([batch, tf.shape(x)[-3:]], 0))
            x = tf.ensure_shape(x, static.concatenate(tails[1]))
            rows = tf.gather(table, x, axis=-2, batch_dims=x.shape.rank - 1)
        return tf.linalg.matrix_transpose(long_sum(rows, axis=-3))

    def _normalized_rows(self, logits: Tensor, index: Tensor) -> Tensor:
        """Rows ``[L, D, N, K]`` of the table of log-probabilities.

        The normalised table, often the largest tensor of all, is never written.
        """

        @custom_gradient
        def forward(logits: Tensor) -> tuple[Tensor, Callable]:
            rows = tf.gather(tf.reshape(logits, [-1, self.num_components]), index)

            def backward(flow: Tensor) -> Tensor:
                sums = self._sums_of_rows(flow, index)
                total = tf.reduce_sum(sums, axis=-2, keepdims=True)
                return sums - softmax(logits, -2) * total

            return rows - logsumexp(logits, -2, keepdims=True), backward

        return forward(logits)

    def _sums_of_rows(self, values: Tensor, index: Tensor) -> Tensor:
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

    def _row_offset(self, x: Tensor) -> Tensor:
        """``[L, D, 1]``: where each slot's table begins among all rows."""
        num_tables = x.shape[-3] * x.shape[-2]
        offset = tf.range(num_tables) * self.num_categories
        return tf.reshape(offset, [x.shape[-3], x.shape[-2], 1])

    def component_tables(self, params: Params) -> Params:
        """`log_probs`, ``[..., L, K, D, C]``."""
        log_probs = self.log_probs(params)
        rank = log_probs.shape.rank
        order = [*range(rank - 3), rank - 1, rank - 3, rank - 2]
        return {"log_probs": tf.transpose(log_probs, order)}

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
        sums = self._sums_of_rows(rows, x + self._row_offset(x))
        return {"sums": sums, "count": tf.reduce_sum(flow, -1)}

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the probabilities by `step_size`.

        `pseudocount` examples are spread evenly over the categories.
        """
        sums = statistics["sums"] + pseudocount / self.num_categories
        total = tf.reduce_sum(sums, axis=-2, keepdims=True)
        new = tf.math.divide_no_nan(sums, total)
        old = tf.exp(self.log_probs(params))
        probs = old + tf.cast(step_size, old.dtype) * (new - old)
        received = statistics["count"][..., tf.newaxis, tf.newaxis, :] > 0
        logits = tf.math.log(tf.maximum(probs, 1e-12))
        return {"logits": tf.where(received, logits, params["logits"])}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_categories": self.num_categories,
            "logits_initializer": serialize(self.logits_initializer),
        }
