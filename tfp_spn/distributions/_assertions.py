"""Run-time checks of values, for `validate_args=True`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.dynamic_program import DynamicProgram, DynamicTables
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
    program = spn.program
    if isinstance(program, DynamicProgram):
        program = program.step
    if len(program.event_shape) == 1:
        value = value[..., tf.newaxis]
    rank = value.shape.rank
    by_variable = tf.reshape(value, [-1, *value.shape[rank - 2 :]])
    by_variable = tf.transpose(by_variable, [1, 2, 0])  # [V, D, N]
    hidden = None
    is_nan = tf.reduce_any(tf.math.is_nan(by_variable), axis=-2)
    if observed is not None:
        hidden = ~tf.transpose(tf.reshape(observed, [-1, observed.shape[-1]]))
        is_nan &= ~hidden
    assertions = [
        tf.debugging.assert_none_equal(
            is_nan,
            True,
            message=(
                "SumProductNetwork: received NaN in an observed variable, expected "
                "numbers. Mark missing values with observed=~np.isnan(x)."
            ),
        )
    ]
    for part in program.leaf.parts(program.layout):
        possible = _is_possible(spn, part, part.of_variable(by_variable, 0))
        if hidden is not None:
            possible |= part.of_variable(hidden, 0)
        where = "" if part.is_whole else f" in variables {part.variables.tolist()}"
        assertions.append(
            tf.debugging.assert_equal(
                possible,
                True,
                message=(
                    "SumProductNetwork: received a value outside the support of "
                    f"{part.leaf.label}{where}, expected {part.leaf.support}. Check "
                    "the data, or mark such values with observed=False."
                ),
            )
        )
    return assertions


def _is_possible(spn: Any, part: LeafPart, x: Tensor) -> Tensor:
    """``[V', D, N]`` to ``[V', N]``: whether some component can take the value."""
    impossible = -float("inf")
    possible = part.leaf.log_base(x) > impossible
    if not part.leaf.value_support.depends_on_parameters:
        return possible
    tables = spn.tables()
    if isinstance(tables, DynamicTables):
        tables = tables.step
    x = part.layout.gather_variables(part.leaf.safe_value(x), axis=-3)
    log_prob = part.leaf.component_log_prob(part.params(tables.leaf), x)
    rank = log_prob.shape.rank  # [..., L', K, N]
    of_slot = tf.reduce_any(log_prob > impossible, axis=[*range(rank - 3), rank - 2])
    ways = part.layout.sum_over_slots(tf.cast(of_slot, tf.int32)[:, tf.newaxis])
    return possible & (ways[:, 0] > 0)
