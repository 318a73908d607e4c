"""Indicator leaves."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._serialization import register
from tfp_spn._typing import DTypeLike, Params, Tensor
from tfp_spn.layers.default_dtype import default_dtype
from tfp_spn.layers.leaves.base_leaf import ParameterSpec
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.support import Support, integers_up_to


@register
class IndicatorLeaf(ElementwiseLeaf):
    """One component per value of an integer variable, without parameters.

        log p(x | k) = 0 if x == k else -inf

    The distribution of the variable lies in the sum above it. A value out of range
    makes all components ``-inf``.

    Args:
        num_components: Number of values, from 0 to ``num_components - 1``.
        dtype: Dtype of the log-probabilities. An integer dtype, which LibSPN-Keras
            expects here for the input, is accepted and means float32: inputs of any
            dtype are compared by value.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``, integers (or floats that hold integers).

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import numpy as np, tfp_spn
        >>> leaf = tfp_spn.layers.IndicatorLeaf(num_components=3)
        >>> leaf(np.array([[[[2]]]])).numpy().tolist()
        [[[[-inf, -inf, 0.0]]]]
    """

    is_discrete = True
    looks_up_values = True
    can_overflow = False

    def __init__(
        self, num_components: int, dtype: DTypeLike = None, **kwargs: Any
    ) -> None:
        if isinstance(dtype, str | tf.DType) and tf.as_dtype(dtype).is_integer:
            dtype = None
        super().__init__(num_components, dtype=dtype or default_dtype(), **kwargs)

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """None."""
        return {}

    @property
    def value_support(self) -> Support:
        """One integer for each component."""
        return integers_up_to(self.num_components - 1)

    def safe_value(self, x: Tensor) -> Tensor:
        """Returns `x`: comparing any value is harmless."""
        return x

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """0 where the value is the component's own."""
        own = tf.range(self.num_components, dtype=x.dtype)[:, tf.newaxis, tf.newaxis]
        equal = tf.reduce_all(x[..., tf.newaxis, :, :] == own, axis=-2)
        return tf.where(equal, tf.zeros([], x.dtype), -float("inf"))

    def _values(self, params: Params) -> Tensor:
        values = tf.range(self.num_components, dtype=tf.as_dtype(self.compute_dtype))
        values = values[tf.newaxis, :, tf.newaxis]
        return tf.tile(values, [self.num_slots, 1, self.num_dims])

    def component_tables(self, params: Params) -> Params:
        """`value`."""
        return {"value": self._values(params)[..., tf.newaxis]}

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """The component's value."""
        return rows["value"][..., 0]

    def component_mode(self, params: Params) -> Tensor:
        """The component's value."""
        return self._values(params)

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """Zero."""
        return tf.zeros_like(self._values(params)[..., 0])

    def component_mean(self, params: Params) -> Tensor:
        """The component's value."""
        return self._values(params)

    def component_variance(self, params: Params) -> Tensor:
        """Zero."""
        return tf.zeros_like(self._values(params))

    def value_probs(self, params: Params) -> Tensor:
        """All of the component's own value."""
        values = tf.cast(self._values(params), tf.int32)
        return tf.one_hot(values, self.num_components, dtype=self.compute_dtype)

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """Returns nothing, for nothing is learned."""
        return {}

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Returns nothing, for nothing is learned."""
        return {}
