"""What is known, between the user's shapes and the kernel's.

Functions take a distribution for its `program` and parameters; ``evidence=None`` means
that nothing is observed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.circuit import evidence_for
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.program import Program
from tfp_spn.distributions._parameters import batch_rank


def evidence_of(distribution: Any, value: Tensor, observed: Tensor | None) -> Evidence:
    """A value of `Event.spread`, and its mask, in the kernel's layout."""
    program = distribution.program
    rank = batch_rank(distribution.params, program)
    event_ndims = program.flat_event_ndims
    check_broadcasts(value.shape[: value.shape.rank - event_ndims], distribution)
    return flat_evidence(program, value, observed, rank)


def check_broadcasts(lead: tf.TensorShape, distribution: Any) -> None:
    """Raises if the leading axes of a value do not fit a distribution's batch."""
    batch = distribution.batch_shape
    try:
        tf.broadcast_static_shape(lead, batch)
    except ValueError:
        event = [*map(str, distribution.event_shape)]
        ones = ", ".join(["1"] * batch.rank + event)
        raise ValueError(
            f"{type(distribution).__name__}: received a value with leading axes "
            f"{tuple(lead)}, expected ones that broadcast with the batch shape "
            f"{tuple(batch)}. To evaluate each value under all members of the batch, "
            f"reshape it to [..., {ones}]."
        ) from None


def flat_evidence(
    program: Program | DynamicProgram,
    value: Tensor,
    observed: Tensor | None,
    rank: int,
) -> Evidence:
    """`evidence_for` a value of `Event.spread`, whose pixels are in one axis."""
    step = program.step if isinstance(program, DynamicProgram) else program
    return evidence_for(program, value, observed, rank, step.flat_event_ndims)


def possible_evidence(
    distribution: Any, value: Tensor, observed: Tensor | None
) -> Evidence:
    """Like `evidence_of`, for queries given the evidence: impossible values are hidden.

    There is no distribution given a value outside the support; it is as if the value
    were missing.
    """
    evidence = evidence_of(distribution, value, observed)
    in_support = distribution.program.leaf.log_base(evidence.x) > -float("inf")
    if evidence.observed is not None:
        in_support &= evidence.observed
    return dataclasses.replace(evidence, observed=in_support)


def batch_shape_of(distribution: Any, evidence: Evidence | None) -> Tensor:
    """``P``: of the parameters, broadcast with that of the evidence."""
    ndims = distribution.program.param_event_ndims
    shape = tf.zeros([0], tf.int32) if evidence is None else tf.shape(evidence.x)[:-3]
    for name, value in distribution.params.items():
        batch = tf.shape(value)[: value.shape.rank - ndims[name]]
        shape = tf.broadcast_dynamic_shape(shape, batch)
    return shape


def restore(
    distribution: Any, value: Tensor, event_ndims: int, evidence: Evidence | None
) -> Tensor:
    """``P' + event + [N]`` to ``P + event`` or ``S + P + event``."""
    rank = batch_rank(distribution.params, distribution.program)
    if rank:
        shape = batch_shape_of(distribution, evidence)
        event = tf.shape(value)[value.shape.rank - event_ndims - 1 :]
        value = tf.broadcast_to(value, tf.concat([shape, event], 0))
    return value[..., 0] if evidence is None else evidence.restore(value)
