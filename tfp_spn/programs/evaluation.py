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
from typing import TypeVar

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.conditional import stop_recording
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import is_finite, logsumexp, sum_to_shape_of
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.by_value import (
    LeafInputs,
    Values,
    by_value,
    to_examples,
    to_values,
)
from tfp_spn.programs.exact import ExactFlows, exact_inputs, exact_roots, exactly
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.log_pass import max_upward
from tfp_spn.programs.passes import upward_pass
from tfp_spn.programs.scaled_pass import upward
from tfp_spn.programs.scaled_values import Value
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
        return tf.where(is_finite(base), whole.log_joint, impossible)


def evaluate(
    program: FoldedProgram,
    tables: Tables,
    leaves: Tensor,
    rule: SumRule | None = None,
    values: Values | None = None,
) -> Evaluation:
    """The sum-product pass.

    Gradients flow to the leaf values, and to `Tables.log_weights` as counts.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        rule: Learning rule in place of the steps' own.
        values: Which values the examples have, if `leaves` are ``[R, K, C]`` of these.

    Returns:
        The values, without `log_base`.
    """

    @custom_gradient
    def run(leaves: Tensor, *log_weights: Tensor) -> tuple[tuple, Callable]:
        with stop_recording():
            passes = _Passes(program, tables.in_this_graph(), leaves, rule, values)
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
            copied = None if values is None else values.copied()
            return flows, lambda *d_flows: _second_derivatives(
                program, tables, flow, copies, d_flows, copied
            )

        return roots, backward

    relative, offset = run(leaves, *tables.log_weights.values())
    return Evaluation(_with_prior(tables, relative), offset)


def log_joint_of(program: FoldedProgram, tables: Tables, evidence: Evidence) -> Tensor:
    """``log p(x, class) [..., C, N]``."""
    inputs = by_value(program, tables, evidence)
    leaves = inputs.log_values(program, tables)
    base = program.leaf.log_base_of(evidence)
    return evaluate_inputs(program, tables, inputs, leaves).with_base(base)


def evaluate_inputs(
    program: FoldedProgram, tables: Tables, inputs: LeafInputs, leaves: Tensor
) -> Evaluation:
    """`evaluate` of ``inputs.log_values(program, tables)``, which `leaves` are."""
    regions = inputs.of_regions(program, leaves)
    return evaluate(program, tables, regions, values=inputs.values)


class _Passes:
    """The passes of one evaluation, up and down, each as certain as is asked for."""

    def __init__(
        self,
        program: FoldedProgram,
        tables: Tables,
        leaves: Tensor,
        rule: SumRule | None,
        values: Values | None,
    ) -> None:
        self.program, self.tables = program, tables
        self.leaves, self.rule = leaves, rule
        self.values = values
        self.done = upward_pass(program, tables, leaves, rule, values)

    def roots(self) -> tuple[Tensor, Tensor]:
        """Log-values of the roots and their offset."""
        fast = self.done.roots()

        def exact() -> tuple[Tensor, Tensor]:
            return self._traced(exact_roots)

        return self._certain(exact, fast)

    def flows(self, flow: Tensor) -> list[Tensor]:
        """Returns flows of leaves and counts by parameter, given the roots' flow."""
        fast = self._like_sources(*self.done.flows(flow))

        def exact() -> list[Tensor]:
            leaves, counts = self._traced(ExactFlows(self.rule), flow)
            leaves = to_values(leaves, self.values, self.program.layout)
            return self._like_sources(leaves, counts)

        return self._certain(exact, fast)

    def _certain(self, exact: Callable[[], Nest], fast: Nest) -> Nest:
        """Returns what is exact, if what is fast may have lost digits."""
        certainty = self.tables.certainty
        if certainty.is_exact:
            return fast
        return certainty.choose(self.done.is_lossy, exact, fast)

    def _traced(self, body: Callable, *arguments: Tensor) -> Tensor:
        """Calls the exact pass as a function that all queries share."""
        leaves = to_examples(self.leaves, self.values, self.program.layout)
        return exactly(self.program, body, self.tables, leaves, *arguments)

    def _like_sources(self, leaves: Tensor, counts: Params) -> list[Tensor]:
        """Sums gradients over the axes along which their sources were broadcast."""
        return [
            sum_to_shape_of(leaves, self.leaves),
            *(
                sum_to_shape_of(counts[name], value, last_is_equal=False)
                for name, value in self.tables.log_weights.items()
            ),
        ]


def _second_derivatives(
    program: FoldedProgram,
    tables: Tables,
    flow: Tensor,
    sources: Sequence[Tensor],
    d_flows: Sequence[Tensor],
    values: Values | None,
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
        leaves = to_examples(sources[0], values, program.layout)
        with_weights = tables.replaced(weights=weights)
        roots = upward(program, with_weights, Value.of_leaves(leaves)).roots
        first = tf.gradients(roots.relative, sources, flow, unconnected_gradients=zero)
        return tf.gradients(
            first, [flow, *sources], d_flows, unconnected_gradients=zero
        )

    if tf.executing_eagerly():
        derivatives = tf.function(derivatives, autograph=False)
    return derivatives(flow, *sources, *d_flows)


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
    done = upward(program, tables, Value.of_leaves(leaves), keep_inputs=True)
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
