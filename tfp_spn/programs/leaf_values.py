"""What circuits get to see of evidence: the log-values of their leaf regions."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.bounds import region_log_cdf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.programs.evidence import Evidence
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.tables import Tables


def leaf_values(program: FoldedProgram, tables: Tables, evidence: Evidence) -> Tensor:
    """``[..., R, K, N]``: hidden variables are integrated out."""
    leaf, layout, x = program.leaf, program.layout, evidence.x
    if evidence.bounded is None:
        return _region_log_prob(program, tables, evidence)
    below = region_log_cdf(
        leaf,
        tables.leaf,
        x,
        evidence.bounded,
        layout,
        evidence.can_be_bounded,
        evidence.exceeded,
    )
    if evidence.observed is None:
        return below
    return below + _region_log_prob(program, tables, evidence)


def _region_log_prob(
    program: FoldedProgram,
    tables: Tables,
    evidence: Evidence,
    hidden: Tensor | None = None,
) -> Tensor:
    layout = program.layout
    values = program.leaf.region_log_prob(
        tables.leaf, evidence.x, evidence.observed, layout.pieces, hidden
    )
    return layout.sum_over_pieces(values)


def log_base(program: FoldedProgram, evidence: Evidence) -> Tensor:
    """The factor that all components share, float64 ``[..., N]``.

    It is -inf outside the support.
    """
    if evidence.observed is None and evidence.bounded is not None:
        return tf.cast(tf.zeros_like(evidence.x[..., 0, 0, :]), tf.float64)
    base = program.leaf.log_base(evidence.x)
    if evidence.observed is not None:
        base = tf.where(evidence.observed, base, tf.zeros_like(base))
    return tf.reduce_sum(tf.cast(base, tf.float64), axis=-2)


def possible_values(part: LeafPart, tables: Tables, evidence: Evidence) -> Tensor:
    """``[..., V', N]``: whether some component of a part can take each value."""
    x = part.leaf.safe_value(part.of_variable(evidence.x, -3))
    x = part.layout.gather_variables(x, axis=-3)
    log_prob = part.leaf.component_log_prob(part.params(tables.leaf), x)
    of_slot = tf.reduce_any(log_prob > -float("inf"), axis=-2, keepdims=True)
    ways = part.layout.sum_over_slots(tf.cast(of_slot, tf.int32))
    return ways[..., 0, :] > 0


def mode_leaf_values(
    program: FoldedProgram, tables: Tables, evidence: Evidence
) -> Tensor:
    """Leaf values where unobserved variables take each component's modal density."""
    at_mode = program.leaf.component_mode_log_prob(tables.leaf)  # [..., L, K]
    return _region_log_prob(program, tables, evidence, at_mode)
