"""Log-densities of evidence: the upward pass."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.blocks import in_blocks
from tfp_spn.circuits.dynamic_evaluation import log_prob_of_evidence
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.evaluation import log_joint_of
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.program import Program
from tfp_spn.circuits.tables import Tables
from tfp_spn.distributions._evidence import evidence_of, flat_evidence
from tfp_spn.ops.log_space import logsumexp


def log_joint(distribution: Any, value: Tensor, observed: Tensor | None) -> Tensor:
    """``log p(x, c)``, ``S + P + [C]``."""
    evidence = evidence_of(distribution, value, observed)
    return _log_joint(distribution.program, distribution.tables(), evidence)


def log_prob(distribution: Any, value: Tensor, observed: Tensor | None) -> Tensor:
    """``log p(x)``, ``S + P``."""
    return sum_over_classes(log_joint(distribution, value, observed))


def log_prob_of(
    program: Program, params: Params, value: Tensor, observed: Tensor | None
) -> Tensor:
    """`log_prob` of parameters without batch dimensions, unchecked."""
    evidence = flat_evidence(program, value, observed, 0)
    return sum_over_classes(_log_joint(program, program.tables(params), evidence))


def _log_joint(program: Any, tables: Any, evidence: Evidence) -> Tensor:
    if isinstance(program, DynamicProgram):
        log_prob = log_prob_of_evidence(program, tables, evidence)
        return evidence.restore(log_prob[..., tf.newaxis, :])

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        return log_joint_of(program, tables, block)

    return evidence.restore(
        in_blocks(of_block, program, tables, evidence, program.dtype)
    )


def sum_over_classes(joint: Tensor) -> Tensor:
    """``log p(x)`` of ``log p(x, c) [..., C]``."""
    return joint[..., 0] if joint.shape[-1] == 1 else logsumexp(joint, axis=-1)
