"""Evaluation of dynamic circuits: the template on all steps at once, then the chain.

Evidence of sequences is an `Evidence` whose `x` is ``[..., T, V, D, N]`` and whose mask
is ``[..., T, V, N]``. For the template the steps become examples, or, where its
parameters differ in time, a batch dimension.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.axes import merge_axes, move_axis, reshape_axes
from tfp_spn.ops.chain import Chain, log_chain
from tfp_spn.programs.blocks import Function, in_blocks
from tfp_spn.programs.dynamic.structure import DynamicStructure, DynamicTables
from tfp_spn.programs.evaluation import log_joint_of
from tfp_spn.programs.tables import Tables


def step_evidence(program: DynamicStructure, evidence: Evidence) -> Evidence:
    """Evidence for the template: ``[..., V, D, T N]``, or ``[..., T, V, D, N]``."""
    if program.parameters_in_time:
        return evidence
    masks = [merge_axes(move_axis(mask, -3, -2), -2, 0) for mask in evidence.masks]
    x = merge_axes(move_axis(evidence.x, -4, -2), -2, 0)
    return evidence.with_parts(x, masks)


def by_step(program: DynamicStructure, values: Tensor) -> Tensor:
    """``[..., K, T N]`` (or ``[..., T, K, N]``) to ``[T, ..., K, N]``."""
    if program.parameters_in_time:
        return move_axis(values, -3, 0)
    return move_axis(reshape_axes(values, -1, 0, [program.num_steps, None]), -2, 0)


def to_steps(program: DynamicStructure, values: Tensor) -> Tensor:
    """The inverse of `by_step`."""
    if program.parameters_in_time:
        return move_axis(values, 0, -3)
    return merge_axes(move_axis(values, 0, -2), -2, 0)


def emissions(
    program: DynamicStructure,
    tables: DynamicTables,
    evidence: Evidence,
    of_block: Function | None = None,
) -> Tensor:
    """Log-values of the template's roots, ``[T, ..., K, N]``.

    Args:
        program: The dynamic circuit.
        tables: Its parameters.
        evidence: Sequences.
        of_block: What is asked of the template, of its tables and of steps as examples.
            Default: their log-densities, zero where nothing is observed.
    """
    step = program.step

    def log_joint(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        return log_joint_of(step, tables, block)

    steps, function = step_evidence(program, evidence), of_block or log_joint
    if steps.x.shape[-1] is None:
        # Gradients of a choice at run time fail in Keras' fit.
        joint = function(tables.step, steps, tf.constant(0))
    else:
        joint = in_blocks(function, step, tables.step, steps, program.dtype)
    values = by_step(program, joint)
    known = known_steps(evidence)
    if of_block is not None or known is None:
        return values
    return tf.where(known, values, tf.zeros_like(values))


def known_steps(evidence: Evidence) -> Tensor | None:
    """Of which steps anything is known, bool ``[T, ..., 1, N]``; `None`: of all."""
    known = evidence.known
    if known is None:
        return None
    return move_axis(tf.reduce_any(known, -2), -2, 0)[..., tf.newaxis, :]


def existing_steps(evidence: Evidence) -> Tensor | None:
    """Bool ``[T, ..., 1, N]``: False after the last step of which anything is known.

    Later steps say nothing. Without them there is less rounding, and EM counts no
    transitions that nobody saw.
    """
    known = known_steps(evidence)
    if known is None:
        return None
    later = tf.cumsum(tf.cast(known, tf.int32), axis=0, reverse=True)
    return later > 0


def chain_of(
    program: DynamicStructure,
    tables: DynamicTables,
    evidence: Evidence,
    to_end: bool = False,
) -> Chain:
    """The chain of the evidence.

    Args:
        program: The dynamic circuit.
        tables: Its parameters.
        evidence: The evidence.
        to_end: Whether the chain goes on after the last known step.
    """
    exists = None if to_end else existing_steps(evidence)
    return program.chain(tables, emissions(program, tables, evidence), exists)


def log_prob_of_evidence(
    program: DynamicStructure,
    tables: DynamicTables,
    evidence: Evidence,
    parallel: bool | None = None,
) -> Tensor:
    """``log p(x)``, ``[..., N]``."""
    chain = chain_of(program, tables, evidence)
    return log_chain(chain, parallel, tables.step.certainty)
