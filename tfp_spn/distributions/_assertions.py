"""Run-time checks: of values, for `validate_args=True`, and of moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.ops.axes import transpose
from tfp_spn.programs.program import Program

if TYPE_CHECKING:
    from tfp_spn.distributions._circuit_view import CircuitView


def in_support(spn: CircuitView, value: Tensor, observed: Tensor | None) -> list:
    """Assertions that observed values are numbers in the support.

    Args:
        spn: The view of a circuit. Its parameters are read only if components differ
            in what they can take.
        value: ``[..., V(, D)]``.
        observed: bool ``[..., V]`` or `None`.
    """
    program, owner = spn.program, type(spn).__name__
    flat = value[..., tf.newaxis] if program.num_dims == 1 else value
    is_nan = tf.reduce_any(tf.math.is_nan(flat), axis=-1)
    if observed is not None:
        is_nan &= observed
    everywhere = np.arange(program.num_variables)
    message = (
        f"{owner}: received NaN in an observed variable, expected numbers. Mark "
        "missing values with observed=~np.isnan(x)."
    )
    assertions = [_no_value(is_nan, flat, everywhere, message)]
    for part in program.leaf.parts(program.step.layout):
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


def is_defined(spn: CircuitView, moment: Tensor) -> tf.Operation:
    """An assertion that no moment is NaN, for `allow_nan_stats=False`."""
    message = (
        f"{type(spn).__name__}: a moment of {spn.program.leaf.label} is undefined "
        "under these parameters, received NaN, expected numbers since "
        "allow_nan_stats=False. Use mode, or allow_nan_stats=True to receive NaN."
    )
    return tf.debugging.Assert(~tf.reduce_any(tf.math.is_nan(moment)), [message])


def _is_outside(part: LeafPart, x: Tensor) -> Tensor:
    """``[..., V', D]`` to ``[..., V']``: whether no family can take the value."""
    examples = tf.transpose(tf.reshape(x, [-1, *x.shape[-2:]]), [1, 2, 0])
    outside = tf.math.is_inf(part.leaf.log_base(examples))  # [V', N]
    return tf.reshape(transpose(outside, [1, 0]), tf.shape(x)[:-1])


def _is_possible(
    spn: CircuitView, part: LeafPart, value: Tensor, observed: Tensor | None
) -> Tensor:
    """``[..., V']``: whether some component of each circuit can take the value."""
    program: Program = spn.program
    tables = spn.tables()
    evidence = program.evidence(value, observed, tables.batch_rank, is_flat=True)
    return evidence.restore(program.can_be(tables, evidence, part))


def _no_value(
    wrong: Tensor, x: Tensor, variables: np.ndarray, message: str
) -> tf.Operation:
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
