"""Values that no component can take, whatever the parameters."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.programs.folded_program import FoldedProgram

_ROWS_AT_A_TIME = 4096


def first_impossible(
    step: FoldedProgram, x: np.ndarray, counts: np.ndarray | None
) -> tuple[int, np.ndarray] | None:
    """Looks for values outside of their leaf's support, some rows after others.

    Args:
        step: The circuit, or that of one step of sequences.
        x: ``[N, V]`` or ``[N, V, D]``, the variables of all steps on one axis.
        counts: bool ``[N, V]``: which values count. `None`: all.

    Returns:
        The number of the first row of those that were looked at last, and which of
        their values are impossible, ``[rows, V]``. `None` if there are none.
    """
    for start in range(0, len(x), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        value = tf.cast(x[rows], step.dtype)
        value = tf.reshape(value, [-1, step.num_variables, *x.shape[2:]])
        evidence = to_evidence(value, None, x.ndim - 1, 0)
        base = np.transpose(step.leaf.log_base(evidence.x))  # [N * T, V]
        impossible = np.isneginf(base).reshape(x[rows].shape[:2])
        if counts is not None:
            impossible &= counts[rows]
        if impossible.any():
            return start, impossible
    return None


def leaf_of_column(step: FoldedProgram, column: int) -> BaseLeaf:
    """The leaf layer that a column of such data belongs to."""
    variable = column % step.num_variables
    parts = step.leaf.parts(step.layout)
    return next(part.leaf for part in parts if variable in part.variables)
