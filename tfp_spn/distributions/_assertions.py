"""Run-time checks of values, for `validate_args=True`."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.program import Program


def in_support(program: Program, value: Tensor, observed: Tensor | None) -> list:
    """Assertions that observed values are numbers in the support.

    Args:
        program: The circuit.
        value: ``[..., V(, D)]``.
        observed: bool ``[..., V]`` or `None`.
    """
    if len(program.event_shape) == 1:
        value = value[..., tf.newaxis]
    rank = value.shape.rank
    by_variable = tf.reshape(value, [-1, *value.shape[rank - 2 :]])
    by_variable = tf.transpose(by_variable, [1, 2, 0])  # [V, D, N]
    possible = program.leaf.log_base(by_variable) > -float("inf")
    is_nan = tf.reduce_any(tf.math.is_nan(by_variable), axis=-2)
    if observed is not None:
        hidden = ~tf.transpose(tf.reshape(observed, [-1, observed.shape[-1]]))
        possible, is_nan = possible | hidden, is_nan & ~hidden
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
        where = "" if part.is_whole else f" in variables {part.variables.tolist()}"
        assertions.append(
            tf.debugging.assert_equal(
                part.of_variable(possible, 0),
                True,
                message=(
                    "SumProductNetwork: received a value outside the support of "
                    f"{part.leaf.label}{where}, expected {part.leaf.support}. Check "
                    "the data, or mark such values with observed=False."
                ),
            )
        )
    return assertions
