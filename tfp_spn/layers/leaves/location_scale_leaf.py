"""Parameters shared by the families with a location and a scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_spn._serialization import deserialize, serialize
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf, ParameterSpec


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
        min_scale: Smallest possible scale, in units of the data: the floor that keeps
            a component from collapsing onto one value.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_components: int,
        location_initializer: Any = None,
        location_trainable: bool = True,
        scale_initializer: Any = None,
        scale_trainable: bool = False,
        min_scale: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_components, **kwargs)
        if min_scale < 0:
            raise ValueError(
                f"{type(self).__name__}: min_scale must not be negative, received "
                f"min_scale={min_scale}."
            )
        self.location_initializer = keras.initializers.get(
            deserialize(location_initializer)
            or keras.initializers.TruncatedNormal(stddev=1.0)
        )
        self.location_trainable = bool(location_trainable)
        self.scale_initializer = keras.initializers.get(
            deserialize(scale_initializer) or "ones"
        )
        self.scale_trainable = bool(scale_trainable)
        self.min_scale = float(min_scale)

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """`location` and `scale` (before softplus), ``[K, D]`` each."""
        shape = (self.num_components, num_dims)

        def raw_scale(shape: Any, dtype: Any = None) -> Tensor:
            return self._inverse_scale(self.scale_initializer(shape, dtype=dtype))

        return {
            "location": ParameterSpec(
                shape, self.location_initializer, self.location_trainable
            ),
            "scale": ParameterSpec(shape, raw_scale, self.scale_trainable),
        }

    def scale(self, params: Params) -> Tensor:
        """The positive scale, ``[..., L, K, D]``."""
        return self.min_scale + tf.math.softplus(params["scale"])

    def _inverse_scale(self, scale: Tensor) -> Tensor:
        excess = tf.maximum(
            tf.convert_to_tensor(scale) - self.min_scale, 1e-6 * (1 + self.min_scale)
        )
        return excess + tf.math.log(-tf.math.expm1(-excess))

    def log_base(self, x: Tensor) -> Tensor:
        """0, or ``-inf`` for NaN and infinities."""
        valid = tf.reduce_all(tf.math.is_finite(x), axis=-2)
        return tf.where(valid, tf.zeros([], x.dtype), -float("inf"))

    def safe_value(self, x: Tensor) -> Tensor:
        """Zero in place of NaN and infinities."""
        return tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))

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

    def standard_noise(self, shape: Tensor, seed: Tensor, dtype: Any) -> Tensor:
        """Draws from the family with location 0 and scale 1."""
        raise NotImplementedError

    def component_mode(self, params: Params) -> Tensor:
        """The location."""
        return tf.convert_to_tensor(params["location"])

    def component_mean(self, params: Params) -> Tensor:
        """The location."""
        return tf.convert_to_tensor(params["location"])

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
            new_scale = self._inverse_scale(scale(new_location))
            raw_scale = tf.where(received, new_scale, raw_scale)
        return {"location": new_location, "scale": raw_scale}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "location_initializer": serialize(self.location_initializer),
            "location_trainable": self.location_trainable,
            "scale_initializer": serialize(self.scale_initializer),
            "scale_trainable": self.scale_trainable,
            "min_scale": self.min_scale,
        }
