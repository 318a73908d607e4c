"""Leaves that look up probabilities in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import initializer_of, serialize
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.base_leaf import ParameterSpec
from tfp_spn.layers.leaves.counted_leaf import CountedLeaf
from tfp_spn.layers.leaves.initial_parameters import LeafData
from tfp_spn.ops.axes import gather_rows, move_axis
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import logsumexp, softmax
from tfp_spn.ops.long_sums import long_sum


class TableLeaf(CountedLeaf):
    """Base of leaves whose components are tables of probabilities, looked up by value.

    A subclass says by `num_rows` how many probabilities a component has, and by
    `row_of` which of them a value has.

    Args:
        num_components: Number of components per leaf slot.
        logits_initializer: Initializer of logits ``[..., dims, num_rows,
            num_components]``. Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    can_overflow = False

    def __init__(
        self,
        num_components: int,
        logits_initializer: InitializerLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.logits_initializer = initializer_of(
            self, "logits_initializer", logits_initializer
        ) or keras.initializers.RandomNormal(stddev=1.0)

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """`logits`, ``[D, G, K]``: one row of components per probability."""
        shape = (num_dims, self.num_rows, self.num_components)
        spec = ParameterSpec(shape, self.logits_initializer, is_log_weight=True)
        return {"logits": spec}

    def log_probs(self, params: Params) -> Tensor:
        """Normalised ``[..., L, D, G, K]``."""
        logits = tf.convert_to_tensor(params["logits"])
        return logits - logsumexp(logits, -2, keepdims=True)

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Rows of the table, one per value."""
        x = self.row_of(x)  # [..., L, D, N]
        logits = tf.convert_to_tensor(params["logits"])  # [..., L, D, G, K]
        if logits.shape.rank == 4 and x.shape.rank == 3:
            rows = self._normalized_rows(logits, x + self.row_offset(x))
        else:
            rows = gather_rows(self.log_probs(params), x)
        return tf.linalg.matrix_transpose(long_sum(rows, axis=-3))

    def _normalized_rows(self, logits: Tensor, index: Tensor) -> Tensor:
        """Rows ``[L, D, N, K]`` of the table of log-probabilities.

        The normalised table, often the largest tensor of all, is never written.
        """

        @custom_gradient
        def forward(logits: Tensor) -> tuple[Tensor, Callable]:
            rows = tf.gather(tf.reshape(logits, [-1, self.num_components]), index)

            def backward(flow: Tensor) -> Tensor:
                sums = self.sums_of_rows(flow, index)
                total = tf.reduce_sum(sums, axis=-2, keepdims=True)
                return sums - softmax(logits, -2) * total

            return rows - logsumexp(logits, -2, keepdims=True), backward

        return forward(logits)

    def component_tables(self, params: Params) -> Params:
        """`log_probs`, ``[..., L, K, D, G]``."""
        return {"log_probs": move_axis(self.log_probs(params), -1, -3)}

    def component_probs(self, params: Params) -> Tensor:
        """``[..., L, K, D, G]``."""
        return tf.exp(self.component_tables(params)["log_probs"])

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the probabilities by `step_size`.

        `pseudocount` examples are spread evenly over the rows.
        """
        sums = statistics["sums"] + pseudocount / self.num_rows
        total = tf.reduce_sum(sums, axis=-2, keepdims=True)
        new = tf.math.divide_no_nan(sums, total)
        old = tf.exp(self.log_probs(params))
        probs = old + tf.cast(step_size, old.dtype) * (new - old)
        received = statistics["count"][..., tf.newaxis, tf.newaxis, :] > 0
        logits = tf.math.log(tf.maximum(probs, 1e-12))
        return {"logits": tf.where(received, logits, params["logits"])}

    def initial_parameters(self, data: LeafData) -> Params:
        """Probabilities drawn around the variable's frequencies, ``[L, D, G, K]``."""
        x = self.safe_value(tf.constant(data.x.astype(self.compute_dtype)))
        rows = np.where(data.observed, self.row_of(x), -1)
        count = data.observed.sum(0)[..., np.newaxis]
        each = [np.count_nonzero(rows == row, axis=0) for row in range(self.num_rows)]
        probs = np.stack(each, axis=-1) + 1.0 / self.num_rows
        shape = data.around(probs / (count + 1.0))[..., np.newaxis]  # [L, D, G, 1]
        shape = np.repeat(shape, self.num_components, axis=-1)
        return {"logits": data.log_gamma_draws(shape)}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "logits_initializer": serialize(self.logits_initializer),
        }
