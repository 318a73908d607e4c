"""Leaves whose component log-densities are computed one by one and added."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.examples_apart import finite_flows
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.conditional import pullback, with_finite_gradients
from tfp_spn.ops.custom_gradient import custom_gradient


class ElementwiseLeaf(BaseLeaf):
    """Base of leaves that state a log-density; memory is ``L x K x N``.

    Attributes:
        can_overflow: Whether densities or derivatives may be infinite (not so those of
            a table); gradients are finite all the same, see `finite_log_prob`. Then
            the first axis of a slot's parameter is that of the components, unless all
            components share it.
    """

    can_overflow = True

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """``[..., L, D, N] -> [..., L, K, N]``, without `log_base`."""
        raise NotImplementedError

    def finite_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """`component_log_prob` whose gradients are finite.

        Where derivatives of the formula are not, the gradient is taken anew for each
        component and example apart, and those that are not finite count as zero.
        """
        if not self.can_overflow:
            return self.component_log_prob(params, x)
        names, ndims = list(params), [self.slot_ndims(name) for name in params]

        def log_prob(x: Tensor, *values: Tensor) -> Tensor:
            return self.component_log_prob(dict(zip(names, values, strict=True)), x)

        def careful_flows(flow: Tensor, x: Tensor, *values: Tensor) -> list[Tensor]:
            return finite_flows(log_prob, flow, x, values, ndims)

        values = [tf.convert_to_tensor(value) for value in params.values()]
        return with_finite_gradients(log_prob, careful_flows, [x, *values])

    def region_log_prob(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Sum of the components' log-densities (see `BaseLeaf.region_log_prob`)."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        values = self.finite_log_prob(params, x)
        if observed is not None:
            mask = layout.gather_variables(observed, axis=-2)[..., tf.newaxis, :]
            other = tf.zeros([], values.dtype)
            if hidden is not None:
                other = hidden[..., tf.newaxis]
            values = tf.where(mask, values, other)
        return layout.sum_over_width(values)

    def region_log_prob_in_turn(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """The same, one slot of each region after another; memory is ``R x K x N``.

        For the branch of a conditional that is rarely taken: XLA evaluates branches
        without a loop always, and reserves memory for what a loop's gradient keeps.
        Gradients are those of the formula, finite if `x` is such that it is.
        """
        x = self.safe_value(x)
        names, values = list(params), list(params.values())

        def slot_log_prob(slots: SlotsInTurn, x: Tensor, *values: Tensor) -> Tensor:
            params = dict(zip(names, values, strict=True))
            log_prob = self.component_log_prob(params, x)  # [..., R, K, N]
            zero = tf.zeros([], log_prob.dtype)
            if observed is not None:
                mask = tf.gather(observed, slots.variable, axis=-2)[..., tf.newaxis, :]
                other = zero
                if hidden is not None:
                    other = tf.gather(hidden, slots.slot, axis=-2)[..., tf.newaxis]
                log_prob = tf.where(mask, log_prob, other)
            return tf.where(slots.is_real[:, tf.newaxis, tf.newaxis], log_prob, zero)

        def of_slot(slots: SlotsInTurn, x: Tensor, *values: Tensor) -> list[Tensor]:
            params = self.slot_params(dict(zip(names, values, strict=True)), slots)
            return [tf.gather(x, slots.variable, axis=-3), *params.values()]

        def log_prob_of(number: Tensor, sources: Sequence[Tensor]) -> Tensor:
            slots = slots_in_turn(layout, number)
            return slot_log_prob(slots, *of_slot(slots, *sources))

        @custom_gradient
        def forward(*sources: Tensor) -> tuple[Tensor, Callable]:
            _, total = tf.while_loop(
                lambda number, _: number < layout.width,
                lambda n, total: (n + 1, total + log_prob_of(n, sources)),
                (tf.constant(1), log_prob_of(tf.constant(0), sources)),
                parallel_iterations=1,
                maximum_iterations=layout.width - 1,
            )

            def backward(flow: Tensor) -> list[Tensor]:
                def flows_of(number: Tensor) -> list[Tensor]:
                    slots = slots_in_turn(layout, number)
                    read = of_slot(slots, *sources)
                    return pullback(functools.partial(slot_log_prob, slots), read, flow)

                dtypes = [source.dtype for source in sources]
                by_turn = tf.map_fn(
                    flows_of, tf.range(layout.width), fn_output_signature=dtypes
                )
                ndims = [self.slot_ndims(name) for name in names]
                d_x, *d_params = (
                    layout.from_turns(value, ndim)
                    for value, ndim in zip(by_turn, [2, *ndims], strict=True)
                )
                return [layout.sum_over_slots(d_x), *d_params]

            return total, backward

        return forward(x, *(tf.convert_to_tensor(value) for value in values))

    def slot_params(self, params: Params, slots: SlotsInTurn) -> Params:
        """Parameters ``[..., R, *]`` of one slot of each region."""
        return {
            name: tf.gather(value, slots.slot, axis=-1 - self.slot_ndims(name))
            for name, value in params.items()
        }


@dataclass(frozen=True, eq=False)
class SlotsInTurn:
    """One slot of each region.

    Attributes:
        slot: int32 ``[R]``, 0 where a region has fewer slots.
        variable: int32 ``[R]``.
        is_real: bool ``[R]``: whether the region has that many slots.
    """

    slot: Tensor
    variable: Tensor
    is_real: Tensor


def slots_in_turn(layout: LeafLayout, number: Tensor) -> SlotsInTurn:
    """The `number`-th slot of every region of a layout."""
    slot = tf.gather(tf.constant(layout.slots_of_region), number, axis=1)
    is_real = slot < layout.num_slots
    slot = tf.where(is_real, slot, 0)
    return SlotsInTurn(slot, tf.gather(layout.slot_variable, slot), is_real)


def slot_flow(flow: Tensor, observed: Tensor | None, layout: LeafLayout) -> Tensor:
    """``[R, K, N] -> [L, K, N]``: each slot's flow, zero where it is unobserved."""
    flow = tf.gather(flow, layout.slot_region, axis=-3)
    if observed is None:
        return flow
    mask = layout.gather_variables(observed, axis=-2)[..., tf.newaxis, :]
    return tf.where(mask, flow, tf.zeros_like(flow))
