"""Leaves of piecewise linear densities."""

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
from tfp_spn.layers.leaves.elementwise_leaf import slot_flow
from tfp_spn.layers.leaves.interval_leaf import IntervalLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.axes import gather_rows
from tfp_spn.ops.choice import sample_index
from tfp_spn.ops.log_space import log_add_exp, safe_log
from tfp_spn.ops.long_sums import long_sum


@register
class PiecewiseLinearLeaf(IntervalLeaf):
    """Components whose density is continuous, and linear between knots.

    Such a density is a mixture of triangles: each has its peak at a knot, and reaches
    from the knot before to the knot behind (at both ends it is half of that).

        p(x | k) = sum_j softmax(logits[:, k])[j] triangle_j(x)

    All components and variables have the same knots; for columns of different ranges
    put one such leaf for each into a `MixedLeaf`. There is no density outside.

    Args:
        num_components: Number of components per leaf slot.
        knots: In increasing order, for example quantiles of a column.
        logits_initializer: Initializer of logits ``[..., dims, num_knots,
            num_components]``. Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.

    Raises:
        ValueError: `knots` are not in order.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import numpy as np, tfp_spn
        >>> leaf = tfp_spn.layers.PiecewiseLinearLeaf(
        ...     1, knots=[0.0, 1.0, 2.0], logits_initializer="zeros")
        >>> np.round(np.exp(leaf(np.array([[[[0.0]]], [[[1.0]]]]))), 3).ravel()
        array([0.667, 0.333], dtype=float32)
    """

    def __init__(
        self,
        num_components: int,
        knots: Sequence[float],
        logits_initializer: InitializerLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, logits_initializer, **kwargs)
        self.knots = checked_edges(knots, type(self).__name__, "knots")

    @property
    def num_rows(self) -> int:
        """One for each knot."""
        return len(self.knots)

    @property
    def points(self) -> tuple[float, ...]:
        """The knots."""
        return self.knots

    @property
    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Low end, peak and high end of each triangle."""
        knots = np.array(self.knots)
        return np.append(knots[0], knots[:-1]), knots, np.append(knots[1:], knots[-1])

    @property
    def peaks(self) -> np.ndarray:
        """The knots."""
        return self.corners[1]

    @property
    def areas(self) -> np.ndarray:
        """Those of triangles of height one."""
        low, _, high = self.corners
        return 0.5 * (high - low)

    @property
    def means(self) -> np.ndarray:
        """The means of the corners."""
        return sum(self.corners, np.zeros([])) / 3

    @property
    def variances(self) -> np.ndarray:
        """Those of triangular distributions."""
        low, peak, high = self.corners
        squares = low**2 + peak**2 + high**2
        return (squares - low * peak - low * high - peak * high) / 18

    def pieces(self, dtype: DTypeLike) -> Distribution:
        """Triangular distributions."""
        low, peak, high = (tf.constant(corner, dtype) for corner in self.corners)
        return family_named("Triangular")(low, high, peak)

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Of both triangles that reach a value."""
        below, above = self._log_densities_at(params, x)
        log_prob = log_add_exp(below, above)
        return tf.linalg.matrix_transpose(long_sum(log_prob, axis=-3))

    def _log_densities_at(self, params: Params, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the triangles below and above, weighted, ``[..., L, D, N, K]`` each."""
        number = self.row_of(x)  # [..., L, D, N]
        knots = tf.constant(self.knots, x.dtype)
        low, high = tf.gather(knots, number), tf.gather(knots, number + 1)
        part = tf.clip_by_value((x - low) / (high - low), 0.0, 1.0)[..., tf.newaxis]
        table = self.log_probs(params)  # [..., L, D, J, K]
        table -= tf.constant(np.log(self.areas), table.dtype)[:, tf.newaxis]
        rows = gather_rows(table, tf.concat([number, number + 1], -1))
        below, above = tf.split(rows, 2, axis=-2)
        return below + safe_log(1 - part), above + safe_log(part)

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """A triangle, and a draw of it."""
        log_probs = rows["log_probs"]
        seeds = tf.random.experimental.stateless_split(seed, 2)
        number = sample_index(log_probs, seeds[0])
        low, peak, high = (
            tf.gather(tf.constant(corner, log_probs.dtype), number)
            for corner in self.corners
        )
        uniform = tf.random.stateless_uniform(
            tf.shape(number), seeds[1], dtype=log_probs.dtype
        )
        rise, fall, width = peak - low, high - peak, high - low
        left = low + tf.sqrt(uniform * width * rise)
        right = high - tf.sqrt((1 - uniform) * width * fall)
        return tf.where(uniform * width < rise, left, right)

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``sums [L, D, J, K]``: how much of each component each triangle made."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        below, above = self._log_densities_at(params, x)  # [L, D, N, K]
        both = log_add_exp(below, above)
        possible = both > -float("inf")
        both = tf.where(possible, both, tf.zeros_like(both))
        flow = slot_flow(flow, observed, layout)
        rows = tf.linalg.matrix_transpose(flow)[:, tf.newaxis]  # [L, 1, N, K]
        rows = tf.where(possible, rows, tf.zeros([], rows.dtype))
        index = self.row_of(x) + self.row_offset(x)
        sums = self.sums_of_rows(rows * tf.exp(below - both), index)
        sums += self.sums_of_rows(rows * tf.exp(above - both), index + 1)
        return {"sums": sums, "count": tf.reduce_sum(flow, -1)}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "knots": list(self.knots)}
