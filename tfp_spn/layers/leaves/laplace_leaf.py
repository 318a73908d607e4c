"""Laplace leaves."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._serialization import register
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.accumulators import Moments, quotient
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.location_scale_leaf import ReorderedLocationScaleLeaf
from tfp_spn.ops.long_sums import long_sum


@register
class LaplaceLeaf(ReorderedLocationScaleLeaf, ElementwiseLeaf):
    """Laplace components, independent over dimensions.

        p(x | k) = prod_d exp(-|x[d] - location[k, d]| / scale[k, d]) / (2 scale[k, d])

    The M-step of EM moves the location to the mean weighted by ``1 / |x - location|``
    (a majorisation of the absolute value) and the scale to the mean absolute
    deviation: it never lowers the likelihood, but takes several steps to the weighted
    median.

    Args:
        num_components: Number of components per leaf slot.
        location_initializer: Initializer of locations ``[..., num_components, dims]``.
            Default: truncated normal of standard deviation 1.
        location_trainable: Whether locations are learned.
        scale_initializer: Initializer of scales. Default: ones.
        accumulator_initializer: Initializer of the accumulated counts: how many
            examples the initial location and scale are worth. Default: ones.
        use_accumulators: Whether to store accumulated moments in place of location and
            scale, for online EM, see `tfp_spn.layers.leaves.accumulators`. They are
            those of this family (in LibSPN-Keras those of a Normal).
        scale_trainable: Whether scales are learned.
        scale_constraint: A function of the scale, such as `tfp_spn.constraints.Clip`,
            applied wherever it is used.
        min_scale: Smallest possible scale.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.LaplaceLeaf(num_components=4)
    """

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """``-|x - location| / scale - log(2 scale)``."""
        scale = self.scale(params)[..., tf.newaxis]
        z = (x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]) / scale
        return long_sum(-tf.abs(z) - tf.math.log(2 * scale), axis=-2)

    def component_distribution(self, rows: Params) -> Distribution:
        """Returns components as a batch of `tfd.Laplace`."""
        return family_named("Laplace")(rows["location"][..., 0], rows["scale"][..., 0])

    def standard_noise(self, shape: Tensor, seed: Tensor, dtype: tf.DType) -> Tensor:
        """An exponential draw with a random sign."""
        tiny = np.finfo(dtype.as_numpy_dtype).tiny
        u = tf.random.stateless_uniform(shape, seed, minval=-1, maxval=1, dtype=dtype)
        return -tf.sign(u) * tf.math.log(tf.maximum(1 - tf.abs(u), tiny))

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """``-log(2 scale)``."""
        return -tf.reduce_sum(tf.math.log(self.scale(params)) + math.log(2.0), -1)

    def component_variance(self, params: Params) -> Tensor:
        """``2 scale^2``."""
        return 2 * tf.square(self.scale(params))

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """Weighted sums of ``1``, ``|x - location|`` and the sign, ``[L, K, D]``."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        flow = slot_flow(flow, observed, layout)
        scale = self.scale(params)[..., tf.newaxis]
        x = x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]
        distance = tf.abs(x)
        weight = flow[..., tf.newaxis, :] / tf.maximum(distance, 1e-5 * scale)
        return {
            "count": tf.reduce_sum(flow, -1),
            "weight": tf.reduce_sum(weight, -1),
            "first": tf.reduce_sum(weight * x, -1),
            "deviation": tf.reduce_sum(flow[..., tf.newaxis, :] * distance, -1),
        }

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Weighted mean and mean deviation, moved by `step_size`.

        `pseudocount` examples distributed as the current component are added.
        """
        count = statistics["count"]
        step = tf.cast(step_size, count.dtype)
        scale = self.scale(params)
        weight = statistics["weight"] + pseudocount / scale
        shift = tf.math.divide_no_nan(statistics["first"], weight)
        deviation = (statistics["deviation"] + pseudocount * scale) / (
            tf.maximum(count, 1e-30)[..., tf.newaxis] + pseudocount
        )
        return self.updated(
            params,
            count,
            lambda: params["location"] + step * shift,
            lambda _: scale + step * (deviation - scale),
        )

    def accumulated_moments(
        self, x: Tensor, location: Tensor, scale: Tensor
    ) -> Moments:
        """``w``, ``w x``, ``1``, ``|x - location|``, ``w = scale / |x - location|``."""
        distance = tf.abs(x - location)
        weight = scale / tf.maximum(distance, 1e-5 * scale)
        return Moments(weight, weight * x, tf.ones_like(distance), distance)

    def scale_of_moments(self, moments: Moments, location: Tensor) -> Tensor:
        """The mean absolute deviation."""
        return quotient(moments.second_num, moments.second_denom)

    def second_num_of_scale(
        self, scale: Tensor, location: Tensor, first_denom: Tensor, second_denom: Tensor
    ) -> Tensor:
        """Inverse of `scale_of_moments`."""
        return scale * second_denom
