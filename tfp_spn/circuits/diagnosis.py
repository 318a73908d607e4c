"""Finds what broke a training step: a parameter's owner, and the value to blame.

Asked after the fact only, so it may take its time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.finite_variables import Entry
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.programs.parameter_names import leaf_name
from tfp_spn.programs.program import Program

_UNITS_AT_A_TIME = 2**22

_SUSPICIOUS = -1e6
"""Log-densities below tell of values that do not belong among the others."""


class DataValue(NamedTuple):
    """A value of the data.

    Attributes:
        log_prob: The greatest log-density that a component gives it.
        value: A number, or a vector.
        row: Number of the example.
        column: Number of the variable; pixels and steps are counted through.
        label: What messages call its leaf.
        is_in_support: Whether it is possible whatever the parameters are, so that a
            log-density of -inf tells of an overflow.
    """

    log_prob: float
    value: object
    row: int
    column: int
    label: str
    is_in_support: bool

    @property
    def is_suspicious(self) -> bool:
        """Whether it may have broken a step."""
        return self.log_prob < _SUSPICIOUS

    def __str__(self) -> str:
        return f"{self.value!s} at row {self.row}, column {self.column}"


def described(program: Program, entry: Entry) -> str:
    """An entry of a parameter, and the leaf and the variable that it is of."""
    step = program.step
    for part in step.leaf.parts(step.layout):
        for name, variable in part.leaf.parameters.items():
            if leaf_name(part.prefix + name) == entry.name:
                ndims = len(part.leaf.parameter_specs(part.leaf.num_dims)[name].shape)
                num_lead = len(variable.shape) - ndims
                lead = entry.place[:num_lead], tuple(variable.shape)[:num_lead]
                slot = int(np.ravel_multi_index(*lead))
                owner = part.variables[part.layout.slot_variable[slot]]
                return f"{entry}: {part.leaf.label} of variable {owner}"
    return str(entry)


def least_probable_value(
    program: Program,
    params: Params,
    x: np.ndarray,
    observed: np.ndarray | None = None,
    first_row: int = 0,
) -> DataValue | None:
    """The observed value whose best component gives it the least density.

    Args:
        program: The circuit.
        params: Its parameters, without batch dimensions.
        x: ``[N, *event_shape]``.
        observed: bool ``[N, *mask_shape]``. Default: all.
        first_row: Number of the first row.

    Returns:
        The value; `None` if nothing is observed, or parameters differ in time.
    """
    if program.parameters_in_time:
        return None
    step, leaf = program.step, program.tables(params).leaf
    num_examples, num_variables = len(x), step.layout.num_variables
    x = np.reshape(x, [-1, num_variables, step.layout.num_dims])  # steps as examples
    seen = np.ones(x.shape[:2], bool)
    if observed is not None:
        seen = np.reshape(observed, x.shape[:2])
    num_units = step.layout.num_slots * step.leaf.num_components
    size = max(_UNITS_AT_A_TIME // num_units, 1)
    least: DataValue | None = None
    for start in range(0, len(x), size):
        values = tf.cast(x[start : start + size], step.dtype)
        values = tf.transpose(values, [1, 2, 0])
        for part in step.leaf.parts(step.layout):
            log_prob = _of_best_components(part, part.params(leaf), values)
            log_prob[~seen[start : start + size, part.variables]] = np.inf
            place = np.unravel_index(np.argmin(log_prob), log_prob.shape)
            found = float(log_prob[place])
            if found == np.inf or (least is not None and found >= least.log_prob):
                continue
            example, variable = start + int(place[0]), int(part.variables[place[1]])
            number = example * num_variables + variable
            row, column = divmod(number, len(x) * num_variables // num_examples)
            least = DataValue(
                found,
                x[example, variable, 0] if x.shape[-1] == 1 else x[example, variable],
                first_row + row,
                column,
                part.leaf.label,
                getattr(part.leaf, "can_overflow", False)
                and not part.leaf.value_support.depends_on_parameters,
            )
    return least


def _of_best_components(part: LeafPart, params: Params, x: Tensor) -> np.ndarray:
    """``[N, V']``: the greatest log-density of each value ``x [V, D, N]``."""
    x = part.of_variable(x, -3)
    slots = part.layout.slot_variable
    alone = LeafLayout(tuple((v,) for v in slots), *x.shape[:2])
    log_prob = part.leaf.region_log_prob(params, x, None, alone)  # [L', K, N]
    best = np.full([x.shape[0], x.shape[-1]], -np.inf)
    np.maximum.at(best, slots, tf.reduce_max(log_prob, axis=-2).numpy())
    return np.transpose(best + part.leaf.log_base(x).numpy())
