"""What leaves over finitely many values share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._arguments import a_count, reads
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.counted_leaf import CountedLeaf
from tfp_spn.layers.leaves.support import Support, integers_up_to
from tfp_spn.ops.choice import sample_index


class FiniteLeaf(CountedLeaf):
    """Base of leaves over the integers from 0 to ``num_categories - 1``.

    A subclass gives `component_log_prob`, `component_tables` with the `log_probs`
    ``[..., L, K, D, G]`` of all values, which the other queries read, and an M-step for
    the counts of each value.

    Args:
        num_components: Number of components per leaf slot.
        num_categories: Number of values.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    is_discrete = True

    @reads(num_categories=a_count())
    def __init__(self, num_components: int, num_categories: int, **kwargs: Any) -> None:
        super().__init__(num_components, **kwargs)
        self.num_categories = num_categories

    @property
    def num_rows(self) -> int:
        """One for each category."""
        return self.num_categories

    def row_of(self, x: Tensor) -> Tensor:
        """The category."""
        return tf.cast(x, tf.int32)

    @property
    def value_support(self) -> Support:
        """Integers in range."""
        return integers_up_to(self.num_categories - 1)

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
        """``[..., L, K, D, G]``."""
        return tf.exp(self.component_tables(params)["log_probs"])

    def _categories(self) -> Tensor:
        return tf.range(self.num_categories, dtype=self.compute_dtype)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_categories": self.num_categories}
