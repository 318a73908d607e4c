"""Normal leaves."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._serialization import register
from tfp_spn._typing import DTypeLike, Params, Tensor
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slots_in_turn
from tfp_spn.layers.leaves.exponential_family_leaf import ExponentialFamilyLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.location_scale_leaf import LocationScaleLeaf
from tfp_spn.ops.conditional import Sources, with_fallback
from tfp_spn.ops.long_sums import long_sum

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@register
class NormalLeaf(LocationScaleLeaf, ExponentialFamilyLeaf, ElementwiseLeaf):
    """Normal components with diagonal covariance.

        p(x | k) = prod_d Normal(x[d]; location[k, d], scale[k, d])

    Evaluated as one matrix product per region in ``[(x - c)^2, x - c]``, where ``c`` is
    the mean location of all components of the variable. Where components lie so many
    scales apart that this would lose digits, or a square overflows, the densities are
    evaluated one by one instead (the condition is checked at every evaluation).

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

    def coefficients(self, params: Params, layout: LeafLayout) -> tuple[Tensor, Tensor]:
        """Returns the coefficients of ``(x - c)^2`` and ``x - c``."""
        location = self._distance_from_center(params, layout)
        location = tf.linalg.matrix_transpose(location)  # [..., L, D, K]
        scale = tf.linalg.matrix_transpose(self.scale(params))
        precision = tf.math.reciprocal(tf.square(scale))
        linear = location * precision
        constant = -0.5 * location * linear - tf.math.log(scale) - _LOG_SQRT_2PI
        quadratic = -0.5 * precision + tf.zeros_like(linear)  # one may be batched alone
        return (
            tf.concat([quadratic, linear], axis=-2),
            long_sum(constant, -2)[..., tf.newaxis, :],
        )

    def statistics(self, params: Params, x: Tensor, layout: LeafLayout) -> Tensor:
        """``(x - c)^2`` and ``x - c``."""
        x = x - tf.linalg.matrix_transpose(self._center(params, layout))
        return tf.concat([tf.square(x), x], axis=-2)

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """The densities one by one."""
        scale = self.scale(params)[..., tf.newaxis]
        distance = x[..., tf.newaxis, :, :] - params["location"][..., tf.newaxis]
        half_square = tf.square(distance / (math.sqrt(2) * scale))
        return long_sum(-half_square - tf.math.log(scale) - _LOG_SQRT_2PI, axis=-2)

    def region_log_prob(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """One matrix product where that is precise, else one by one."""
        params = {name: tf.convert_to_tensor(value) for name, value in params.items()}
        if layout.width == 1 and layout.num_dims == 1:
            # A matrix product of two statistics saves nothing, and needs a fallback.
            return ElementwiseLeaf.region_log_prob(
                self, params, x, observed, layout, hidden
            )
        nothing = tf.zeros([], x.dtype)

        def by_product(sources: Sources) -> tuple[Tensor, Tensor, Tensor]:
            params, x = _from_sources(sources)
            value = ExponentialFamilyLeaf.region_log_prob(
                self, params, x, observed, layout, hidden
            )
            # A square that overflows is one of all components, -inf or NaN.
            is_finite = tf.reduce_all(value[..., :1, :] > -math.inf)
            return (
                value,
                nothing,
                ~(self._is_well_conditioned(params, layout) & is_finite),
            )

        def one_by_one(sources: Sources) -> tuple[Tensor, Tensor]:
            params, x = _from_sources(sources)
            x = self._within_reach(params, x)
            value = self.region_log_prob_in_turn(params, x, observed, layout, hidden)
            return value, nothing

        sources = [[params["location"], params["scale"]], [x]]
        return with_fallback(by_product, one_by_one, sources)[0]

    def _center(self, params: Params, layout: LeafLayout) -> Tensor:
        """``[..., V, 1, D]``; results do not depend on it, only their rounding."""
        location = tf.stop_gradient(params["location"])
        return layout.mean_over_slots(tf.reduce_mean(location, -2, keepdims=True))

    def _distance_from_center(self, params: Params, layout: LeafLayout) -> Tensor:
        center = layout.gather_variables(self._center(params, layout), axis=-3)
        return params["location"] - center

    def _is_well_conditioned(self, params: Params, layout: LeafLayout) -> Tensor:
        # x^2 / (2 scale^2) near a component is of the order of its squared distance
        # from the centre, and is rounded to eps relative.
        distance = self._distance_from_center(params, layout) / self.scale(params)
        eps = np.finfo(distance.dtype.as_numpy_dtype).eps
        return tf.reduce_max(tf.square(distance)) < 6e-6 / eps

    def component_distribution(self, rows: Params) -> Distribution:
        """Returns components as a batch of `tfd.Normal`."""
        return family_named("Normal")(rows["location"][..., 0], rows["scale"][..., 0])

    def _within_reach(self, params: Params, x: Tensor) -> Tensor:
        """`x`, nearer where it is impossible under every component, and still so.

        Else zero flows times infinite derivatives would be NaN.
        """
        reach = 2 * np.finfo(x.dtype.as_numpy_dtype).max ** 0.5  # its square overflows
        scale = tf.reduce_max(tf.stop_gradient(self.scale(params)))
        location = tf.reduce_max(tf.abs(tf.stop_gradient(params["location"])))
        farthest = reach * math.sqrt(2) * scale + location
        return tf.clip_by_value(self.safe_value(x), -farthest, farthest)

    def _has_finite_squares(
        self, params: Params, x: Tensor, observed: Tensor | None, layout: LeafLayout
    ) -> Tensor:
        x = self.safe_value(x)
        if observed is not None:
            x = tf.where(observed[..., tf.newaxis, :], x, tf.zeros_like(x))
        values = (x, self._center(params, layout))
        largest = tf.maximum(*(tf.reduce_max(tf.abs(value)) for value in values))
        return largest < np.finfo(x.dtype.as_numpy_dtype).max ** 0.5 / 4

    def standard_noise(self, shape: Tensor, seed: Tensor, dtype: DTypeLike) -> Tensor:
        """Standard normal draws."""
        return tf.random.stateless_normal(shape, seed, dtype=dtype, alg="philox")

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
            self._is_well_conditioned(params, layout)
            & self._has_finite_squares(params, x, observed, layout),
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
        second, first = tf.split(about_center["sums"], 2, axis=-2)
        second = tf.linalg.matrix_transpose(second)  # [L, K, D]
        first = tf.linalg.matrix_transpose(first)
        count = about_center["count"]
        weight = count[..., tf.newaxis]
        offset = self._distance_from_center(params, layout)
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
        x = self.safe_value(x)

        def slot(number: Tensor) -> Params:
            slots = slots_in_turn(layout, number)
            x_slot = tf.gather(x, slots.variable)  # [R, D, N]
            received = flow
            if observed is not None:
                mask = tf.gather(observed, slots.variable)[:, tf.newaxis]
                received = tf.where(mask, flow, tf.zeros_like(flow))
            location = self.slot_params(params, slots)["location"]
            distance = x_slot[:, tf.newaxis] - location[..., tf.newaxis]
            weighted = received[:, :, tf.newaxis] * distance
            return {
                "count": tf.reduce_sum(received, -1),
                "first": tf.reduce_sum(weighted, -1),
                "second": tf.reduce_sum(weighted * distance, -1),
            }

        dtypes = dict.fromkeys(("count", "first", "second"), x.dtype)
        by_turn = tf.map_fn(
            slot, tf.range(layout.width), fn_output_signature=dtypes
        )  # [W, R, ...]
        return {
            name: layout.from_turns(value, len(value.shape) - 2)
            for name, value in by_turn.items()
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


def _from_sources(sources: Sources) -> tuple[Params, Tensor]:
    [location, scale], [x] = sources
    return {"location": location, "scale": scale}, x
