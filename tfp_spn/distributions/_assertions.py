"""Run-time checks of values, for `validate_args=True`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.dynamic_program import DynamicProgram, DynamicTables
from tfp_spn.distributions import _evidence
from tfp_spn.layers.leaves.parts import LeafPart


def in_support(spn: Any, value: Tensor, observed: Tensor | None) -> list:
    """Assertions that observed values are numbers in the support.

    Args:
        spn: The view of a circuit, or of a dynamic circuit, whose steps count as
            examples. Its parameters are read only if components differ in what they
            can take.
        value: ``[..., V(, D)]``.
        observed: bool ``[..., V]`` or `None`.
    """
    program, owner = spn.program, type(spn).__name__
    if isinstance(program, DynamicProgram):
        program = program.step
    flat = value[..., tf.newaxis] if len(program.event_shape) == 1 else value
    is_nan = tf.reduce_any(tf.math.is_nan(flat), axis=-1)
    if observed is not None:
        is_nan &= observed
    everywhere = np.arange(program.num_variables)
    message = (
        f"{owner}: received NaN in an observed variable, expected numbers. Mark "
        "missing values with observed=~np.isnan(x)."
    )
    assertions = [_no_value(is_nan, flat, everywhere, message)]
    for part in program.leaf.parts(program.layout):
        own = part.of_variable(flat, -2)
        wrong = _is_outside(part, own)
        if part.leaf.value_support.depends_on_parameters:
            wrong |= ~_is_possible(spn, part, value, observed)
        if observed is not None:
            wrong &= part.of_variable(observed, -1)
        where = "" if part.is_whole else f" in variables {part.variables.tolist()}"
        message = (
            f"{owner}: received a value outside the support of {part.leaf.label}"
            f"{where}, expected {part.leaf.support}. Check the data, or mark such "
            "values with observed=False."
        )
        assertions.append(_no_value(wrong, own, part.variables, message))
    return assertions


def _is_outside(part: LeafPart, x: Tensor) -> Tensor:
    """``[..., V', D]`` to ``[..., V']``: whether no family can take the value."""
    outside = tf.math.is_inf(part.leaf.log_base(_kernel_layout(x)))  # [V', N]
    return tf.reshape(tf.transpose(outside), tf.shape(x)[:-1])


def _is_possible(
    spn: Any, part: LeafPart, value: Tensor, observed: Tensor | None
) -> Tensor:
    """``[..., V']``: whether some component of each circuit can take the value.

    Of sequences: some component of any circuit and step.
    """
    tables = spn.tables()
    if isinstance(tables, DynamicTables):
        flat = value[..., tf.newaxis] if part.layout.num_dims == 1 else value
        x, params = _kernel_layout(part.of_variable(flat, -2)), tables.step.leaf
    else:
        evidence = _evidence.evidence_of(spn, value, observed)
        x, params = part.of_variable(evidence.x, -3), tables.leaf
    x = part.layout.gather_variables(part.leaf.safe_value(x), axis=-3)
    log_prob = part.leaf.component_log_prob(part.params(params), x)  # [..., L', K, N]
    of_slot = tf.reduce_any(log_prob > -float("inf"), axis=-2, keepdims=True)
    if not isinstance(tables, DynamicTables):
        ways = part.layout.sum_over_slots(tf.cast(of_slot, tf.int32))
        return evidence.restore(ways[..., 0, :] > 0)
    of_slot = tf.reduce_any(of_slot, axis=[*range(of_slot.shape.rank - 3)])
    ways = part.layout.sum_over_slots(tf.cast(of_slot, tf.int32))
    lead = tf.concat([tf.shape(flat)[:-2], [len(part.variables)]], 0)
    return tf.reshape(tf.transpose(ways[:, 0] > 0), lead)


def _kernel_layout(x: Tensor) -> Tensor:
    """``[..., V, D]`` to ``[V, D, N]``."""
    return tf.transpose(tf.reshape(x, [-1, *x.shape[-2:]]), [1, 2, 0])


def _no_value(wrong: Tensor, x: Tensor, variables: np.ndarray, message: str) -> Any:
    """Asserts that no value is ``wrong [..., V]``, and tells the first of ``x``."""
    size = x.shape[-1]
    shape = tf.concat([tf.shape(wrong), [size]], 0)
    rows = tf.reshape(tf.broadcast_to(x, shape), [-1, size])
    flat = tf.reshape(wrong, [-1])
    blank = tf.zeros([1, size], x.dtype)  # there may be no rows at all
    first = tf.argmax(tf.concat([flat, [True]], 0), output_type=tf.int32)
    variable = tf.gather(variables, first % len(variables))
    value = tf.gather(tf.concat([rows, blank], 0), first)
    received = [message, "The first of them:", value, "variable:", variable]
    return tf.debugging.Assert(~tf.reduce_any(wrong), received)
