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
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf
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
        coefficients = tf.concat([-0.5 * precision, linear], axis=-1)  # [.., L, K, 2D]
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

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the expectations of ``x`` and ``x^2`` by `step_size`.

        `pseudocount` examples distributed as the current component are added.
        """
        count = statistics["count"]
        second, first = tf.split(statistics["sums"], 2, axis=-1)
        center = self._center(params)
        old_first = params["location"] - center
        old_second = tf.square(self.scale(params)) + tf.square(old_first)
        total = tf.maximum(count, 1e-30)[..., tf.newaxis] + pseudocount
        step = tf.cast(step_size, total.dtype)

        def moved(old: Tensor, sums: Tensor) -> Tensor:
            return old + step * ((sums + pseudocount * old) / total - old)

        mean, mean_square = moved(old_first, first), moved(old_second, second)

        def new_scale(location: Tensor) -> Tensor:
            offset = location - center
            variance = mean_square - 2 * offset * mean + tf.square(offset)
            return tf.sqrt(tf.maximum(variance, 0))

        return self.updated(params, count, lambda: mean + center, new_scale)
