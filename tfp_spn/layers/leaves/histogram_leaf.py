"""Histogram leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Params, Tensor
from tfp_spn.layers.leaves.edges import checked_edges
from tfp_spn.layers.leaves.interval_leaf import IntervalLeaf
from tfp_spn.ops.choice import sample_index


@register
class HistogramLeaf(IntervalLeaf):
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

    @property
    def points(self) -> tuple[float, ...]:
        """The edges."""
        return self.edges

    @property
    def peaks(self) -> np.ndarray:
        """The middles of the bins."""
        return 0.5 * (np.array(self.edges[1:]) + np.array(self.edges[:-1]))

    means = peaks

    @property
    def areas(self) -> np.ndarray:
        """The widths of the bins."""
        return np.diff(self.edges)

    @property
    def variances(self) -> np.ndarray:
        """Those of uniform distributions."""
        return self.areas**2 / 12

    def pieces(self, dtype: DTypeLike) -> Distribution:
        """Uniform distributions."""
        edges = tf.constant(self.edges, dtype)
        return family_named("Uniform")(edges[:-1], edges[1:])

    def log_base(self, x: Tensor) -> Tensor:
        """Minus the logarithm of the bin's width, ``-inf`` outside the interval."""
        valid = tf.reduce_all(self.value_support.contains(x), axis=-2)
        log_widths = tf.constant(np.log(self.areas), x.dtype)
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

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "edges": list(self.edges)}
