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


class ExponentialFamilyLeaf(BaseLeaf):
    """Base of leaves with finitely many sufficient statistics."""

    def coefficients(self, params: Params) -> tuple[Tensor, Tensor]:
        """``([..., L, F, K], [..., L, 1, K])``: natural parameters and constant."""
        raise NotImplementedError

    def statistics(self, params: Params, x: Tensor) -> Tensor:
        """``[..., L, D, N] -> [..., L, F, N]``."""
        raise NotImplementedError

    def region_log_prob(
        self, params: Params, x: Tensor, observed: Tensor | None, layout: LeafLayout
    ) -> Tensor:
        """One matrix product per region (see `BaseLeaf.region_log_prob`)."""
        coefficients, constant = self.coefficients(params)
        statistics, mask = self._slot_statistics(params, x, observed, layout)
        if mask is None:
            offset = layout.group_by_region(constant)
            offset = tf.reduce_sum(offset, -2)[..., tf.newaxis]  # [..., R, K, 1]
        else:
            coefficients = tf.concat([coefficients, constant], axis=-2)
            statistics = tf.concat([statistics, mask], axis=-2)
            offset = tf.zeros([], statistics.dtype)
        return offset + tf.matmul(
            layout.group_by_region(coefficients),
            layout.group_by_region(statistics),
            transpose_a=True,
        )

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``sums [L, K, F]`` and ``count [L, K]``."""
        statistics, mask = self._slot_statistics(params, x, observed, layout)
        if mask is None:
            mask = tf.ones_like(statistics[..., :1, :])
        statistics = tf.concat([statistics, mask], axis=-2)
        sums = tf.matmul(layout.group_by_region(statistics), flow, transpose_b=True)
        sums = layout.ungroup(sums, statistics.shape[-2])  # [L, F + 1, K]
        sums = tf.linalg.matrix_transpose(sums)
        return {"sums": sums[..., :-1], "count": sums[..., -1]}

    def _slot_statistics(
        self, params: Params, x: Tensor, observed: Tensor | None, layout: LeafLayout
    ) -> tuple[Tensor, Tensor | None]:
        x = layout.gather_variables(self.safe_value(x), axis=-3)
        if observed is None:
            return self.statistics(params, x), None
        mask = layout.gather_variables(observed, axis=-2)[..., tf.newaxis, :]
        x = tf.where(mask, x, tf.zeros_like(x))
        mask = tf.cast(mask, x.dtype)
        statistics = self.statistics(params, x) * mask
        return statistics, mask * tf.ones_like(statistics[..., :1, :])
