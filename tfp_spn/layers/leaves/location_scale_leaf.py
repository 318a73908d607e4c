"""Parameters shared by the families with a location and a scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_flag, a_rate, reads
from tfp_spn._keras_typing import ConstraintLike, InitializerLike, LayerOptions
from tfp_spn._serialization import constraint_of, initializer_of, serialize
from tfp_spn._typing import Config, DTypeLike, Params, Tensor
from tfp_spn.initializers.initial_values import initial_values
from tfp_spn.layers.leaves import accumulators
from tfp_spn.layers.leaves.base_leaf import BaseLeaf, ParameterSpec
from tfp_spn.layers.leaves.initial_parameters import LeafData


class LocationScaleLeaf(BaseLeaf):
    """Base of leaves over the real line with parameters `location` and `scale`.

    The scale is stored as ``softplus^-1(scale - min_scale)``, so that it is positive
    after any step of any optimizer.

    Args:
        num_components: Number of components per leaf slot.
        location_initializer: Initializer of locations ``[..., num_components, dims]``.
            Default: truncated normal of standard deviation 1.
        location_trainable: Whether locations are learned.
        scale_initializer: Initializer of scales. Default: ones.
        scale_trainable: Whether scales are learned.
        accumulator_initializer: Initializer of the accumulated counts: how many
            examples the initial location and scale are worth. Default: ones.
        use_accumulators: Whether to store accumulated moments in place of location and
            scale, which the rule of `OnlineExpectationMaximization` moves in any Keras
            model, see `tfp_spn.layers.leaves.accumulators`.
        scale_constraint: A function of the scale, such as a Keras constraint, applied
            wherever it is used.
        min_scale: Smallest possible scale, in units of the data: the floor that keeps
            a component from collapsing onto one value.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    @reads(
        location_trainable=a_flag(),
        scale_trainable=a_flag(),
        use_accumulators=a_flag(),
        min_scale=a_rate(least=0),
    )
    def __init__(
        self,
        num_components: int,
        location_initializer: InitializerLike = None,
        location_trainable: bool = True,
        scale_initializer: InitializerLike = None,
        scale_trainable: bool = False,
        accumulator_initializer: InitializerLike = None,
        use_accumulators: bool = False,
        scale_constraint: ConstraintLike = None,
        min_scale: float = 1e-3,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.location_initializer = initializer_of(
            self, "location_initializer", location_initializer
        ) or keras.initializers.TruncatedNormal(stddev=1.0)
        self.location_trainable = location_trainable
        self.scale_initializer = (
            initializer_of(self, "scale_initializer", scale_initializer)
            or keras.initializers.Ones()
        )
        self.scale_trainable = scale_trainable
        self.accumulator_initializer = (
            initializer_of(self, "accumulator_initializer", accumulator_initializer)
            or keras.initializers.Ones()
        )
        self.use_accumulators = use_accumulators
        self.scale_constraint = constraint_of(
            self, "scale_constraint", scale_constraint
        )
        self.min_scale = min_scale

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """`location` and `scale` (before softplus), ``[K, D]`` each."""
        if self.use_accumulators:
            return accumulators.parameter_specs(self, num_dims)
        shape = (self.num_components, num_dims)

        def raw_scale(shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
            scale = initial_values(
                self.label, "scale", self.scale_initializer, shape, dtype, axis=-2
            )
            return self.inverse_scale(scale)

        return {
            "location": ParameterSpec(
                shape, self.location_initializer, self.location_trainable
            ),
            "scale": ParameterSpec(shape, raw_scale, self.scale_trainable),
        }

    def slot_ndims(self, name: str) -> int:
        """2: all are ``[K, D]``, accumulators too."""
        return 2

    def add_parameters(self, slots: tuple[int, ...], num_dims: int) -> None:
        """Creates the variables, with leading axes `slots`."""
        super().add_parameters(slots, num_dims)
        for name in accumulators.NAMES:
            if name in self.parameters:
                self.parameters[name].is_em_accumulator = True
                self.parameters[name].is_em_moment = True

    def canonical(self, params: Params) -> Params:
        """`location` and `scale`, of accumulators too (see `BaseLeaf.canonical`)."""
        canonical = super().canonical(params)
        if self.use_accumulators:
            return accumulators.to_location_and_scale(self, canonical)
        return canonical

    def stored(self, params: Params, location: Tensor, raw_scale: Tensor) -> Params:
        """The parameters as they are stored, for a new location and scale.

        Args:
            params: Canonical parameters that the new ones replace.
            location: New locations.
            raw_scale: New scales before softplus.
        """
        new = {"location": location, "scale": raw_scale}
        if self.use_accumulators:
            return accumulators.from_location_and_scale(self, params, new)
        return new

    def call(self, x: Tensor) -> Tensor:
        """Component log-probabilities; accumulators receive moments as gradients."""
        if self.use_accumulators:
            return accumulators.log_prob_with_moments(self, x)
        return super().call(x)

    def scale(self, params: Params) -> Tensor:
        """The positive scale, ``[..., L, K, D]``."""
        scale = self.min_scale + tf.math.softplus(params["scale"])
        return scale if self.scale_constraint is None else self.scale_constraint(scale)

    def location_and_scale(self, params: Params) -> tuple[Tensor, Tensor]:
        """The parameters of these names, also of families without moments."""
        return params["location"], self.scale(params)

    def fixed_scale(self, params: Params) -> Tensor | None:
        """The scale, unless it is trainable."""
        return None if self.scale_trainable else self.scale(params)

    # --- online EM by accumulators, see `accumulators` ----------------------------

    def accumulated_moments(
        self, x: Tensor, location: Tensor, scale: Tensor
    ) -> accumulators.Moments:
        """Returns what one example adds to the accumulators; here those of a Normal.

        Args:
            x: ``[batch, scopes, decomps, 1, D]``.
            location: ``[1, scopes, decomps, K, D]``.
            scale: Of the same shape.
        """
        x = x + tf.zeros_like(location)
        ones = tf.ones_like(x)
        return accumulators.Moments(ones, x, ones, tf.square(x))

    def scale_of_moments(
        self, moments: accumulators.Moments, location: Tensor
    ) -> Tensor:
        """The scale that accumulators stand for."""
        second = accumulators.quotient(moments.second_num, moments.second_denom)
        return accumulators.safe_sqrt(second - tf.square(location))

    def second_num_of_scale(
        self, scale: Tensor, location: Tensor, first_denom: Tensor, second_denom: Tensor
    ) -> Tensor:
        """The second-order numerator that stands for a scale."""
        return (tf.square(scale) + tf.square(location)) * second_denom

    def inverse_scale(self, scale: Tensor) -> Tensor:
        """Scales as they are stored."""
        scale = tf.convert_to_tensor(scale)
        # No floor of its own: within min_scale's, or where a square would vanish.
        tiny = float(np.finfo(scale.dtype.as_numpy_dtype).tiny)
        least = max(1e-3 * self.min_scale, 2 * math.sqrt(tiny))
        excess = tf.maximum(scale - self.min_scale, least)
        return excess + tf.math.log(-tf.math.expm1(-excess))

    def component_tables(self, params: Params) -> Params:
        """`location` and `scale`."""
        location = tf.convert_to_tensor(params["location"])
        return {
            "location": location[..., tf.newaxis],
            "scale": self.scale(params)[..., tf.newaxis],
        }

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """``location + scale * noise``."""
        location, scale = rows["location"][..., 0], rows["scale"][..., 0]
        noise = self.standard_noise(tf.shape(location), seed, location.dtype)
        return location + scale * noise

    def standard_noise(self, shape: Tensor, seed: Tensor, dtype: object) -> Tensor:
        """Draws from the family with location 0 and scale 1."""
        raise NotImplementedError

    def component_mode(self, params: Params) -> Tensor:
        """The location."""
        return tf.convert_to_tensor(params["location"])

    def component_mean(self, params: Params) -> Tensor:
        """The location."""
        return tf.convert_to_tensor(params["location"])

    def initial_parameters(self, data: LeafData) -> Params:
        """Each component at its example, as wide as the cluster of that."""
        new: Params = {}
        if self.location_trainable:
            new["location"] = data.location
        if self.scale_trainable:
            scale = tf.constant(data.scale, self.compute_dtype)
            new["scale"] = self.inverse_scale(scale)
        if not self.use_accumulators:
            return new
        old = self.canonical(self.live_params())
        values = {k: tf.cast(new.get(k, old[k]), old[k].dtype) for k in old}
        return self.stored(old, values["location"], values["scale"])

    def updated(
        self,
        params: Params,
        count: Tensor,
        location: Callable[[], Tensor],
        scale: Callable[[Tensor], Tensor],
    ) -> Params:
        """Parameters after a step, where `count` is positive and they are trainable.

        Args:
            params: Old parameters.
            count: ``[L, K]``.
            location: Gives the new location.
            scale: Gives the new scale for a location.
        """
        received = count[..., tf.newaxis] > 0
        new_location = tf.convert_to_tensor(params["location"])
        if self.location_trainable:
            new_location = tf.where(received, location(), new_location)
        raw_scale = tf.convert_to_tensor(params["scale"])
        if self.scale_trainable:
            new_scale = self.inverse_scale(scale(new_location))
            raw_scale = tf.where(received, new_scale, raw_scale)
        return self.stored(params, new_location, raw_scale)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "location_initializer": serialize(self.location_initializer),
            "location_trainable": self.location_trainable,
            "scale_initializer": serialize(self.scale_initializer),
            "scale_trainable": self.scale_trainable,
            "accumulator_initializer": serialize(self.accumulator_initializer),
            "use_accumulators": self.use_accumulators,
            "scale_constraint": serialize(self.scale_constraint),
            "min_scale": self.min_scale,
        }


class ReorderedLocationScaleLeaf(LocationScaleLeaf):
    """A `LocationScaleLeaf` with the order of arguments of LibSPN-Keras.

    There `CauchyLeaf` and `LaplaceLeaf` take `scale_trainable` last.
    """

    def __init__(
        self,
        num_components: int,
        location_initializer: InitializerLike = None,
        location_trainable: bool = True,
        scale_initializer: InitializerLike = None,
        accumulator_initializer: InitializerLike = None,
        use_accumulators: bool = False,
        scale_trainable: bool = False,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            num_components,
            location_initializer,
            location_trainable,
            scale_initializer,
            scale_trainable,
            accumulator_initializer,
            use_accumulators,
            **kwargs,
        )
