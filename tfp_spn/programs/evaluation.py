"""The upward pass: from leaf values to the roots, and the way back of its gradient.

Pure functions of a program and its tables. `evaluate` is the sum-product pass: it runs
the fast pass (`tfp_spn.programs.scaled_pass`) and, where a check finds that a term was
lost to underflow, the exact one (`tfp_spn.programs.log_pass`); see
`tfp_spn.programs.certainty`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.bounds import region_log_cdf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.ops.conditional import stop_recording
from tfp_spn.ops.log_space import logsumexp, sum_to_shape_of
from tfp_spn.ops.matrix_products import fold_batch, unfold_batch
from tfp_spn.ops.sum_rules import SumOpGradBackprop, SumRule
from tfp_spn.programs.evidence import Evidence
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.log_pass import LogPass, log_downward, log_upward, max_upward
from tfp_spn.programs.scaled_pass import ScaledPass, downward, upward
from tfp_spn.programs.tables import Tables

_GRADIENT = SumOpGradBackprop()


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


def leaf_values(program: FoldedProgram, tables: Tables, evidence: Evidence) -> Tensor:
    """Log-values ``[..., R, K, N]`` of the leaf regions, hidden variables integrated."""
    leaf, layout, x = program.leaf, program.layout, evidence.x
    if evidence.bounded is None:
        return leaf.region_log_prob(tables.leaf, x, evidence.observed, layout)
    below = region_log_cdf(
        leaf, tables.leaf, x, evidence.bounded, layout, evidence.can_be_bounded
    )
    if evidence.observed is None:
        return below
    return below + leaf.region_log_prob(tables.leaf, x, evidence.observed, layout)


def log_base(program: FoldedProgram, evidence: Evidence) -> Tensor:
    """``[..., N]``: the factor that all components share; -inf outside the support."""
    if evidence.observed is None and evidence.bounded is not None:
        return tf.zeros_like(evidence.x[..., 0, 0, :])
    base = program.leaf.log_base(evidence.x)
    if evidence.observed is not None:
        base = tf.where(evidence.observed, base, tf.zeros_like(base))
    return tf.reduce_sum(base, axis=-2)


def possible_values(part: LeafPart, tables: Tables, evidence: Evidence) -> Tensor:
    """``[..., V', N]``: whether some component of a part can take each value."""
    x = part.leaf.safe_value(part.of_variable(evidence.x, -3))
    x = part.layout.gather_variables(x, axis=-3)
    log_prob = part.leaf.component_log_prob(part.params(tables.leaf), x)
    of_slot = tf.reduce_any(log_prob > -float("inf"), axis=-2, keepdims=True)
    ways = part.layout.sum_over_slots(tf.cast(of_slot, tf.int32))
    return ways[..., 0, :] > 0


def with_base(log_joint: Tensor, base: Tensor) -> Tensor:
    """``log_joint [..., C, N]`` and `base` together; no gradient where it is -inf."""
    base = base[..., tf.newaxis, :]
    impossible = tf.constant(-float("inf"), log_joint.dtype)
    return tf.where(base > impossible, log_joint + base, impossible)


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

    @tf.custom_gradient
    def run(leaves: Tensor, *log_weights: Tensor) -> tuple[tuple, Callable]:
        with stop_recording():
            passes = _Passes(program, tables, leaves, rule)
            roots = passes.roots()

        def backward(flow: Tensor, _: Tensor) -> list[Tensor]:
            return first_derivatives(flow, leaves, *log_weights)

        @tf.custom_gradient
        def first_derivatives(
            flow: Tensor, *sources: Tensor
        ) -> tuple[list[Tensor], Callable]:
            with stop_recording():
                flows = passes.flows(flow)
            # Of the present graph: that of the second derivatives sees no other one.
            flow, *sources = map(tf.identity, (flow, *sources))
            return flows, lambda *d_flows: _second_derivatives(
                program, tables, flow, sources, d_flows
            )

        return roots, backward

    relative, offset = run(leaves, *tables.log_weights.values())
    return Evaluation(_with_prior(tables, relative), offset)


def log_joint_of(program: FoldedProgram, tables: Tables, evidence: Evidence) -> Tensor:
    """``log p(x, class) [..., C, N]``."""
    leaves, base = leaf_values(program, tables, evidence), log_base(program, evidence)
    return with_base(evaluate(program, tables, leaves).log_joint, base)


class _Passes:
    """The passes of one evaluation, up and down, each as certain as is asked for."""

    def __init__(
        self,
        program: FoldedProgram,
        tables: Tables,
        leaves: Tensor,
        rule: SumRule | None,
    ) -> None:
        self.program, self.tables, self.rule = program, tables, rule
        self.leaves = leaves
        specs = [step.sums for step in program.steps if step.sums is not None]
        self.is_scaled = all((rule or spec.rule).is_gradient for spec in specs)
        self.is_exact = tables.certainty.is_exact
        self.folded = None
        self.done: ScaledPass | LogPass

    def roots(self) -> tuple[Tensor, Tensor]:
        """Log-values of the roots and their offset."""
        program, tables, leaves = self.program, self.tables, self.leaves
        if self.is_exact or not self.is_scaled:
            self.done = log_upward(program, tables, leaves, exact=self.is_exact)
        elif _is_mostly_shared(program, tables, leaves):
            self.folded = _with_batch(tables, leaves)
            folded = fold_batch(self.folded)
            self.done = upward(program, tables, folded, self.folded)
        else:
            self.done = upward(program, tables, leaves)
        roots = (self.done.roots.relative, self.done.roots.offset)
        if self.folded is not None:
            roots = tuple(
                unfold_batch(value[tf.newaxis], self.folded)[..., 0, :, :]
                for value in roots
            )
        if self.is_exact:
            return roots
        return tables.certainty.choose(self.done.is_lossy, self._exact_roots, roots)

    def flows(self, flow: Tensor) -> list[Tensor]:
        """Of leaves, and counts of weights by parameter, given that of the roots."""
        program, tables = self.program, self.tables
        if self.is_exact or not self.is_scaled:
            leaves, counts = log_downward(
                program, tables, self.done, flow, self.rule, self.is_exact
            )
        elif self.folded is not None:
            of_roots = fold_batch(
                tf.broadcast_to(flow, _batched_shape(flow, self.folded))
            )
            leaves, counts = downward(program, tables, self.done, of_roots, self.folded)
            leaves = unfold_batch(leaves, self.folded)
        else:
            leaves, counts = downward(program, tables, self.done, flow)
        flows = self._like_sources(leaves, counts)
        if self.is_exact:
            return flows
        return tables.certainty.choose(
            self.done.is_lossy, lambda: self._exact_flows(flow), flows
        )

    def _exact_roots(self) -> tuple[Tensor, Tensor]:
        roots = log_upward(self.program, self.tables, self.leaves).roots
        return roots.relative, roots.offset

    def _exact_flows(self, flow: Tensor) -> list[Tensor]:
        program, tables = self.program, self.tables
        done = log_upward(program, tables, self.leaves)
        leaves, counts = log_downward(program, tables, done, flow, self.rule)
        return self._like_sources(leaves, counts)

    def _like_sources(self, leaves: Tensor, counts: Sequence[Tensor]) -> list[Tensor]:
        by_parameter = self.program.by_parameter(counts)
        return [
            sum_to_shape_of(leaves, self.leaves),
            *(
                sum_to_shape_of(by_parameter[name], value, last_is_equal=False)
                for name, value in self.tables.log_weights.items()
            ),
        ]


def _second_derivatives(
    program: FoldedProgram,
    tables: Tables,
    flow: Tensor,
    sources: Sequence[Tensor],
    d_flows: Sequence[Tensor],
) -> list[Tensor]:
    """Of the flow of the roots and of the sources, by differentiating twice."""
    zero = tf.UnconnectedGradients.ZERO
    watched = [flow, *sources]
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(watched)
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(sources)
            leaves, *log_weights = sources
            weights = dict(zip(tables.weights, map(tf.exp, log_weights), strict=True))
            roots = upward(program, tables.replaced(weights=weights), leaves).roots
        first = inner.gradient(
            roots.relative, sources, flow, unconnected_gradients=zero
        )
    return outer.gradient(first, watched, d_flows, unconnected_gradients=zero)


def _with_batch(tables: Tables, leaves: Tensor) -> Tensor:
    """Leaf values that have the batch of all tables."""
    batch = tables.batch_shape_above(leaves)
    static = leaves.shape[:-3]
    for weights in tables.weights.values():
        static = tf.broadcast_static_shape(static, weights.shape[:-3])
    shape = tf.concat([batch, tf.shape(leaves)[-3:]], 0)
    static = static.concatenate(leaves.shape[-3:])
    return tf.ensure_shape(tf.broadcast_to(leaves, shape), static)


def _batched_shape(flow: Tensor, folded: Tensor) -> Tensor:
    """The shape of a flow of roots ``[..., C, N]`` with the batch of leaves."""
    return tf.concat([tf.shape(folded)[:-3], tf.shape(flow)[-2:]], 0)


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
    function: Callable[[Evaluation], Any],
) -> Any:
    """``function(evaluation)`` for a downward pass: with the inputs of all sums.

    They are units or their logarithms; `function` may be traced for both.
    """

    def from_exact() -> Any:
        done = log_upward(program, tables, leaves)
        relative = _with_prior(tables, done.roots.relative)
        return function(Evaluation(relative, done.roots.offset, done.inputs))

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


def mode_leaf_values(
    program: FoldedProgram, tables: Tables, evidence: Evidence
) -> Tensor:
    """Leaf values where unobserved variables take each component's modal density."""
    at_mode = program.leaf.component_mode_log_prob(tables.leaf)  # [..., L, K]
    return program.leaf.region_log_prob(
        tables.leaf, evidence.x, evidence.observed, program.layout, hidden=at_mode
    )


def _with_prior(tables: Tables, relative: Tensor) -> Tensor:
    if tables.log_prior is None:
        return relative
    return relative + tables.log_prior[..., tf.newaxis]
