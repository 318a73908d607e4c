"""Means and variances of sequences."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.axes import move_axis, reshape_axes
from tfp_spn.ops.chain import log_chain
from tfp_spn.ops.sum_rules import SumOpGradBackprop
from tfp_spn.programs import posterior
from tfp_spn.programs.dynamic.evaluation import chain_of, step_evidence, to_steps
from tfp_spn.programs.dynamic.states import state_posteriors
from tfp_spn.programs.dynamic.structure import DynamicStructure, DynamicTables
from tfp_spn.programs.evaluation import evaluate

_GRADIENT = SumOpGradBackprop()


def mean_and_variance(
    program: DynamicStructure, tables: DynamicTables, evidence: Evidence
) -> tuple[Tensor, Tensor]:
    """Exact moments of each coordinate, ``S + P + [T, V, D]``."""
    certainty = tables.step.certainty
    chain = chain_of(program, tables, evidence, to_end=True)
    roots = program.roots_of_states(state_posteriors(chain, certainty))
    flows = to_steps(program, roots)  # [..., K, T N]
    possible = log_chain(chain, certainty=certainty) > -float(
        "inf"
    )  # evidence that is not says nothing
    known = evidence.hidden_unless(possible[..., tf.newaxis, tf.newaxis, :])
    leaves = program.step.leaf_values(tables.step, step_evidence(program, known))
    shape = tf.broadcast_dynamic_shape(tf.shape(flows)[:-2], tf.shape(leaves)[:-3])
    leaves = tf.broadcast_to(leaves, tf.concat([shape, tf.shape(leaves)[-3:]], 0))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(leaves)
        joint = evaluate(program.step, tables.step, leaves, _GRADIENT).log_joint
    weights = tape.gradient(joint, leaves, output_gradients=flows)
    moments = posterior.mean_and_variance(program.step, tables.step, weights)
    mean, variance = (
        evidence.restore(examples_of_steps(program, value)) for value in moments
    )
    return mean, variance


def examples_of_steps(program: DynamicStructure, values: Tensor) -> Tensor:
    """``[..., V, D, T N]`` to ``[..., T, V, D, N]``."""
    if program.parameters_in_time:
        return values
    return move_axis(reshape_axes(values, -1, 0, [program.num_steps, None]), -2, -4)
