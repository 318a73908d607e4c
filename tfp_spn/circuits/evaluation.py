"""The upward pass: from leaf values to the roots, in log space.

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
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.ops.products import hadamard, kronecker
from tfp_spn.ops.regions import take_regions
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weighted_sum import underflows, weighted_max, weighted_sum


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Values of an upward pass.

    Attributes:
        inputs: ``[..., R, I, N]`` of each step: what its sums range over; empty
            unless they were asked for.
        log_joint: ``[..., C, N]``: ``log p(x, class)``, without `log_base`.
    """

    inputs: list[Tensor]
    log_joint: Tensor

    @property
    def log_prob(self) -> Tensor:
        """``[..., N]``."""
        if self.log_joint.shape[-2] == 1:
            return self.log_joint[..., 0, :]
        return logsumexp(self.log_joint, axis=-2)


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
        return upward(*sources, exact=True)[1]

    kept: list[Tensor] = []

    @tf.custom_gradient
    def run(*sources: Tensor) -> tuple[Tensor, Callable]:
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
                roots = tf.cond(is_lossy, lambda: exact_roots(*sources), lambda: fast)

        def backward(flow: Tensor) -> list[Tensor]:
            flows = tape.gradient(
                fast,
                list(sources),
                flow,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            return replaced_if(
                is_lossy, lambda: pullback(exact_roots, sources, flow), flows
            )

        return roots, backward

    roots = run(leaves, *(tables.log_weights[number] for number in sums))
    return Evaluation(kept, _log_joint(program, tables, roots))


def evaluate_max(program: Program, tables: Tables, leaves: Tensor) -> Evaluation:
    """The max-product pass: each sum takes its best weighted child."""
    values, inputs = [leaves], []
    for step, log_w in zip(program.steps, tables.log_weights, strict=True):
        log_x = step_inputs(step, values)
        inputs.append(log_x)
        values.append(log_x if log_w is None else weighted_max(log_x, log_w))
    return Evaluation(inputs, _log_joint(program, tables, _roots(program, values)))


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


def step_inputs(step: Step, values: list[Tensor]) -> Tensor:
    """Products of all partitions of a step's regions: ``[..., R, I, N]``."""
    factors = _factors(step, values)
    product = hadamard if step.product == "hadamard" else kronecker
    units = product(factors)
    if step.num_partitions == 1:
        return units
    batch, last = tf.shape(units)[:-3], tf.shape(units)[-1:]
    shape = [step.num_regions, step.num_inputs]
    result = tf.reshape(units, tf.concat([batch, shape, last], 0))
    static = units.shape[:-3].concatenate([*shape, units.shape[-1]])
    return tf.ensure_shape(result, static)


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


def _upward(
    program: Program,
    tables: Tables,
    leaves: Tensor,
    rule: SumRule | None,
    exact: bool,
) -> tuple[list[Tensor], Tensor, Tensor]:
    values, inputs, lossy = [leaves], [], [tf.constant(False)]
    for step, log_w in zip(program.steps, tables.log_weights, strict=True):
        log_x = step_inputs(step, values)
        inputs.append(log_x)
        if log_w is None or step.sums is None:
            values.append(log_x)
            continue
        is_exact = exact or step.sums.always_exact
        log_y = weighted_sum(log_x, log_w, rule or step.sums.rule, exact=is_exact)
        if not is_exact:
            lossy.append(underflows(log_x, log_y))
        values.append(log_y)
    return inputs, _roots(program, values), tf.reduce_any(tf.stack(lossy))


def _roots(program: Program, values: list[Tensor]) -> Tensor:
    """``[..., C, N]``: units of the root regions, in order."""
    roots = gather_regions(program.root, values)
    if roots.shape[-3] == 1:
        return tf.squeeze(roots, -3)
    batch, last = tf.shape(roots)[:-3], tf.shape(roots)[-1:]
    result = tf.reshape(roots, tf.concat([batch, [program.num_classes], last], 0))
    return tf.ensure_shape(
        result, roots.shape[:-3].concatenate([program.num_classes, roots.shape[-1]])
    )


def _log_joint(program: Program, tables: Tables, roots: Tensor) -> Tensor:
    if tables.log_prior is None:
        return roots
    return roots + tables.log_prior[..., tf.newaxis]
