"""The upward pass: from leaf values to the roots.

Pure functions of a program and its tables. `evaluate` is the sum-product pass: it runs
the fast pass (`tfp_spn.circuits.scaled_pass`) and, where a check finds that a term was
lost to underflow, runs again in the exact one (`tfp_spn.circuits.log_pass`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.examples import Evidence
from tfp_spn.circuits.log_pass import log_pass, max_pass
from tfp_spn.circuits.program import Program, Tables
from tfp_spn.circuits.scaled_pass import scaled_pass
from tfp_spn.ops.conditional import Sources, with_fallback
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.ops.matrix_products import fold_batch, unfold_batch
from tfp_spn.ops.sum_rules import SumRule


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


def leaf_values(
    program: Program, tables: Tables, x: Tensor, observed: Tensor | None
) -> Tensor:
    """Log-values ``[..., R, K, N]`` of the leaf regions, unobserved ones integrated.

    Args:
        program: The circuit.
        tables: Its parameters.
        x: ``[..., V, D, N]``.
        observed: bool ``[..., V, N]``, or `None` when everything is observed.
    """
    return _region_log_prob(program, tables, x, observed)


def _region_log_prob(
    program: Program,
    tables: Tables,
    x: Tensor,
    observed: Tensor | None,
    hidden: Tensor | None = None,
) -> Tensor:
    layout = program.layout
    values = program.leaf.region_log_prob(
        tables.leaf, x, observed, layout.pieces, hidden
    )
    return layout.sum_over_pieces(values)


def log_base(program: Program, x: Tensor, observed: Tensor | None) -> Tensor:
    """The factor that all components share, float64 ``[..., N]``.

    It is -inf outside the support.
    """
    base = program.leaf.log_base(x)
    if observed is not None:
        base = tf.where(observed, base, tf.zeros_like(base))
    return tf.reduce_sum(tf.cast(base, tf.float64), axis=-2)


def with_base(evaluation: Evaluation, base: Tensor) -> Tensor:
    """`log_joint` with `log_base`; no gradient where that is -inf."""
    base = base[..., tf.newaxis, :]
    # Both may be large where together they are not.
    whole = dataclasses.replace(evaluation, offset=evaluation.offset + base)
    impossible = tf.constant(-float("inf"), evaluation.relative.dtype)
    return tf.where(tf.math.is_finite(base), whole.log_joint, impossible)


def evaluate(
    program: Program, tables: Tables, leaves: Tensor, rule: SumRule | None = None
) -> Evaluation:
    """The sum-product pass.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        rule: Learning rule in place of the steps' own.

    Returns:
        The values, without `log_base`.
    """
    specs = [spec for spec in tables.specs if spec is not None]
    is_gradient = all((rule or spec.rule).is_gradient for spec in specs)

    def fast(sources: Sources) -> tuple[Tensor, Tensor, Tensor]:
        leaves, tables = _from_sources(sources)
        if is_gradient:
            return _fast_roots(program, tables, leaves)
        _, roots, is_lossy = log_pass(program, tables, leaves, rule, exact=False)
        return *roots, is_lossy

    def exact(sources: Sources) -> tuple[Tensor, Tensor]:
        leaves, tables = _from_sources(sources)
        return log_pass(program, tables, leaves, rule)[1]

    def _from_sources(sources: Sources) -> tuple[Tensor, Tables]:
        [leaves], accumulators, taps = sources
        replaced = dataclasses.replace(
            tables,
            accumulators=_spread(accumulators, tables),
            taps=_spread(taps, tables) if taps else [],
        )
        return leaves, replaced

    taps = [tap for tap in tables.taps if tap is not None]
    sources = [[leaves], [a for a in tables.accumulators if a is not None], taps]
    relative, offset = with_fallback(fast, exact, sources)
    return Evaluation(_with_prior(tables, relative), offset)


def log_joint_of(program: Program, tables: Tables, evidence: Evidence) -> Tensor:
    """``log p(x, class) [..., C, N]``."""
    leaves = leaf_values(program, tables, evidence.x, evidence.observed)
    base = log_base(program, evidence.x, evidence.observed)
    return with_base(evaluate(program, tables, leaves), base)


def _fast_roots(
    program: Program, tables: Tables, leaves: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Roots and whether they are lossy; circuits of a batch as further examples."""
    if not _is_mostly_shared(program, tables, leaves):
        result = scaled_pass(program, tables, leaves)
        return *result.roots, result.is_lossy
    batch = tables.batch_shape(leaves)
    static = leaves.shape[:-3]
    for accumulators in tables.accumulators:
        if accumulators is not None:
            static = tf.broadcast_static_shape(static, accumulators.shape[:-3])
    static = static.concatenate(leaves.shape[-3:])
    leaves = tf.broadcast_to(leaves, tf.concat([batch, tf.shape(leaves)[-3:]], 0))
    leaves = tf.ensure_shape(leaves, static)
    result = scaled_pass(program, tables, fold_batch(leaves), folded=leaves)
    relative, offset = (
        unfold_batch(value[tf.newaxis], leaves)[..., 0, :, :] for value in result.roots
    )
    return relative, offset, result.is_lossy


def _is_mostly_shared(program: Program, tables: Tables, leaves: Tensor) -> bool:
    """Whether only leaves and few of the weights have a batch, and leaves the whole."""
    batch = leaves.shape[:-3].as_list()
    cost = {True: 0, False: 0}
    for step, accumulators in zip(program.steps, tables.accumulators, strict=True):
        if accumulators is None:
            continue
        has_batch = accumulators.shape.rank > 3
        cost[has_batch] += step.num_regions * step.num_inputs
        if has_batch and accumulators.shape.rank > leaves.shape.rank:
            return False
    return bool(batch) and 1 not in batch and cost[False] >= cost[True]


def with_inputs(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    function: Callable[[Evaluation], Any],
) -> Any:
    """``function(evaluation)`` for a downward pass: with the inputs of all sums.

    They are units or their logarithms; `function` is traced for both.
    """
    scaled = scaled_pass(program, tables, leaves, with_inputs=True)

    def from_fast() -> Any:
        relative, offset = scaled.roots
        relative = _with_prior(tables, relative)
        return function(Evaluation(relative, offset, scaled.inputs, is_log=False))

    def from_exact() -> Any:
        inputs, (relative, offset), _ = log_pass(program, tables, leaves)
        return function(Evaluation(_with_prior(tables, relative), offset, inputs))

    return tf.cond(scaled.is_lossy, from_exact, from_fast)


def evaluate_max(program: Program, tables: Tables, leaves: Tensor) -> Evaluation:
    """The max-product pass: each sum takes its best weighted child."""
    inputs, (relative, offset) = max_pass(program, tables, leaves)
    return Evaluation(_with_prior(tables, relative), offset, inputs)


def mode_leaf_values(
    program: Program, tables: Tables, x: Tensor, observed: Tensor
) -> Tensor:
    """Leaf values where unobserved variables take each component's modal density."""
    at_mode = program.leaf.component_mode_log_prob(tables.leaf)  # [..., L, K]
    return _region_log_prob(program, tables, x, observed, hidden=at_mode)


def _spread(values: Any, tables: Tables) -> list[Tensor | None]:
    """One value for each step that has sums."""
    remaining = iter(values)
    return [None if spec is None else next(remaining) for spec in tables.specs]


def _with_prior(tables: Tables, relative: Tensor) -> Tensor:
    if tables.log_prior is None:
        return relative
    return relative + tables.log_prior[..., tf.newaxis]
