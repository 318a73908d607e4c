"""The passes of one evaluation: which kind there is to run, up and down.

All of them give the same numbers. The fast pass is of `tfp_spn.programs.scaled_pass`; a
batch of circuits may be folded into its examples, and what depends on few variables
evaluated by value (`tfp_spn.programs.by_value`). Rules that do not follow the gradient,
and what must be exact, are evaluated in log space (`tfp_spn.programs.log_pass`).
"""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.ops.axes import merge_axes
from tfp_spn.ops.matrix_products import fold_batch, unfold_batch
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.by_value import Values, to_examples, to_values
from tfp_spn.programs.folded_program import FoldedProgram, by_block
from tfp_spn.programs.log_pass import LogPass, log_downward, log_upward
from tfp_spn.programs.scaled_pass import ScaledPass, downward, upward
from tfp_spn.programs.scaled_values import Value, total_log_scale
from tfp_spn.programs.tables import Tables


class UpwardPass(Protocol):
    """An upward pass that has been done.

    Attributes:
        is_lossy: Scalar bool: whether digits may have been lost.
    """

    is_lossy: Tensor

    def roots(self) -> tuple[Tensor, Tensor]:
        """Log-values of the roots ``[..., C, N]`` and their offset."""

    def flows(self, flow: Tensor) -> tuple[Tensor, Params]:
        """Returns flows of the leaf values, and counts of weights by what is one."""


def upward_pass(
    program: FoldedProgram,
    tables: Tables,
    leaves: Tensor,
    rule: SumRule | None,
    values: Values | None,
) -> UpwardPass:
    """Runs the pass that suits; arguments as of `tfp_spn.programs.evaluation`."""
    specs = [step.sums for step in program.steps if step.sums is not None]
    follows_gradient = all((rule or spec.rule).is_gradient for spec in specs)
    if tables.certainty.is_exact or not follows_gradient:
        return _InLogSpace(program, tables, leaves, rule, values)
    if values is not None:
        return _ByValue(program, tables, leaves, values)
    if _is_mostly_shared(program, tables, leaves):
        return _Folded(program, tables, leaves)
    return _Scaled(program, tables, leaves)


class _WithRoots:
    """What passes have in common whose roots are as they are asked for."""

    done: ScaledPass | LogPass

    def roots(self) -> tuple[Tensor, Tensor]:
        return self.done.roots.relative, self.done.roots.offset


class _Scaled(_WithRoots):
    """The fast pass."""

    done: ScaledPass

    def __init__(self, program: FoldedProgram, tables: Tables, leaves: Tensor) -> None:
        self.program, self.tables = program.in_scans(tables, leaves)
        self.done = upward(self.program, self.tables, Value.of_leaves(leaves))
        self.is_lossy = self.done.is_lossy

    def flows(self, flow: Tensor) -> tuple[Tensor, Params]:
        leaves, counts = downward(self.program, self.tables, self.done, flow)
        return leaves, by_block(self.program.steps, counts)


class _ByValue(_WithRoots):
    """The fast pass with what depends on few variables by value."""

    done: ScaledPass

    def __init__(
        self, program: FoldedProgram, tables: Tables, leaves: Tensor, values: Values
    ) -> None:
        self.below, above = program.halves
        self.tables = tables.replaced(slices=self.below.slices)
        seen = values.columns(program.layout).only_seen(leaves)
        self.values = upward(self.below, self.tables, Value.of_leaves(seen))
        self.columns = values.columns(above.layout)
        log_scale = total_log_scale(
            self.below.root_offsets, [value.log_scale for value in self.values.values]
        )
        last = self.values.values[-1]
        read = self.columns.value_of_examples(last, log_scale)
        self.above, self.tables_above = above.in_scans(
            tables.replaced(slices=above.slices), read.regions
        )
        self.done = upward(self.above, self.tables_above, read)
        self.is_lossy = self.values.is_lossy | self.done.is_lossy

    def flows(self, flow: Tensor) -> tuple[Tensor, Params]:
        received, above = downward(self.above, self.tables_above, self.done, flow)
        flow = merge_axes(self.columns.by_value(received), 0, 2)
        leaves, below = downward(self.below, self.tables, self.values, flow)
        steps = *self.below.steps, *self.above.steps
        return leaves, by_block(steps, [*below, *above])


class _Folded:
    """The fast pass with the batch among the examples; see `_is_mostly_shared`."""

    def __init__(self, program: FoldedProgram, tables: Tables, leaves: Tensor) -> None:
        self._like = _with_batch(tables, leaves)
        folded = Value.of_leaves(fold_batch(self._like))
        self.done = upward(program, tables, folded, self._like)
        self.is_lossy = self.done.is_lossy
        self.program, self.tables = program, tables

    def roots(self) -> tuple[Tensor, Tensor]:
        return self._unfolded(self.done.roots.relative), self._unfolded(
            self.done.roots.offset
        )

    def flows(self, flow: Tensor) -> tuple[Tensor, Params]:
        shape = tf.concat([tf.shape(self._like)[:-3], tf.shape(flow)[-2:]], 0)
        flow = fold_batch(tf.broadcast_to(flow, shape)[..., tf.newaxis, :, :])[0]
        program, tables = self.program, self.tables
        leaves, counts = downward(program, tables, self.done, flow, self._like)
        return unfold_batch(leaves, self._like), by_block(program.steps, counts)

    def _unfolded(self, roots: Tensor) -> Tensor:
        """Moves the batch of the roots from the examples back to its axes."""
        return unfold_batch(roots[tf.newaxis], self._like)[..., 0, :, :]


class _InLogSpace(_WithRoots):
    """The exact pass, or the one of rules that do not follow the gradient."""

    done: LogPass

    def __init__(
        self,
        program: FoldedProgram,
        tables: Tables,
        leaves: Tensor,
        rule: SumRule | None,
        values: Values | None,
    ) -> None:
        self.values = values
        leaves = to_examples(leaves, values, program.layout)
        is_exact = tables.certainty.is_exact
        if is_exact:
            program, tables = program.in_scans(tables, leaves)
        self.done = log_upward(program, tables, leaves, is_exact)
        self.is_lossy = self.done.is_lossy
        self.program, self.tables = program, tables
        self._how = rule, is_exact

    def flows(self, flow: Tensor) -> tuple[Tensor, Params]:
        leaves, counts = log_downward(
            self.program, self.tables, self.done, flow, *self._how
        )
        leaves = to_values(leaves, self.values, self.program.layout)
        return leaves, by_block(self.program.steps, counts)


def _with_batch(tables: Tables, leaves: Tensor) -> Tensor:
    """Leaf values that have the batch of all tables."""
    batch = tables.batch_shape_above(leaves)
    static = leaves.shape[:-3]
    for weights in tables.weights.values():
        static = tf.broadcast_static_shape(static, weights.shape[:-3])
    shape = tf.concat([batch, tf.shape(leaves)[-3:]], 0)
    static = static.concatenate(leaves.shape[-3:])
    return tf.ensure_shape(tf.broadcast_to(leaves, shape), static)


def _is_mostly_shared(program: FoldedProgram, tables: Tables, leaves: Tensor) -> bool:
    """Whether only leaves and few of the weights have a batch, and leaves the whole."""
    batch = leaves.shape[:-3].as_list()
    cost = {True: 0, False: 0}
    for step in program.steps:
        if step.sums is None:
            continue
        rank = tables.weights[step.sums.parameter].shape.rank
        cost[rank > 3] += step.num_regions * step.num_inputs
        if rank > max(3, leaves.shape.rank) or step.sums.always_exact:
            return False
    return bool(batch) and 1 not in batch and cost[False] >= cost[True]
