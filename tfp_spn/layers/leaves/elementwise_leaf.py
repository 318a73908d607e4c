"""Leaves whose component log-densities are computed one by one and added."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout


class ElementwiseLeaf(BaseLeaf):
    """Base of leaves that state a log-density; memory is ``L x K x N``."""

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """``[..., L, D, N] -> [..., L, K, N]``, without `log_base`."""
        raise NotImplementedError

    def region_log_prob(
        self, params: Params, x: Tensor, observed: Tensor | None, layout: LeafLayout
    ) -> Tensor:
        """Sum of the components' log-densities (see `BaseLeaf.region_log_prob`)."""
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        values = self.component_log_prob(params, x)
        if observed is not None:
            mask = layout.gather_variables(observed, axis=-2)[..., tf.newaxis, :]
            values = tf.where(mask, values, tf.zeros_like(values))
        return layout.sum_over_width(values)


def slot_flow(flow: Tensor, observed: Tensor | None, layout: LeafLayout) -> Tensor:
    """``[R, K, N] -> [L, K, N]``: each slot's flow, zero where it is unobserved."""
    flow = tf.gather(flow, layout.slot_region, axis=-3)
    if observed is None:
        return flow
    mask = layout.gather_variables(observed, axis=-2)[..., tf.newaxis, :]
    return tf.where(mask, flow, tf.zeros_like(flow))
