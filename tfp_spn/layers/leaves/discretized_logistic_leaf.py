"""Leaves of a logistic distribution that is rounded to integers."""

from __future__ import annotations

import math
from typing import Any, Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_rate, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import initializer_of, register, serialize
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.base_leaf import ParameterSpec
from tfp_spn.layers.leaves.finite_leaf import FiniteLeaf
from tfp_spn.layers.leaves.grouped_logistic import Logistic, maximized
from tfp_spn.layers.leaves.initial_parameters import LeafData
from tfp_spn.ops.log_space import log1mexp
from tfp_spn.ops.long_sums import long_sum

_MIN_LOCATION, _MAX_LOCATION = -1.0, 2.0
_MAX_SCALE = 10.0
"""How far an M-step goes, in ranges: from where the ends have all probability."""


@register
class DiscretizedLogisticLeaf(FiniteLeaf):
    """Logistic components, rounded to integers from 0 to ``num_categories - 1``.

        p(x | k) = sigmoid((x + 1/2 - m) / s) - sigmoid((x - 1/2 - m) / s)

    where the lower term is 0 at the least value and the upper one 1 at the greatest, so
    that what lies beyond falls to the ends [1]. Two numbers in place of the
    ``num_categories - 1`` of a `CategoricalLeaf`: for grey values and colours, of which
    a pixel has seen only some.

    Locations and scales are stored in ranges, ``m = location (num_categories - 1)`` and
    ``s`` likewise, so that one learning rate does for any number of categories.

    The M-step of EM is several steps of Newton's method in the location and in the
    scale by turns, each taken only as far as the likelihood rises, which is concave in
    ``1 / s`` and ``m / s``.

    Args:
        num_components: Number of components per leaf slot.
        num_categories: Number of values.
        location_initializer: Initializer of locations ``[..., num_components, dims]``.
            Default: uniform from 0 to 1.
        scale_initializer: Initializer of scales. Default: 0.1.
        min_scale: Smallest possible scale, in steps from one value to the next.
        **kwargs: Passed on to `keras.layers.Layer`.

    Raises:
        ValueError: A count is below one, or `min_scale` not positive.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.DiscretizedLogisticLeaf(
        ...     num_components=4, num_categories=256)

    References:
        [1]: Salimans et al. PixelCNN++: Improving the PixelCNN with discretized
            logistic mixture likelihood and other modifications. ICLR, 2017.
    """

    @reads(min_scale=a_rate(above=0))
    def __init__(
        self,
        num_components: int,
        num_categories: int,
        location_initializer: object = None,
        scale_initializer: object = None,
        min_scale: float = 0.05,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, num_categories, **kwargs)
        self.location_initializer = initializer_of(
            self, "location_initializer", location_initializer
        ) or keras.initializers.RandomUniform(0.0, 1.0)
        self.scale_initializer = initializer_of(
            self, "scale_initializer", scale_initializer
        ) or keras.initializers.Constant(0.1)
        self.min_scale = min_scale

    @property
    def value_range(self) -> float:
        """From the least to the greatest value."""
        return float(max(self.num_categories - 1, 1))

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """`location` and `scale` (before softplus), ``[K, D]`` each."""
        shape = (self.num_components, num_dims)

        def raw_scale(shape: object, dtype: object = None) -> Tensor:
            return self.raw_scale(self.scale_initializer(shape, dtype=dtype))

        return {
            "location": ParameterSpec(shape, self.location_initializer),
            "scale": ParameterSpec(shape, raw_scale),
        }

    def raw_scale(self, scale: Any) -> Tensor:
        """What is stored for a scale, in ranges."""
        scale = tf.cast(scale, self.compute_dtype) - self.min_scale / self.value_range
        tiny = np.finfo(self.compute_dtype).eps / self.value_range
        scale = tf.maximum(scale, tiny)
        return scale + tf.math.log(-tf.math.expm1(-scale))

    def _logistic(self, params: Params) -> Logistic:
        """Of the values themselves, ``[..., L, K, D]``."""
        scale = tf.math.softplus(tf.convert_to_tensor(params["scale"]))
        return Logistic(
            tf.convert_to_tensor(params["location"]) * self.value_range,
            1 / (scale * self.value_range + self.min_scale),
        )

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Sum over the dimensions."""
        return long_sum(self._log_probs(params, x[..., tf.newaxis, :, :]), axis=-2)

    def _log_probs(self, params: Params, x: Tensor) -> Tensor:
        """``[..., L, K, D, N]`` of values ``[..., L or 1, 1, D or 1, N]``.

        With ``u, v = (x + 1/2 - m) / s, (x - 1/2 - m) / s`` the difference is
        ``sigmoid(u) sigmoid(-v) (1 - exp(-1 / s))``, which has all digits in the tails.
        """
        logistic = self._logistic(params)
        steepness = logistic.steepness[..., tf.newaxis]
        distance = x - logistic.location[..., tf.newaxis]
        below = tf.math.log_sigmoid((distance + 0.5) * steepness)
        above = tf.math.log_sigmoid((0.5 - distance) * steepness)
        not_last, not_first = x < self.num_categories - 1, x > 0
        zero = tf.zeros([], x.dtype)
        return (
            tf.where(not_last, below, zero)
            + tf.where(not_first, above, zero)
            + tf.where(not_last & not_first, log1mexp(-steepness), zero)
        )

    def component_tables(self, params: Params) -> Params:
        """`log_probs`, ``[..., L, K, D, G]``."""
        return {"log_probs": self._log_probs(params, self._categories())}

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Location and scale that make the counts more probable, moved by `step_size`.

        `pseudocount` examples distributed as the current component are added.
        """
        counts = tf.einsum("ldck->lkdc", statistics["sums"])
        counts += pseudocount * self.value_probs(params)
        old, size = self._logistic(params), self.value_range
        new = maximized(
            old,
            counts,
            (_MIN_LOCATION * size, _MAX_LOCATION * size),
            (1 / (_MAX_SCALE * size), 1 / (1.001 * self.min_scale)),
        ).seen_from(old, tf.cast(step_size, counts.dtype))
        received = statistics["count"][..., tf.newaxis] > 0
        raw_scale = self.raw_scale(1 / (new.steepness * size))
        return {
            "location": tf.where(received, new.location / size, params["location"]),
            "scale": tf.where(received, raw_scale, params["scale"]),
        }

    def initial_parameters(self, data: LeafData) -> Params:
        """Each component at its example, as wide as the cluster of that."""
        # Of standard deviation pi / sqrt(3), and at least as wide as what is rounded.
        scale = np.maximum(data.scale * math.sqrt(3) / math.pi, 0.5) / self.value_range
        location = data.location / self.value_range
        return {"location": location, "scale": self.raw_scale(scale)}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "location_initializer": serialize(self.location_initializer),
            "scale_initializer": serialize(self.scale_initializer),
            "min_scale": self.min_scale,
        }
