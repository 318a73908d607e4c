"""Leaves that mix the same few densities on an interval."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._typing import DTypeLike, Params, Tensor
from tfp_spn.layers.leaves.edges import bin_of
from tfp_spn.layers.leaves.support import Support, interval
from tfp_spn.layers.leaves.table_leaf import TableLeaf


class IntervalLeaf(TableLeaf):
    """Base of leaves whose components are mixtures of pieces: densities on an interval.

    All components have the same pieces, and a table has their weights. A subclass says
    what the pieces are.
    """

    @property
    def points(self) -> tuple[float, ...]:
        """What divides the interval, with its ends."""
        raise NotImplementedError

    @property
    def peaks(self) -> np.ndarray:
        """Where each piece is highest."""
        raise NotImplementedError

    @property
    def areas(self) -> np.ndarray:
        """Those of the pieces if they were of height one."""
        raise NotImplementedError

    @property
    def means(self) -> np.ndarray:
        """The mean of each piece."""
        raise NotImplementedError

    @property
    def variances(self) -> np.ndarray:
        """The variance of each piece."""
        raise NotImplementedError

    def pieces(self, dtype: DTypeLike) -> Distribution:
        """The pieces as a batch of distributions."""
        raise NotImplementedError

    def row_of(self, x: Tensor) -> Tensor:
        """The bin between two points; a bin has its lower end."""
        return bin_of(self.points, x)

    @property
    def value_support(self) -> Support:
        """An interval."""
        return interval(self.points[0], self.points[-1], self.compute_dtype)

    def component_distribution(self, rows: Params) -> Distribution:
        """A mixture of the pieces."""
        log_probs = rows["log_probs"]
        mixture, categorical = map(family_named, ("MixtureSameFamily", "Categorical"))
        return mixture(categorical(logits=log_probs), self.pieces(log_probs.dtype))

    def component_mode(self, params: Params) -> Tensor:
        """The peak of highest density."""
        log_heights = self._log_heights(params)
        peaks = tf.constant(self.peaks, log_heights.dtype)
        return tf.gather(peaks, tf.argmax(log_heights, axis=-1))

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """The highest log-density."""
        highest = tf.reduce_max(self._log_heights(params), axis=-1)
        return tf.reduce_sum(highest, axis=-1)

    def component_mean(self, params: Params) -> Tensor:
        """``sum_b p(b) mean[b]``."""
        probs = self.component_probs(params)
        return tf.linalg.matvec(probs, tf.constant(self.means, probs.dtype))

    def component_variance(self, params: Params) -> Tensor:
        """``sum_b p(b) ((mean[b] - mean)^2 + variance[b])``."""
        probs = self.component_probs(params)
        means = tf.constant(self.means, probs.dtype)
        within = tf.constant(self.variances, probs.dtype)
        distance = means - self.component_mean(params)[..., tf.newaxis]
        return tf.reduce_sum(probs * (tf.square(distance) + within), axis=-1)

    def _log_heights(self, params: Params) -> Tensor:
        """Log-density at each peak, ``[..., L, K, D, G]``."""
        log_probs = self.component_tables(params)["log_probs"]
        return log_probs - tf.constant(np.log(self.areas), log_probs.dtype)
