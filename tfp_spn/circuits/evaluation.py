"""The upward pass: from leaf values to the roots, in log space.

Inside the pass a region's units are kept relative to an offset per region and example,
which is added up in float64: what decides between units, classes and partitions then
keeps its digits, however many variables a region covers.

Pure functions of a program and its tables. `evaluate` is the sum-product pass; it runs
the fast kernel and, where a check finds that a term was lost to underflow, runs again
in the exact one. `evaluate_max` is the max-product pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.program import Gather, Program, Step, Tables
from tfp_spn.ops.conditional import pullback, replaced_if, stop_recording
from tfp_spn.ops.log_space import finite_max, logsumexp
from tfp_spn.ops.products import hadamard, kronecker
from tfp_spn.ops.regions import take_regions, take_units
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weighted_sum import (
    relative_weighted_sum,
    underflows,
    weighted_max,
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Values of an upward pass.

    Attributes:
        inputs: ``[..., R, I, N]`` of each step: what its sums range over, up to a
            constant per region and example; empty unless they were asked for.
        relative: ``[..., C, N]``: ``log p(x, class) - offset``, without `log_base`.
        offset: float64 ``[..., 1, N]``.
    """

    inputs: list[Tensor]
    relative: Tensor
    offset: Tensor

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
    return program.leaf.region_log_prob(tables.leaf, x, observed, program.layout)


def log_base(program: Program, x: Tensor, observed: Tensor | None) -> Tensor:
    """``[..., N]``: the factor that all components share; -inf outside the support."""
    base = program.leaf.log_base(x)
    if observed is not None:
        base = tf.where(observed, base, tf.zeros_like(base))
    return tf.reduce_sum(base, axis=-2)


def with_base(log_joint: Tensor, base: Tensor) -> Tensor:
    """``log_joint [..., C, N]`` and `base` together; no gradient where it is -inf."""
    base = base[..., tf.newaxis, :]
    impossible = tf.constant(-float("inf"), log_joint.dtype)
    return tf.where(base > impossible, log_joint + base, impossible)


def evaluate(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    rule: SumRule | None = None,
    keep_inputs: bool = False,
) -> Evaluation:
    """The sum-product pass.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        rule: Learning rule in place of the steps' own.
        keep_inputs: Whether to return what a downward pass needs.

    Returns:
        The values, without `log_base`.
    """
    sums = [n for n, log_w in enumerate(tables.log_weights) if log_w is not None]

    def upward(leaves: Tensor, *log_w: Tensor, exact: bool) -> tuple:
        log_weights = list(tables.log_weights)
        for number, value in zip(sums, log_w, strict=True):
            log_weights[number] = value
        replaced = dataclasses.replace(tables, log_weights=log_weights)
        return _upward(program, replaced, leaves, rule, exact)

    def exact_roots(*sources: Tensor) -> Tensor:
        return upward(*sources, exact=True)[1][0]

    kept: list[Tensor] = []

    @tf.custom_gradient
    def run(*sources: Tensor) -> tuple[tuple[Tensor, Tensor], Callable]:
        with tf.GradientTape(True, watch_accessed_variables=False) as tape:
            tape.watch(sources)
            inputs, fast, is_lossy = upward(*sources, exact=False)
        with stop_recording():
            if keep_inputs:
                inputs, roots = tf.cond(
                    is_lossy,
                    lambda: upward(*sources, exact=True)[:2],
                    lambda: (inputs, fast),
                )
                kept.extend(inputs)
            else:
                roots = tf.cond(
                    is_lossy, lambda: upward(*sources, exact=True)[1], lambda: fast
                )

        def backward(flow: Tensor, _: Tensor) -> list[Tensor]:
            flows = tape.gradient(
                fast[0],
                list(sources),
                flow,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            fixed = [tf.stop_gradient(source) for source in sources]
            fixed_flow = tf.stop_gradient(flow)
            return replaced_if(
                is_lossy, lambda: pullback(exact_roots, fixed, fixed_flow), flows
            )

        return roots, backward

    relative, offset = run(leaves, *(tables.log_weights[number] for number in sums))
    return Evaluation(kept, _with_prior(tables, relative), offset)


def evaluate_max(program: Program, tables: Tables, leaves: Tensor) -> Evaluation:
    """The max-product pass: each sum takes its best weighted child."""
    values, offsets, inputs = *_initial(leaves), []
    for step, log_w in zip(program.steps, tables.log_weights, strict=True):
        log_x, offset = step_inputs(step, values, offsets)
        inputs.append(log_x)
        values.append(log_x if log_w is None else weighted_max(log_x, log_w))
        offsets.append(offset)
    relative, offset = _roots(program, values, offsets)
    return Evaluation(inputs, _with_prior(tables, relative), offset)


def mode_leaf_values(
    program: Program, tables: Tables, x: Tensor, observed: Tensor
) -> Tensor:
    """Leaf values where unobserved variables take each component's modal density."""
    values = leaf_values(program, tables, x, observed)
    at_mode = program.leaf.component_mode_log_prob(tables.leaf)  # [..., L, K]
    layout = program.layout
    hidden = layout.gather_variables(tf.cast(~observed, values.dtype), axis=-2)
    return values + tf.matmul(
        layout.group_by_region(at_mode[..., tf.newaxis, :]),  # [..., R, W, K]
        layout.group_by_region(hidden[..., tf.newaxis, :]),  # [..., R, W, N]
        transpose_a=True,
    )


def step_inputs(
    step: Step, values: list[Tensor], offsets: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Products of all partitions of a step's regions.

    Args:
        step: The step.
        values: Values computed so far, relative to their offsets.
        offsets: float64 ``[..., R, 1, N]`` of each value.

    Returns:
        ``[..., R, I, N]``, and its offset ``[..., R, 1, N]``.
    """
    units = _products(step, values)
    offset = hadamard(_factors(step, offsets))
    if step.num_partitions == 1:
        return units, offset
    by_partition = _split_regions(offset, step.num_regions)  # [..., R, H, 1, N]
    largest = tf.reduce_max(by_partition, axis=-3, keepdims=True)
    units = _split_regions(units, step.num_regions)
    units += tf.cast(by_partition - largest, units.dtype)
    return _merge_units(units), largest[..., 0, :, :]


def _products(step: Step, values: list[Tensor]) -> Tensor:
    """Units of all partitions, ``[..., R * H, P, N]``."""
    factors = _factors(step, values)
    if step.factor_units is not None:
        factors = [
            take_units(factor, units)
            for factor, units in zip(factors, step.factor_units, strict=True)
        ]
    return kronecker(factors) if step.product == "kronecker" else hadamard(factors)


def _split_regions(value: Tensor, num_regions: int) -> Tensor:
    """``[..., R * H, K, N]`` to ``[..., R, H, K, N]``."""
    batch, tail = tf.shape(value)[:-3], tf.shape(value)[-2:]
    count = value.shape[-3] // num_regions
    result = tf.reshape(value, tf.concat([batch, [num_regions, count], tail], 0))
    static = value.shape[:-3].concatenate([num_regions, count, *value.shape[-2:]])
    return tf.ensure_shape(result, static)


def _merge_units(value: Tensor) -> Tensor:
    """``[..., R, H, K, N]`` to ``[..., R, H * K, N]``."""
    batch, last = tf.shape(value)[:-3], tf.shape(value)[-1:]
    count = value.shape[-3] * value.shape[-2]
    result = tf.reshape(value, tf.concat([batch, [count], last], 0))
    return tf.ensure_shape(
        result, value.shape[:-3].concatenate([count, value.shape[-1]])
    )


def gather_regions(gather: Gather, values: list[Tensor]) -> Tensor:
    """The regions that `gather` names, from the values computed so far."""
    sources = [values[source] for source in gather.sources]
    value = sources[0] if len(sources) == 1 else concat_regions(sources)
    if gather.bounds == (0, gather.sizes[0]):
        return value
    return take_regions(value, gather.index)


def _factors(step: Step, values: list[Tensor]) -> list[Tensor]:
    """The children of each factor; halves of one value where that is what they are."""
    bounds = [gather.bounds for gather in step.factors]
    sources = {gather.sources for gather in step.factors}
    if len(sources) == 1 and len(bounds) > 1 and None not in bounds:
        size, count = step.factors[0].sizes[0], len(step.factors[0].index)
        if bounds == [(a, a + count) for a in range(0, size, count)]:
            value = values[step.factors[0].sources[0]]
            return tf.split(value, len(bounds), axis=-3)
    return [gather_regions(gather, values) for gather in step.factors]


def concat_regions(values: list[Tensor]) -> Tensor:
    """Concatenates along the region axis; other leading axes broadcast."""
    batches = [value.shape[:-3] for value in values]
    if any(batch != batches[0] for batch in batches):
        shape = tf.shape(values[0])[:-3]
        for value in values[1:]:
            shape = tf.broadcast_dynamic_shape(shape, tf.shape(value)[:-3])
        values = [
            tf.broadcast_to(value, tf.concat([shape, tf.shape(value)[-3:]], 0))
            for value in values
        ]
    return tf.concat(values, axis=-3)


def _initial(leaves: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Leaf values relative to the largest unit of each region, and their offsets."""
    maximum = finite_max(leaves, -2)
    return [leaves - maximum], [tf.cast(maximum, tf.float64)]


def _upward(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    rule: SumRule | None,
    exact: bool,
) -> tuple[list[Tensor], tuple[Tensor, Tensor], Tensor]:
    values, offsets = _initial(leaves)
    inputs, lossy = [], [tf.constant(False)]
    for step, log_w in zip(program.steps, tables.log_weights, strict=True):
        log_x, offset = step_inputs(step, values, offsets)
        inputs.append(log_x)
        if log_w is not None and step.sums is not None:
            is_exact = exact or step.sums.always_exact
            log_y, maximum = relative_weighted_sum(
                log_x, log_w, rule or step.sums.rule, exact=is_exact
            )
            if not is_exact:
                lossy.append(underflows(log_x, log_y))
            log_x, offset = log_y, offset + tf.cast(maximum, tf.float64)
        values.append(log_x)
        offsets.append(offset)
    roots = _roots(program, values, offsets)
    return inputs, roots, tf.reduce_any(tf.stack(lossy))


def _roots(
    program: Program, values: list[Tensor], offsets: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """``[..., C, N]``: units of the root regions, in order; offset ``[..., 1, N]``."""
    roots = gather_regions(program.root, values)
    offset = gather_regions(program.root, offsets)
    largest = tf.reduce_max(offset, axis=-3, keepdims=True)
    roots += tf.cast(offset - largest, roots.dtype)
    return _merge_units(roots), largest[..., 0, :, :]


def _with_prior(tables: Tables, relative: Tensor) -> Tensor:
    if tables.log_prior is None:
        return relative
    return relative + tables.log_prior[..., tf.newaxis]
