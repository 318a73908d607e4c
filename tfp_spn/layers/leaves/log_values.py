"""What variables hold under evidence, beside the values of their leaf regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.parts import LeafPart

if TYPE_CHECKING:
    from tfp_spn.layers.leaves.base_leaf import BaseLeaf


def log_base(leaf: BaseLeaf, evidence: Evidence) -> Tensor:
    """The factor that all components share, float64 ``[..., N]``.

    It is -inf outside the support.
    """
    if evidence.observed is None and evidence.bounded is not None:
        return tf.cast(tf.zeros_like(evidence.x[..., 0, 0, :]), tf.float64)
    base = leaf.log_base(evidence.x)
    if evidence.observed is not None:
        base = tf.where(evidence.observed, base, tf.zeros_like(base))
    return tf.reduce_sum(tf.cast(base, tf.float64), axis=-2)


def possible_values(part: LeafPart, params: Params, evidence: Evidence) -> Tensor:
    """``[..., V', N]``: whether some component of a part can take each value."""
    x = part.leaf.safe_value(part.of_variable(evidence.x, -3))
    x = part.layout.gather_variables(x, axis=-3)
    log_prob = part.leaf.component_log_prob(part.params(params), x)
    of_slot = tf.reduce_any(log_prob > -float("inf"), axis=-2, keepdims=True)
    ways = part.layout.sum_over_slots(tf.cast(of_slot, tf.int32))
    return ways[..., 0, :] > 0
