"""What depends on one variable of few values is evaluated once for each value.

A region over a single variable has no more different columns than the variable has
values, and one for a hidden variable, however many examples there are. Leaves and sums
over them alone are evaluated for the values; examples look their columns up where
regions of several variables begin, and hand back what flows to them by value:

    flow[r, k, c] = sum_{n: x[n] = c} flow[r, k, n]

In a hidden Chow-Liu tree that is more than half of all sums.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.regions import gather_blank
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.scaled_values import Value
from tfp_spn.programs.tables import Tables

_MIN_EXAMPLES_PER_VALUE = 4
"""Fewer examples are evaluated as they are."""

_MAX_VALUES_PER_COMPONENT = 3
"""To look up and to add up more takes longer than sums over so few components."""

_FEW_VALUES = 3
"""So many are chosen from one after another, which XLA merges with what reads them."""

_FEW_EXAMPLES = 64
"""So many there are thought to be where that is not known."""


@dataclass(frozen=True, eq=False)
class Values:
    """Which values the variables of all examples have.

    Attributes:
        index: int32 ``[V, N]``.
        size: Number of values ``C``; the last one is that of a hidden variable if any
            may be.
    """

    index: Tensor
    size: int

    def copied(self) -> Values:
        """The same as tensors of the present graph."""
        return dataclasses.replace(self, index=tf.identity(self.index))

    def columns(self, layout: LeafLayout) -> Columns:
        """Those of regions over one variable each."""
        return Columns(layout.gather_variables(self.index, axis=-2), self.size)


@dataclass(frozen=True, eq=False)
class Columns:
    """Which columns of some regions' tables the examples have.

    Attributes:
        index: int32 ``[R, N]``.
        size: Number of columns ``C``.
    """

    index: Tensor
    size: int

    def of_examples(self, table: Tensor) -> Tensor:
        """``[R, K, C]`` to ``[R, K, N]``."""
        num_regions, num_units, _ = table.shape
        if self.size <= _FEW_VALUES:
            columns = tf.split(table, self.size, axis=-1)
            index = self.index[:, tf.newaxis]
            found = columns.pop() + tf.zeros_like(index[..., :1, :], table.dtype)
            for value, column in enumerate(columns):
                found = tf.where(index == value, column, found)
            return found
        rows = tf.reshape(tf.linalg.matrix_transpose(table), [-1, num_units])
        first = tf.range(num_regions)[:, tf.newaxis] * self.size
        return tf.linalg.matrix_transpose(tf.gather(rows, self.index + first))

    def by_value(self, flow: Tensor) -> Tensor:
        """Adds up what the examples of each value received: ``[R, K, C]``."""
        return tf.matmul(flow, tf.one_hot(self.index, self.size, dtype=flow.dtype))

    def only_seen(self, table: Tensor) -> Tensor:
        """`table`, 0 where no example looks: that may be impossible."""
        columns = np.arange(self.size)[:, np.newaxis]
        are_seen = tf.reduce_any(self.index[:, tf.newaxis] == columns, axis=-1)
        return tf.where(are_seen[:, tf.newaxis], table, tf.zeros([], table.dtype))

    def value_of_examples(self, value: Value, log_scale: Tensor) -> Value:
        """The regions of a step.

        Args:
            value: They, by value.
            log_scale: ``[R, 1, C]``: all that has been taken out of them, and below.
        """

        def read(table: Tensor | None) -> Tensor | None:
            return None if table is None else self.of_examples(table)

        return Value(
            read(log_scale),
            read(value.units),
            read(value.log_max),
            read(value.log),
            value.is_relative,
            None if value.log is None else read(value.linear.units),
            _Lookup(value, self),
        )

    def of_regions(self, index: np.ndarray) -> Columns:
        """Those of some regions; of which one is -1, any."""
        return Columns(gather_blank(self.index, np.maximum(index, 0), -2), self.size)


@dataclass(frozen=True, eq=False)
class _Lookup:
    """Reads only those rows of tables that are asked for."""

    value: Value
    columns: Columns

    def units_of(self, index: np.ndarray, blank: float) -> Tensor:
        table = self.value.units_of(index, blank)
        return self.columns.of_regions(index).of_examples(table)

    def logs_of(self, index: np.ndarray, blank: float) -> Tensor:
        table = self.value.logs_of(index, blank)
        return self.columns.of_regions(index).of_examples(table)


def by_value(
    program: FoldedProgram, tables: Tables, evidence: Evidence
) -> tuple[Evidence, Values | None]:
    """What leaves are to be evaluated of: of values, where that saves work.

    Returns:
        Evidence, either one example for each value or the examples themselves, and the
        values in the former case.
    """
    found = _support_of(program, evidence.is_constant)
    is_plain = type(evidence) is Evidence and evidence.bounded is None
    if found is None or not is_plain or evidence.x.shape.rank > 3 or tables.batch_rank:
        return evidence, None
    lowest, counts = (numbers[:, np.newaxis] for numbers in found)
    observed, num_examples = evidence.observed, evidence.x.shape[-1]
    size = int(counts.max()) + (observed is not None)
    if (
        size > _MAX_VALUES_PER_COMPONENT * program.leaf.num_components
        or size * _MIN_EXAMPLES_PER_VALUE > (num_examples or _FEW_EXAMPLES)
    ):
        return evidence, None
    x = evidence.x[:, 0, :] - tf.constant(lowest, evidence.x.dtype)
    # What is outside of the support, whose density is 0 anyway, is any of the values.
    index = tf.clip_by_value(tf.cast(x, tf.int32), 0, counts.astype(np.int32) - 1)
    of_values = None
    if observed is not None:
        index = tf.where(observed, index, size - 1)
        of_values = tf.constant(np.arange(size) + 0 * counts < size - 1)
    values = lowest + np.minimum(np.arange(size), counts - 1)
    values = tf.constant(values[:, np.newaxis], evidence.x.dtype)
    of = dataclasses.replace(evidence, x=values, observed=of_values)
    return of, Values(index, size)


def _support_of(
    program: FoldedProgram, is_constant: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """The least value of each variable and how many it has, if they are finitely many.

    `None`: they are not, or examples must be evaluated one by one.
    """
    layout = program.layout
    steps_follow_gradient = all(
        step.sums is None or step.sums.rule.is_gradient for step in program.steps
    )
    if layout.num_dims > 1 or layout.width > 1 or not steps_follow_gradient:
        return None
    lowest, counts = np.zeros([2, layout.num_variables])
    for part in program.leaf.parts(layout):
        leaf, support = part.leaf, part.leaf.value_support
        has_gradient = not (is_constant or leaf.looks_up_values)
        if support.num_values is None or has_gradient:
            return None
        lowest[part.variables], counts[part.variables] = support.low, support.num_values
    return lowest, counts
