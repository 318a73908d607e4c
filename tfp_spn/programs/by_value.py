"""What depends on few variables of few values is evaluated once for each value.

A leaf region has no more different columns than its variables have values together
(hidden is one more), however many examples there are. Leaves and sums over single leaf
regions are evaluated for these; examples look their columns up where products begin,
and hand back what flows to them by column:

    flow[r, k, c] = sum_{n: x[n] is c} flow[r, k, n]

In a hidden Chow-Liu tree that is more than half of all sums.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.ops.regions import gather_blank, take_regions
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.scaled_values import Value
from tfp_spn.programs.tables import Tables

_MIN_EXAMPLES_PER_COLUMN = 4
"""Fewer examples are evaluated as they are."""

_MAX_COLUMNS = 1024
"""Numbers up to here are exact in matrix products of any device."""

_MAX_COLUMNS_PER_COMPONENT = 3
"""To look up and to add up more takes longer than sums over so few components."""

_FEW_COLUMNS = 3
"""So many are chosen from one after another, which XLA merges with what reads them."""

_FEW_EXAMPLES = 64
"""So many there are thought to be where that is not known."""


@dataclass(frozen=True, eq=False)
class Values:
    """Which values the variables of all examples have.

    Attributes:
        index: int32 ``[V, N]``.
        count: Number of values of a variable, ``Q``; the last one is that of a hidden
            variable if any may be.
        width: Number of variables of a leaf region, at most, ``W``.
    """

    index: Tensor
    count: int
    width: int

    def copied(self) -> Values:
        """The same as tensors of the present graph."""
        return dataclasses.replace(self, index=tf.identity(self.index))

    def columns(self, layout: LeafLayout) -> Columns:
        """Those of regions that have the variables of leaf regions."""
        if self.width == 1:
            index = layout.gather_variables(self.index, axis=-2)
            return Columns(index, self.count)
        strides = np.zeros([layout.num_regions, layout.num_variables], np.float32)
        for place, slots in enumerate(layout.slots_in_order.T):
            regions = np.flatnonzero(slots < layout.num_slots)
            variables = layout.slot_variable[slots[regions]]
            strides[regions, variables] = self.count**place
        index = tf.matmul(strides, tf.cast(self.index, tf.float32))
        return Columns(tf.cast(index, tf.int32), self.count**self.width)

    def of_regions(self, log: Tensor, layout: LeafLayout) -> Tensor:
        """What the leaf regions hold, ``[R, K, Q^W]``, of their slots, ``[L, K, Q]``.

        The first variable of a region is the one that changes first with the column.
        """
        if layout.width == 1:
            return log
        terms = []
        for place, slots in enumerate(layout.slots_in_order.T):
            slots = np.where(slots < layout.num_slots, slots, -1)
            rows = take_regions(log, slots)
            before, after = [1] * (self.width - 1 - place), [1] * place
            shape = [*before, self.count, *after]
            terms.append(reshape_axes(rows, -1, 0, shape))
        total = functools.reduce(tf.add, terms)
        return reshape_axes(total, -self.width, 0, [self.count**self.width])


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
        """``[R, K, C]`` to ``[R, K, N]``, whatever the table holds."""
        num_regions, num_units, _ = table.shape
        if self.size <= _FEW_COLUMNS:
            columns = tf.split(table, self.size, axis=-1)
            index = self.index[:, tf.newaxis]
            found = columns.pop() + tf.zeros_like(index[..., :1, :], table.dtype)
            for value, column in enumerate(columns):
                found = tf.where(index == value, column, found)
            return found
        rows = tf.reshape(tf.linalg.matrix_transpose(table), [-1, num_units])
        first = tf.range(num_regions)[:, tf.newaxis] * self.size
        return tf.linalg.matrix_transpose(tf.gather(rows, self.index + first))

    def units_of_examples(self, units: Tensor) -> Tensor:
        """The same of finite numbers: one column times 1, the others times 0."""
        if self.size <= 2:  # a single choice
            return self.of_examples(units)
        return tf.matmul(units, self._one_hot(units.dtype, axis=1))

    def by_value(self, flow: Tensor) -> Tensor:
        """Adds up what the examples of each value received: ``[R, K, C]``."""
        return tf.matmul(flow, self._one_hot(flow.dtype, axis=2))

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

        def read(table: Tensor | None, of_examples: Callable) -> Tensor | None:
            return None if table is None else of_examples(table)

        return Value(
            self.of_examples(log_scale),
            read(value.units, self.units_of_examples),
            read(value.log_max, self.of_examples),
            read(value.log, self.of_examples),
            value.is_relative,
            _Lookup(value, self),
        )

    def part(self, index: np.ndarray) -> Columns:
        """Those of some regions; of which one is -1, any."""
        return Columns(gather_blank(self.index, np.maximum(index, 0), -2), self.size)

    def _one_hot(self, dtype: tf.DType, axis: int) -> Tensor:
        """``[R, N, C]``, or ``[R, C, N]`` if the axis of columns is 1."""
        return tf.one_hot(self.index, self.size, axis=axis, dtype=dtype)


@dataclass(frozen=True, eq=False)
class _Lookup:
    """Reads only those rows of tables that are asked for."""

    value: Value
    columns: Columns

    def units_of(self, index: np.ndarray, blank: float) -> Tensor:
        units = self.value.units_of(index, blank)
        return self.columns.part(index).units_of_examples(units)

    def logs_of(self, index: np.ndarray, blank: float) -> Tensor:
        logs = self.value.logs_of(index, blank)
        return self.columns.part(index).of_examples(logs)


def to_examples(log: Tensor, values: Values | None, layout: LeafLayout) -> Tensor:
    """What leaf regions hold of examples; `log` itself, unless it is of values."""
    return log if values is None else values.columns(layout).of_examples(log)


def to_values(flow: Tensor, values: Values | None, layout: LeafLayout) -> Tensor:
    """The flow of what `to_examples` was given, from that of its result."""
    return flow if values is None else values.columns(layout).by_value(flow)


@dataclass(frozen=True, eq=False)
class LeafInputs:
    """What leaves are evaluated of, and their regions then.

    Attributes:
        evidence: The examples, or one example for each value.
        layout: The leaf regions, or each slot by itself.
        values: Which values the examples have, if leaves are evaluated of values.
    """

    evidence: Evidence
    layout: LeafLayout
    values: Values | None = None

    def log_values(self, program: FoldedProgram, tables: Tables) -> Tensor:
        """``[..., R, K, N]`` of the examples, or ``[L, K, Q]`` of each value."""
        return program.leaf.region_log_values(tables.leaf, self.evidence, self.layout)

    def of_regions(self, program: FoldedProgram, log: Tensor) -> Tensor:
        """The log-values of the circuit's leaf regions."""
        if self.values is None:
            return log
        return self.values.of_regions(log, program.layout)

    def statistics(
        self, program: FoldedProgram, tables: Tables, flow: Tensor
    ) -> Params:
        """Expected statistics of leaves, given what `log_values` received."""
        x, observed = self.evidence.x, self.evidence.observed
        leaf = program.leaf
        return leaf.expected_statistics(tables.leaf, x, observed, flow, self.layout)


def by_value(program: FoldedProgram, tables: Tables, evidence: Evidence) -> LeafInputs:
    """What leaves are to be evaluated of: of values, where that saves work."""
    whole = LeafInputs(evidence, program.layout)
    found = _support_of(program, evidence.is_constant)
    is_plain = type(evidence) is Evidence and evidence.bounded is None
    if found is None or not is_plain or evidence.x.shape.rank > 3 or tables.batch_rank:
        return whole
    lowest, counts = (numbers[:, np.newaxis] for numbers in found)
    observed, num_examples = evidence.observed, evidence.x.shape[-1]
    count, width = int(counts.max()) + (observed is not None), program.layout.width
    most = min(
        (num_examples or _FEW_EXAMPLES) // _MIN_EXAMPLES_PER_COLUMN,
        _MAX_COLUMNS_PER_COMPONENT * program.leaf.num_components,
        _MAX_COLUMNS,
    )
    if count**width > most:
        return whole
    x = evidence.x[:, 0, :] - tf.constant(lowest, evidence.x.dtype)
    # What is outside of the support, whose density is 0 anyway, is any of the values.
    index = tf.clip_by_value(tf.cast(x, tf.int32), 0, counts.astype(np.int32) - 1)
    of_values = None
    if observed is not None:
        index = tf.where(observed, index, count - 1)
        of_values = tf.constant(np.tile(np.arange(count) < count - 1, [len(counts), 1]))
    values = lowest + np.minimum(np.arange(count), counts - 1)
    values = tf.constant(values[:, np.newaxis], evidence.x.dtype)
    of = dataclasses.replace(evidence, x=values, observed=of_values)
    return LeafInputs(of, program.layout.slots, Values(index, count, width))


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
    if layout.num_dims > 1 or not steps_follow_gradient:
        return None
    lowest, counts = np.zeros([2, layout.num_variables])
    for part in program.leaf.parts(layout):
        leaf, support = part.leaf, part.leaf.value_support
        has_gradient = not (is_constant or leaf.looks_up_values)
        if support.num_values is None or has_gradient:
            return None
        lowest[part.variables], counts[part.variables] = support.low, support.num_values
    return lowest, counts
