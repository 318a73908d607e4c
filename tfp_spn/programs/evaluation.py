"""The upward pass: from leaf values to the roots, and the way back of its gradient.

Pure functions of a program and its tables. `evaluate` is the sum-product pass: it runs
the fast pass (`tfp_spn.programs.scaled_pass`) and, where a check finds that a term was
lost to underflow, the exact one (`tfp_spn.programs.log_pass`); see
`tfp_spn.ops.certainty`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.conditional import stop_recording
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import logsumexp, sum_to_shape_of
from tfp_spn.ops.matrix_products import fold_batch, unfold_batch
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.exact import ExactFlows, exact_inputs, exact_roots, exactly
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.log_pass import log_downward, log_upward, max_upward
from tfp_spn.programs.scaled_pass import downward, upward
from tfp_spn.programs.tables import Tables

T = TypeVar("T")

Nest = TypeVar("Nest")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Values of an upward pass.

    Attributes:
        relative: ``[..., C, N]``: ``log p(x, class) - offset``, without `log_base`.
        offset: float64 ``[..., 1, N]``.
        inputs: ``[..., R, I, N]`` of each step: what its sums range over, up to a
            constant per region and example; empty unless they were asked for.
        is_log: Whether `inputs` are logarithms.
    """

    relative: Tensor
    offset: Tensor
    inputs: list[Tensor] = dataclasses.field(default_factory=list)
    is_log: bool = True

    @property
    def log_joint(self) -> Tensor:
        """``log p(x, class) [..., C, N]``."""
        return self.relative + tf.cast(self.offset, self.relative.dtype)

    @property
    def log_prob(self) -> Tensor:
        """``[..., N]``."""
        if self.relative.shape[-2] == 1:
            return self.log_joint[..., 0, :]
        log_prob = logsumexp(self.relative, axis=-2)
        return log_prob + tf.cast(self.offset[..., 0, :], log_prob.dtype)

    def with_base(self, base: Tensor) -> Tensor:
        """`log_joint` with `log_base` ``[..., N]``; no gradient where that is -inf."""
        base = base[..., tf.newaxis, :]
        # Both may be large where together they are not.
        whole = dataclasses.replace(self, offset=self.offset + base)
        impossible = tf.constant(-float("inf"), self.relative.dtype)
        return tf.where(tf.math.is_finite(base), whole.log_joint, impossible)


def evaluate(
    program: FoldedProgram, tables: Tables, leaves: Tensor, rule: SumRule | None = None
) -> Evaluation:
    """The sum-product pass.

    Gradients flow to the leaf values, and to `Tables.log_weights` as counts.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        rule: Learning rule in place of the steps' own.

    Returns:
        The values, without `log_base`.
    """

    @custom_gradient
    def run(leaves: Tensor, *log_weights: Tensor) -> tuple[tuple, Callable]:
        with stop_recording():
            passes = _Passes(program, tables.in_this_graph(), leaves, rule)
            roots = passes.roots()

        def backward(flow: Tensor, _: Tensor) -> list[Tensor]:
            return first_derivatives(flow, leaves, *log_weights)

        @custom_gradient
        def first_derivatives(
            flow: Tensor, *sources: Tensor
        ) -> tuple[list[Tensor], Callable]:
            with stop_recording():
                flows = passes.flows(flow)
            # Of the present graph: that of the second derivatives sees no other one.
            flow, copies = tf.identity(flow), [tf.identity(value) for value in sources]
            return flows, lambda *d_flows: _second_derivatives(
                program, tables, flow, copies, d_flows
            )

        return roots, backward

    relative, offset = run(leaves, *tables.log_weights.values())
    return Evaluation(_with_prior(tables, relative), offset)


def log_joint_of(program: FoldedProgram, tables: Tables, evidence: Evidence) -> Tensor:
    """``log p(x, class) [..., C, N]``."""
    leaves = program.leaf_values(tables, evidence)
    base = program.leaf.log_base_of(evidence)
    return evaluate(program, tables, leaves).with_base(base)


class _Passes:
    """The passes of one evaluation, up and down, each as certain as is asked for."""

    def __init__(
        self,
        program: FoldedProgram,
        tables: Tables,
        leaves: Tensor,
        rule: SumRule | None,
    ) -> None:
        self.program, self.tables = program, tables
        self.leaves, self.rule = leaves, rule
        specs = [step.sums for step in program.steps if step.sums is not None]
        is_exact = tables.certainty.is_exact
        self.done: _Done
        if is_exact or not all((rule or spec.rule).is_gradient for spec in specs):
            self.done = _InLogSpace(program, tables, leaves, rule, is_exact)
        elif _is_mostly_shared(program, tables, leaves):
            self.done = _Folded(program, tables, leaves)
        else:
            self.done = _Scaled(*program.in_scans(tables, leaves), leaves)

    def roots(self) -> tuple[Tensor, Tensor]:
        """Log-values of the roots and their offset."""
        fast = self.done.roots()

        def exact() -> tuple[Tensor, Tensor]:
            return self._traced(exact_roots)

        return self._certain(exact, fast)

    def flows(self, flow: Tensor) -> list[Tensor]:
        """Returns flows of leaves and counts by parameter, given the roots' flow."""
        leaves, counts = self.done.flows(flow)
        fast = self._like_sources(leaves, self.done.program.by_block(counts))

        def exact() -> list[Tensor]:
            return self._like_sources(*self._traced(ExactFlows(self.rule), flow))

        return self._certain(exact, fast)

    def _certain(self, exact: Callable[[], Nest], fast: Nest) -> Nest:
        """Returns what is exact, if what is fast may have lost digits."""
        certainty = self.tables.certainty
        if certainty.is_exact:
            return fast
        return certainty.choose(self.done.is_lossy, exact, fast)

    def _traced(self, body: Callable, *arguments: Tensor) -> Tensor:
        """Calls the exact pass as a function that all queries share."""
        return exactly(self.program, body, self.tables, self.leaves, *arguments)

    def _like_sources(self, leaves: Tensor, counts: Params) -> list[Tensor]:
        """Sums gradients over the axes along which their sources were broadcast."""
        return [
            sum_to_shape_of(leaves, self.leaves),
            *(
                sum_to_shape_of(counts[name], value, last_is_equal=False)
                for name, value in self.tables.log_weights.items()
            ),
        ]


class _Done(Protocol):
    """An upward pass that has been done.

    Attributes:
        program: Its steps.
        is_lossy: Scalar bool: whether digits may have been lost.
    """

    program: FoldedProgram

    is_lossy: Tensor

    def roots(self) -> tuple[Tensor, Tensor]:
        """Log-values of the roots ``[..., C, N]`` and their offset."""

    def flows(self, flow: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the flows of leaves, and the counts of each step's weights."""


class _Scaled:
    """The fast pass."""

    def __init__(self, program: FoldedProgram, tables: Tables, leaves: Tensor) -> None:
        self.done = upward(program, tables, leaves)
        self.is_lossy = self.done.is_lossy
        self.program, self._tables = program, tables

    def roots(self) -> tuple[Tensor, Tensor]:
        return self.done.roots.relative, self.done.roots.offset

    def flows(self, flow: Tensor) -> tuple[Tensor, list[Tensor]]:
        return downward(self.program, self._tables, self.done, flow)


class _Folded:
    """The fast pass with the batch among the examples; see `_is_mostly_shared`."""

    def __init__(self, program: FoldedProgram, tables: Tables, leaves: Tensor) -> None:
        self._like = _with_batch(tables, leaves)
        self.done = upward(program, tables, fold_batch(self._like), self._like)
        self.is_lossy = self.done.is_lossy
        self.program, self._tables = program, tables

    def roots(self) -> tuple[Tensor, Tensor]:
        return self._unfolded(self.done.roots.relative), self._unfolded(
            self.done.roots.offset
        )

    def flows(self, flow: Tensor) -> tuple[Tensor, list[Tensor]]:
        shape = tf.concat([tf.shape(self._like)[:-3], tf.shape(flow)[-2:]], 0)
        flow = fold_batch(tf.broadcast_to(flow, shape)[..., tf.newaxis, :, :])[0]
        program, tables = self.program, self._tables
        leaves, counts = downward(program, tables, self.done, flow, self._like)
        return unfold_batch(leaves, self._like), counts

    def _unfolded(self, roots: Tensor) -> Tensor:
        """Moves the batch of the roots from the examples back to its axes."""
        return unfold_batch(roots[tf.newaxis], self._like)[..., 0, :, :]


class _InLogSpace:
    """The exact pass, or the one of rules that do not follow the gradient."""

    def __init__(
        self,
        program: FoldedProgram,
        tables: Tables,
        leaves: Tensor,
        rule: SumRule | None,
        is_exact: bool,
    ) -> None:
        if is_exact:
            program, tables = program.in_scans(tables, leaves)
        self.done = log_upward(program, tables, leaves, is_exact)
        self.is_lossy = self.done.is_lossy
        self.program, self._tables = program, tables
        self._how = rule, is_exact

    def roots(self) -> tuple[Tensor, Tensor]:
        return self.done.roots.relative, self.done.roots.offset

    def flows(self, flow: Tensor) -> tuple[Tensor, list[Tensor]]:
        return log_downward(self.program, self._tables, self.done, flow, *self._how)


def _second_derivatives(
    program: FoldedProgram,
    tables: Tables,
    flow: Tensor,
    sources: Sequence[Tensor],
    d_flows: Sequence[Tensor],
) -> list[Tensor]:
    """Returns how the flow of the roots and of the sources changes.

    In a graph and without tapes: where `tf.autodiff.ForwardAccumulator` asks for them,
    TensorFlow records nothing.
    """
    num_sources = len(sources)

    def derivatives(*given: Tensor) -> list[Tensor]:
        zero = tf.UnconnectedGradients.ZERO
        flow, *rest = map(tf.identity, given)  # of this graph
        sources, d_flows = rest[:num_sources], rest[num_sources:]
        exps = map(tf.exp, sources[1:])
        weights = dict(zip(tables.weights, exps, strict=True))
        roots = upward(program, tables.replaced(weights=weights), sources[0]).roots
        first = tf.gradients(roots.relative, sources, flow, unconnected_gradients=zero)
        return tf.gradients(
            first, [flow, *sources], d_flows, unconnected_gradients=zero
        )

    if tf.executing_eagerly():
        derivatives = tf.function(derivatives, autograph=False)
    return derivatives(flow, *sources, *d_flows)


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


def with_inputs(
    program: FoldedProgram,
    tables: Tables,
    leaves: Tensor,
    function: Callable[[Evaluation], T],
) -> T:
    """``function(evaluation)`` for a downward pass: with the inputs of all sums.

    They are units or their logarithms; `function` may be traced for both.
    """

    def from_exact() -> T:
        relative, offset, inputs = exactly(program, exact_inputs, tables, leaves)
        return function(Evaluation(_with_prior(tables, relative), offset, inputs))

    if tables.certainty.is_exact:
        return from_exact()
    done = upward(program, tables, leaves, keep_inputs=True)
    relative = _with_prior(tables, done.roots.relative)
    fast = Evaluation(relative, done.roots.offset, done.inputs, is_log=False)
    return tables.certainty.choose(done.is_lossy, from_exact, function(fast))


def evaluate_max(program: FoldedProgram, tables: Tables, leaves: Tensor) -> Evaluation:
    """The max-product pass: each sum takes its best weighted child."""
    done = max_upward(program, tables, leaves)
    relative = _with_prior(tables, done.roots.relative)
    return Evaluation(relative, done.roots.offset, done.inputs)


def _with_prior(tables: Tables, relative: Tensor) -> Tensor:
    """Adds the log-prior of the classes, if there is one."""
    if tables.log_prior is None:
        return relative
    return relative + tables.log_prior[..., tf.newaxis]
