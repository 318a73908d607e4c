"""Leaves whose regions are one matrix product in sufficient statistics.

    log p(x | component k) = sum_f statistics[f](x) * coefficient[f, k] + constant[k]

(apart from the base measure, which all components share). A region over several
variables is the sum of these, so that its units are one matrix product ``[K, F] x
[F, N]`` over the statistics of all its variables; no component density is ever
materialised.
Per-example evidence is one more statistic: the mask itself, whose coefficient is the
constant.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.matrix_products import long_product
from tfp_spn.ops.regions import take_regions


class ExponentialFamilyLeaf(BaseLeaf):
    """Base of leaves with finitely many sufficient statistics."""

    def coefficients(self, params: Params, layout: LeafLayout) -> tuple[Tensor, Tensor]:
        """``([..., L, F, K], [..., L, 1, K])``: natural parameters and constant."""
        raise NotImplementedError

    def statistics(self, params: Params, x: Tensor, layout: LeafLayout) -> Tensor:
        """``[..., V, D, N] -> [..., V, F, N]``: alike in all slots of a variable."""
        raise NotImplementedError

    def region_log_prob(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """One matrix product per region (see `BaseLeaf.region_log_prob`)."""
        coefficients, constant = self.coefficients(params, layout)
        statistics = self._masked_statistics(params, x, observed, layout)
        offset = tf.zeros([], statistics.dtype)
        if observed is None:
            offset = _sum_over_regions(constant, layout)
        else:
            if hidden is not None:  # the mask counts what it adds to the hidden value
                hidden = hidden[..., tf.newaxis, :]
                offset = _sum_over_regions(hidden, layout)
                constant -= hidden
                lead, own = constant.shape[:-2], coefficients.shape[:-2]
                if lead.as_list() != own.as_list():  # the batch of other leaves
                    constant += tf.zeros_like(coefficients[..., :1, :])
                    coefficients += tf.zeros_like(constant)
            coefficients = tf.concat([coefficients, constant], axis=-2)
        return offset + long_product(
            layout.group_by_region(coefficients), layout.group_by_region(statistics)
        )

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``sums [L, F, K]`` and ``count [L, K]``."""
        statistics = self._masked_statistics(params, x, observed, layout)
        num_features = statistics.shape[-2]
        sums = tf.matmul(layout.group_by_region(statistics), flow, transpose_b=True)
        sums = layout.ungroup(sums, num_features)  # [L, F (+ 1), K]
        if observed is not None:
            return {"sums": sums[..., :-1, :], "count": sums[..., -1, :]}
        count = tf.gather(tf.reduce_sum(flow, axis=-1), layout.slot_region)
        return {"sums": sums, "count": count}

    def _masked_statistics(
        self, params: Params, x: Tensor, observed: Tensor | None, layout: LeafLayout
    ) -> Tensor:
        """``[..., L, F, N]``; with a mask, ``F + 1``: the mask comes last."""
        x = self.safe_value(x)
        if observed is None:
            statistics = self.statistics(params, x, layout)
        else:
            mask = observed[..., tf.newaxis, :]
            x = tf.where(mask, x, tf.zeros_like(x))
            mask = tf.cast(mask, x.dtype)
            statistics = self.statistics(params, x, layout) * mask
            mask = mask * tf.ones_like(statistics[..., :1, :])
            statistics = tf.concat([statistics, mask], axis=-2)
        if layout.is_identity:
            return statistics
        return take_regions(statistics, layout.slot_variable)


def _sum_over_regions(constant: Tensor, layout: LeafLayout) -> Tensor:
    """``[..., L, 1, K]`` to ``[..., R, K, 1]``."""
    grouped = layout.group_by_region(constant)
    return tf.reduce_sum(grouped, axis=-2)[..., tf.newaxis]
