"""Normal leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.exponential_family_leaf import ExponentialFamilyLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.location_scale_leaf import LocationScaleLeaf
from tfp_spn.ops.conditional import cond

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@register
class NormalLeaf(LocationScaleLeaf, ExponentialFamilyLeaf, ElementwiseLeaf):
    """Normal components with diagonal covariance.

        p(x | k) = prod_d Normal(x[d]; location[k, d], scale[k, d])

    Evaluated as one matrix product per region in ``[(x - c)^2, x - c]``, where ``c`` is
    the mean location of the slot's components. Where components lie so many scales
    apart that this would lose digits, the densities are evaluated one by one instead
    (the condition is checked at every evaluation).

    Args:
        num_components: Number of components per leaf slot.
        location_initializer: Initializer of locations ``[..., num_components, dims]``.
            Default: truncated normal of standard deviation 1.
        location_trainable: Whether locations are learned.
        scale_initializer: Initializer of scales. Default: ones.
        scale_trainable: Whether scales are learned. As in LibSPN-Keras, they are not
            by default.
        accumulator_initializer: Initializer of the accumulated counts: how many
            examples the initial location and scale are worth. Default: ones.
        use_accumulators: Whether to store accumulated moments in place of location and
            scale, for online EM, see `tfp_spn.layers.leaves.accumulators`.
        scale_constraint: A function of the scale, such as `tfp_spn.constraints.Clip`,
            applied wherever it is used.
        min_scale: Smallest possible scale: the variance floor is its square.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.NormalLeaf(num_components=4, scale_trainable=True)
        >>> leaf.compute_output_shape((None, 16, 1, 1))
        (None, 16, 1, 4)
    """

    def coefficients(self, params: Params) -> tuple[Tensor, Tensor]:
        """Of ``(x - c)^2`` and ``x - c``."""
        location = params["location"] - self._center(params)
        scale = self.scale(params)
        precision = 1.0 / tf.square(scale)
        linear = location * precision
        constant = -0.5 * location * linear - tf.math.log(scale) - _LOG_SQRT_2PI
        quadratic = -0.5 * precision + tf.zeros_like(linear)  # one may be batched alone
        coefficients = tf.concat([quadratic, linear], axis=-1)  # [..., L, K, 2D]
        return (
            tf.linalg.matrix_transpose(coefficients),
            tf.reduce_sum(constant, -1)[..., tf.newaxis, :],
        )

    def statistics(self, params: Params, x: Tensor) -> Tensor:
        """``(x - c)^2`` and ``x - c``."""
        x = x - tf.linalg.matrix_transpose(self._center(params))
        return tf.concat([tf.square(x), x], axis=-2)

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """The densities one by one."""
        scale = self.scale(params)[..., tf.newaxis]
        z = (x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]) / scale
        log_prob = -0.5 * tf.square(z) - tf.math.log(scale) - _LOG_SQRT_2PI
        return tf.reduce_sum(log_prob, axis=-2)

    def region_log_prob(
        self, params: Params, x: Tensor, observed: Tensor | None, layout: LeafLayout
    ) -> Tensor:
        """One matrix product where that is precise, else one by one."""
        params = {name: tf.convert_to_tensor(value) for name, value in params.items()}

        def by(family: type[BaseLeaf]) -> Callable[..., Tensor]:
            def evaluate(location: Tensor, scale: Tensor, x: Tensor) -> Tensor:
                params = {"location": location, "scale": scale}
                return family.region_log_prob(self, params, x, observed, layout)

            return evaluate

        return cond(
            self._is_well_conditioned(params),
            by(ExponentialFamilyLeaf),
            by(ElementwiseLeaf),
            [params["location"], params["scale"], x],
        )

    def _center(self, params: Params) -> Tensor:
        """``[..., L, 1, D]``; results do not depend on it, only their rounding."""
        return tf.stop_gradient(tf.reduce_mean(params["location"], -2, keepdims=True))

    def _is_well_conditioned(self, params: Params) -> Tensor:
        # x^2 / (2 scale^2) near a component is of the order of its squared distance
        # from the centre, and is rounded to eps relative.
        distance = (params["location"] - self._center(params)) / self.scale(params)
        eps = np.finfo(distance.dtype.as_numpy_dtype).eps
        return tf.reduce_max(tf.square(distance)) < 6e-6 / eps

    def standard_noise(self, shape: Tensor, seed: Tensor, dtype: Any) -> Tensor:
        """Standard normal draws."""
        return tf.random.stateless_normal(shape, seed, dtype=dtype)

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """``-log(scale sqrt(2 pi))``."""
        return -tf.reduce_sum(tf.math.log(self.scale(params)) + _LOG_SQRT_2PI, -1)

    def component_variance(self, params: Params) -> Tensor:
        """``scale^2``."""
        return tf.square(self.scale(params))

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """First and second moments about each component's own location."""
        arguments = (params, x, observed, flow, layout)
        return tf.cond(
            self._is_well_conditioned(params),
            lambda: self._moments_by_product(*arguments),
            lambda: self._moments_one_by_one(*arguments),
        )

    def _moments_by_product(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        about_center = ExponentialFamilyLeaf.expected_statistics(
            self, params, x, observed, flow, layout
        )
        second, first = tf.split(about_center["sums"], 2, axis=-1)
        count = about_center["count"]
        weight = count[..., tf.newaxis]
        offset = params["location"] - self._center(params)
        return {
            "count": count,
            "first": first - weight * offset,
            "second": second - 2 * offset * first + weight * tf.square(offset),
        }

    def _moments_one_by_one(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        flow = slot_flow(flow, observed, layout)
        x = x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]
        weighted = flow[..., tf.newaxis, :] * x
        return {
            "count": tf.reduce_sum(flow, -1),
            "first": tf.reduce_sum(weighted, -1),
            "second": tf.reduce_sum(weighted * x, -1),
        }

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the expectations of ``x`` and ``x^2`` by `step_size`.

        `pseudocount` examples distributed as the current component are added.
        """
        count = statistics["count"]
        total = tf.maximum(count, 1e-30)[..., tf.newaxis] + pseudocount
        step = tf.cast(step_size, total.dtype)
        old_square = tf.square(self.scale(params))
        shift = step * statistics["first"] / total
        square = (statistics["second"] + pseudocount * old_square) / total
        square = old_square + step * (square - old_square)

        def new_scale(location: Tensor) -> Tensor:
            moved = location - params["location"]
            variance = square - 2 * moved * shift + tf.square(moved)
            return tf.sqrt(tf.maximum(variance, 0))

        return self.updated(
            params, count, lambda: params["location"] + shift, new_scale
        )
