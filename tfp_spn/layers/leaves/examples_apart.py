"""Gradients taken for each component and example apart.

A parameter's gradient is a sum over examples, a value's is one over components. Apart
from each other, one that is not finite leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import move_axis
from tfp_spn.ops.conditional import pullback
from tfp_spn.ops.log_space import is_finite, sum_to_shape_of


def finite_flows(
    log_prob: Callable[..., Tensor],
    flow: Tensor,
    x: Tensor,
    params: Sequence[Tensor],
    ndims: Sequence[int],
) -> list[Tensor]:
    """Vector-Jacobian products of a leaf's density; those not finite count as zero.

    One component after another, in little memory: XLA sets aside what a branch needs
    even if it is never taken.

    Args:
        log_prob: A function of values ``[..., L, D, N]`` and parameters that returns
            ``[..., L, K, N]``, for any number of slots, components and examples.
        flow: What flows into its result.
        x: The values.
        params: The parameters, ``[..., L, K, *]``, or ``[..., L, *]`` where components
            share one.
        ndims: Rank of one slot's parameter, of each.

    Returns:
        What flows into `x` and into each parameter.
    """
    num_components = flow.shape[-2]
    has_own = [
        ndim > 0 and value.shape[-ndim] == num_components
        for value, ndim in zip(params, ndims, strict=True)
    ]

    def of_component(number: Tensor) -> list[Tensor]:
        own = [
            tf.gather(value, number, axis=-ndim) if is_own else value
            for value, ndim, is_own in zip(params, ndims, has_own, strict=True)
        ]
        tails = [n - is_own for n, is_own in zip(ndims, has_own, strict=True)]
        apart = _ExamplesApart(tf.gather(flow, number, axis=-2))

        def alone(x: Tensor, *params: Tensor) -> Tensor:
            return log_prob(
                x,
                *(
                    tf.expand_dims(value, 1) if is_own else value
                    for value, is_own in zip(params, has_own, strict=True)
                ),
            )

        sources = [apart.values(x), *map(apart.parameter, own, tails)]
        d_x, *d_own = pullback(alone, sources, apart.flow[:, tf.newaxis, tf.newaxis])
        return [
            apart.sum_of_values(d_x, x),
            *map(apart.sum_of_parameter, d_own, own, tails),
        ]

    by_component = tf.map_fn(
        of_component,
        tf.range(num_components),
        fn_output_signature=[value.dtype for value in (x, *params)],
    )
    result = [tf.ensure_shape(tf.reduce_sum(by_component[0], 0), x.shape)]
    for flows, value, ndim, is_own in zip(
        by_component[1:], params, ndims, has_own, strict=True
    ):
        if is_own:  # the components go back to their axis
            rank = value.shape.rank
            flows = tf.ensure_shape(flows, [None] * rank)
            flows = move_axis(flows, 0, rank - ndim)
        else:
            flows = tf.reduce_sum(flows, 0)
        result.append(tf.ensure_shape(flows, value.shape))
    return result


@dataclass(frozen=True, eq=False)
class _ExamplesApart:
    """Each example of each slot of one component as one of ``L'`` slots.

    Attributes:
        received: What flows into the component, ``[..., L, N]``.
    """

    received: Tensor

    @property
    def flow(self) -> Tensor:
        """``[L']``."""
        return tf.reshape(self.received, [-1])

    def parameter(self, value: Tensor, ndims: int) -> Tensor:
        """``[..., L, *]`` to ``[L', *]``, where `ndims` is the rank of ``*``."""
        tail = value.shape[value.shape.rank - ndims :].as_list()
        value = tf.expand_dims(value, value.shape.rank - ndims)
        shape = tf.concat([tf.shape(self.received), tail], 0)
        return tf.reshape(tf.broadcast_to(value, shape), [-1, *tail])

    def sum_of_parameter(self, flow: Tensor, like: Tensor, ndims: int) -> Tensor:
        """Sums the flow into `parameter` to the shape of the flow into `like`."""
        tail = like.shape[like.shape.rank - ndims :].as_list()
        shape = tf.concat([tf.shape(self.received), tail], 0)
        flow = tf.reshape(self._finite(flow), shape)
        example = self.received.shape.rank - 1
        return sum_to_shape_of(tf.reduce_sum(flow, example), like)

    def values(self, x: Tensor) -> Tensor:
        """``[..., L, D, N]`` to ``[L', D, 1]``."""
        num_dims = x.shape[-2]
        shape = tf.concat([tf.shape(self.received), [num_dims]], 0)
        x = tf.broadcast_to(tf.linalg.matrix_transpose(x), shape)
        return tf.reshape(x, [-1, num_dims, 1])

    def sum_of_values(self, flow: Tensor, like: Tensor) -> Tensor:
        """Sums the flow into `values` to the shape of the flow into `like`."""
        shape = tf.concat([tf.shape(self.received), [like.shape[-2]]], 0)
        flow = tf.linalg.matrix_transpose(tf.reshape(self._finite(flow), shape))
        return sum_to_shape_of(flow, like)

    def _finite(self, flow: Tensor) -> Tensor:
        """Zero in place of what is not finite, where that is the density's fault."""
        received = tf.reshape(self.flow, [-1, *[1] * (flow.shape.rank - 1)])
        kept = is_finite(flow) | ~is_finite(received)
        return tf.where(kept, flow, tf.zeros_like(flow))
