"""Every pair of a component and an example as a leaf slot of its own.

A parameter's gradient is a sum over examples, a value's one over components. Apart from
each other, one that is not finite leaves the others alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import sum_to_shape_of


@dataclass(frozen=True, eq=False)
class ExamplesApart:
    """``[..., L, K, N]`` as ``M`` slots of one component and one example.

    Attributes:
        of_components: What flows into all components, ``[..., L, K, N]``.
    """

    of_components: Tensor

    @property
    def flow(self) -> Tensor:
        """``[M, 1, 1]``."""
        return tf.reshape(self.of_components, [-1, 1, 1])

    def finite(self, flow: Tensor) -> Tensor:
        """Derivatives ``[M, ...]`` with zero for those that are not finite.

        What has no finite flow to begin with is kept: that is another's fault.
        """
        received = tf.reshape(self.of_components, [-1, *[1] * (flow.shape.rank - 1)])
        kept = tf.math.is_finite(flow) | ~tf.math.is_finite(received)
        return tf.where(kept, flow, tf.zeros_like(flow))

    def parameter(self, value: Tensor, ndims: int) -> Tensor:
        """``[..., L, K, *]`` to ``[M, 1, *]``; what components share to ``[M, *]``.

        `ndims` is the rank of one slot's parameter.
        """
        own, event = self._axes(value, ndims)
        place = value.shape.rank - len(event)
        value = tf.expand_dims(value, place)  # the examples
        if not own:
            value = tf.expand_dims(value, place)
        shape = tf.concat([tf.shape(self.of_components), event], 0)
        return tf.reshape(tf.broadcast_to(value, shape), [-1, *own, *event])

    def sum_of_parameter(self, flow: Tensor, like: Tensor, ndims: int) -> Tensor:
        """What flows into `parameter` to what flows into its argument `like`."""
        own, event = self._axes(like, ndims)
        flow = tf.reshape(flow, tf.concat([tf.shape(self.of_components), event], 0))
        example = self.of_components.shape.rank - 1
        axes = [example] if own else [example - 1, example]
        return sum_to_shape_of(tf.reduce_sum(flow, axes), like)

    def values(self, x: Tensor) -> Tensor:
        """``[..., L, D, N]`` to ``[M, D, 1]``."""
        num_dims = x.shape[-2]
        x = tf.linalg.matrix_transpose(x)[..., tf.newaxis, :, :]
        shape = tf.concat([tf.shape(self.of_components), [num_dims]], 0)
        return tf.reshape(tf.broadcast_to(x, shape), [-1, num_dims, 1])

    def sum_of_values(self, flow: Tensor, like: Tensor) -> Tensor:
        """What flows into `values` to what flows into its argument `like`."""
        shape = tf.concat([tf.shape(self.of_components), [like.shape[-2]]], 0)
        flow = tf.reduce_sum(tf.reshape(flow, shape), axis=-3)
        return sum_to_shape_of(tf.linalg.matrix_transpose(flow), like)

    def _axes(self, value: Tensor, ndims: int) -> tuple[list[int], list[int]]:
        """The component's axis, if a parameter has one, and those behind it."""
        shape = value.shape.as_list()[value.shape.rank - ndims :]
        has_own = shape[:1] == [self.of_components.shape[-2]]
        return ([1], shape[1:]) if has_own else ([], shape)
