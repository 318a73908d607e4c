"""Cauchy leaves."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._serialization import register
from tfp_spn._typing import DTypeLike, Params, Tensor
from tfp_spn.layers.leaves.accumulators import Moments, quotient, safe_sqrt
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.location_scale_leaf import ReorderedLocationScaleLeaf
from tfp_spn.ops.long_sums import long_sum


@register
class CauchyLeaf(ReorderedLocationScaleLeaf, ElementwiseLeaf):
    """Cauchy components, independent over dimensions.

        p(x | k) = prod_d 1 / (pi scale (1 + z^2)),  z = (x[d] - location) / scale

    It has no mean and no variance: they are NaN. EM treats the Cauchy distribution as a
    Normal of random precision (Student's t with one degree of freedom), whose M-step
    never lowers the likelihood [1].

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
        >>> leaf = tfp_spn.layers.CauchyLeaf(num_components=4)

    References:
        [1]: Liu, Rubin. ML estimation of the t distribution using EM and its
        extensions, ECM and ECME. Statistica Sinica 5, 1995.
    """

    has_moments = False

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """``-log(pi scale (1 + z^2))``."""
        scale = self.scale(params)[..., tf.newaxis]
        distance = x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]
        log_prob = -_log1p_square(distance, scale) - tf.math.log(math.pi * scale)
        return long_sum(log_prob, axis=-2)

    def component_distribution(self, rows: Params) -> Distribution:
        """Returns components as a batch of `tfd.Cauchy`."""
        return family_named("Cauchy")(rows["location"][..., 0], rows["scale"][..., 0])

    def standard_noise(self, shape: Tensor, seed: Tensor, dtype: DTypeLike) -> Tensor:
        """``tan(pi (u - 1/2))``."""
        u = tf.random.stateless_uniform(
            shape, seed, minval=-0.5, maxval=0.5, dtype=dtype
        )
        return tf.math.tan(math.pi * u)

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """``-log(pi scale)``."""
        return -tf.reduce_sum(tf.math.log(math.pi * self.scale(params)), -1)

    def component_mean(self, params: Params) -> Tensor:
        """NaN: a Cauchy distribution has no mean."""
        return tf.fill(tf.shape(params["location"]), _nan(params))

    def component_variance(self, params: Params) -> Tensor:
        """NaN: a Cauchy distribution has no variance."""
        return tf.fill(tf.shape(params["location"]), _nan(params))

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Half the distance of the quartiles."""
        low, high = np.nanquantile(x, [0.25, 0.75], axis=0)
        return (high - low) / 2

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """Sums of ``u, u d, u d^2``, ``d = x - location``, ``u = 2 / (1 + z^2)``."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        flow = slot_flow(flow, observed, layout)
        x = x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]
        z = x / self.scale(params)[..., tf.newaxis]
        weight = flow[..., tf.newaxis, :] * 2 / (1 + tf.square(z))
        return {
            "count": tf.reduce_sum(flow, -1),
            "weight": tf.reduce_sum(weight, -1),
            "first": tf.reduce_sum(weight * x, -1),
            "second": tf.reduce_sum(weight * x * x, -1),  # a square might overflow
        }

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Weighted mean and weighted square deviation, moved by `step_size`.

        `pseudocount` examples distributed as the current component are added.
        """
        count = statistics["count"]
        step = tf.cast(step_size, count.dtype)
        scale = self.scale(params)
        weight = statistics["weight"] + pseudocount  # E[u] = 1 under the component
        shift = step * tf.math.divide_no_nan(statistics["first"], weight)
        total = tf.maximum(count, 1e-30)[..., tf.newaxis] + pseudocount

        def new_scale(location: Tensor) -> Tensor:
            moved = location - params["location"]
            square = (
                statistics["second"]
                - 2 * moved * statistics["first"]
                + tf.square(moved) * weight
                + pseudocount * tf.square(scale)
            )
            variance = tf.maximum(square / total, 0)
            return tf.sqrt(tf.square(scale) + step * (variance - tf.square(scale)))

        return self.updated(
            params, count, lambda: params["location"] + shift, new_scale
        )

    def accumulated_moments(
        self, x: Tensor, location: Tensor, scale: Tensor
    ) -> Moments:
        """``u``, ``u x``, ``1`` and ``u x^2``, ``u = 2 / (1 + z^2)``."""
        weight = 2 / (1 + tf.square((x - location) / scale))
        ones = tf.ones_like(weight)
        return Moments(weight, weight * x, ones, weight * x * x)

    def scale_of_moments(self, moments: Moments, location: Tensor) -> Tensor:
        """``sqrt(E u (x - location)^2)``."""
        mean_weight = quotient(moments.first_denom, moments.second_denom)
        second = quotient(moments.second_num, moments.second_denom)
        return safe_sqrt(second - tf.square(location) * mean_weight)

    def second_num_of_scale(
        self, scale: Tensor, location: Tensor, first_denom: Tensor, second_denom: Tensor
    ) -> Tensor:
        """Inverse of `scale_of_moments`."""
        return tf.square(scale) * second_denom + tf.square(location) * first_denom


def _log1p_square(distance: Tensor, scale: Tensor) -> Tensor:
    """``log(1 + (distance / scale)^2)``, also where the square overflows."""
    far = 1e9  # beyond, one is nothing beside the square
    distance = tf.abs(distance)
    near = tf.math.log1p(tf.square(tf.minimum(distance / scale, far)))
    return near + 2 * tf.math.log(tf.maximum(distance / (far * scale), 1))


def _nan(params: Params) -> Tensor:
    return tf.constant(np.nan, params["location"].dtype)
