"""Histogram leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.edges import bin_of, checked_edges
from tfp_spn.layers.leaves.support import Support, interval
from tfp_spn.layers.leaves.table_leaf import TableLeaf
from tfp_spn.ops.choice import sample_index


@register
class HistogramLeaf(TableLeaf):
    """Components whose density is constant between edges.

        p(x | k) = softmax(logits[:, k])[b] / (edges[b + 1] - edges[b]) for x in bin b

    All components and variables have the same edges; for columns of different ranges
    put one such leaf for each into a `MixedLeaf`. A bin includes its lower edge, the
    last one both. There is no density outside.

    Args:
        num_components: Number of components per leaf slot.
        edges: Edges of the bins in increasing order, such as those that
            ``np.histogram_bin_edges(column)`` returns.
        logits_initializer: Initializer of logits ``[..., dims, num_bins,
            num_components]``. Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.

    Raises:
        ValueError: `edges` are not in order.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import numpy as np, tfp_spn
        >>> leaf = tfp_spn.layers.HistogramLeaf(
        ...     1, edges=[0.0, 1.0, 3.0], logits_initializer="zeros")
        >>> np.exp(leaf(np.array([[[[0.5]]], [[[2.0]]]]))).ravel().tolist()
        [0.5, 0.25]
    """

    def __init__(
        self,
        num_components: int,
        edges: Sequence[float],
        logits_initializer: InitializerLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, logits_initializer, **kwargs)
        self.edges = checked_edges(edges, type(self).__name__, "edges")

    @property
    def num_rows(self) -> int:
        """One for each bin."""
        return len(self.edges) - 1

    def row_of(self, x: Tensor) -> Tensor:
        """The bin."""
        return bin_of(self.edges, x)

    @property
    def value_support(self) -> Support:
        """An interval."""
        return interval(self.edges[0], self.edges[-1], self.compute_dtype)

    def log_base(self, x: Tensor) -> Tensor:
        """Minus the logarithm of the bin's width, ``-inf`` outside the interval."""
        valid = tf.reduce_all(self.value_support.contains(x), axis=-2)
        log_widths = tf.constant(np.log(np.diff(self.edges)), x.dtype)
        log_width = tf.gather(log_widths, self.row_of(self.safe_value(x)))
        total = -tf.reduce_sum(log_width, axis=-2)
        return tf.where(valid, total, tf.constant(-np.inf, x.dtype))

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """A bin, and a uniform draw within."""
        log_probs = rows["log_probs"]
        seeds = tf.random.experimental.stateless_split(seed, 2)
        number = sample_index(log_probs, seeds[0])
        uniform = tf.random.stateless_uniform(
            tf.shape(number), seeds[1], dtype=log_probs.dtype
        )
        edges = tf.constant(self.edges, log_probs.dtype)
        low, high = tf.gather(edges, number), tf.gather(edges, number + 1)
        return low + uniform * (high - low)

    def component_distribution(self, rows: Params) -> Distribution:
        """A mixture of uniform distributions."""
        log_probs = rows["log_probs"]
        edges = tf.constant(self.edges, log_probs.dtype)
        uniform = family_named("Uniform")
        mixture = family_named("MixtureSameFamily")
        categorical = family_named("Categorical")
        return mixture(categorical(logits=log_probs), uniform(edges[:-1], edges[1:]))

    def component_mode(self, params: Params) -> Tensor:
        """The middle of the bin of highest density."""
        log_density = self._log_densities(params)
        middle = tf.constant(self._middles, log_density.dtype)
        return tf.gather(middle, tf.argmax(log_density, axis=-1))

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """The highest log-density."""
        highest = tf.reduce_max(self._log_densities(params), axis=-1)
        return tf.reduce_sum(highest, axis=-1)

    def component_mean(self, params: Params) -> Tensor:
        """``sum_b p(b) middle[b]``."""
        probs = self.component_probs(params)
        return tf.linalg.matvec(probs, tf.constant(self._middles, probs.dtype))

    def component_variance(self, params: Params) -> Tensor:
        """``sum_b p(b) ((middle[b] - mean)^2 + width[b]^2 / 12)``."""
        probs = self.component_probs(params)
        middles = tf.constant(self._middles, probs.dtype)
        within = tf.constant(np.diff(self.edges) ** 2 / 12, probs.dtype)
        distance = middles - self.component_mean(params)[..., tf.newaxis]
        return tf.reduce_sum(probs * (tf.square(distance) + within), axis=-1)

    @property
    def _middles(self) -> np.ndarray:
        return 0.5 * (np.array(self.edges[1:]) + np.array(self.edges[:-1]))

    def _log_densities(self, params: Params) -> Tensor:
        log_probs = self.component_tables(params)["log_probs"]
        return log_probs - tf.constant(np.log(np.diff(self.edges)), log_probs.dtype)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "edges": list(self.edges)}
