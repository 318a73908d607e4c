"""The fast passes: units in linear space, one scale per region and example.

Upward, a region's units are kept as the sums that they are, with the logarithm of the
largest of them, which products that read them take out:

    value[k] = units[k] exp(log_scale - log_max),    log_max = log max_k units[k]

Products multiply, sums are one matrix product, and no unit sees an exponential or a
logarithm. Leaf values come as logarithms and stay so through Hadamard products, where
sums of logarithms lose nothing; they are exponentiated where a sum needs them.

Downward, the flow of a unit is the derivative of the roots' log-values with respect to
its own: what a product receives goes to each of its factors, and a sum's flow is
divided among its children in proportion to what they contributed.

Units too small for the dtype vanish. Whatever was lost since the last sum is below
``tiny`` in absolute terms, so that a sum of at least ``tiny / eps`` has lost nothing
that its rounding would have kept. The pass checks every sum and says whether it holds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max, safe_log
from tfp_spn.ops.matrix_products import (
    unit_gradient,
    weight_gradient,
    weighted_units,
)
from tfp_spn.ops.sum_rules import SumOpGradBackprop
from tfp_spn.ops.weighted_sum import log_sums, sum_flows
from tfp_spn.programs.flows import Flows
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.products import (
    is_log,
    log_products_of,
    products_of,
)
from tfp_spn.programs.recomputed_steps import (
    flows_in_parts,
    is_recomputed,
    sums_in_parts,
)
from tfp_spn.programs.scaled_values import Roots, Value, roots_of
from tfp_spn.programs.scan_pass import scan_downward, scan_upward
from tfp_spn.programs.tables import Tables

_GRADIENT = SumOpGradBackprop()


@dataclass(frozen=True, eq=False)
class ScaledPass:
    """Results of the upward pass.

    Attributes:
        program: The circuit.
        values: Leaf regions, then those of each step.
        inputs: ``[..., R, I, N]`` of each step: what its sums range over, up to a
            factor per region and example; `None` where it was not kept.
        is_lossy: Scalar bool: whether digits may have been lost.
    """

    program: FoldedProgram
    values: list[Value]
    inputs: list[Tensor | None]
    is_lossy: Tensor

    @functools.cached_property
    def roots(self) -> Roots:
        """The roots."""
        return roots_of(self.program, self.values)


def upward(
    program: FoldedProgram,
    tables: Tables,
    leaves: Value,
    folded: Tensor | None = None,
    keep_inputs: bool = False,
) -> ScaledPass:
    """Evaluates all steps.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: The leaf regions.
        folded: If their values are the result of `fold_batch`, its argument.
        keep_inputs: Whether the inputs of all sums are wanted.
    """
    values = [leaves]
    inputs: list[Tensor | None] = []
    smallest = []
    for number, step in enumerate(program.steps):
        of_step = tables.weights_of(number)
        kept = None
        if of_step is None:
            value = _bare_products(program, number, values)
            if keep_inputs:
                kept = tf.zeros([])
        elif step.sums is not None and step.sums.always_exact:
            kept, value = _exact_sums(program, number, values, of_step)
        else:
            if step.length > 1:
                kept, sums, log_scale = scan_upward(step, values, of_step)
            elif not keep_inputs and is_recomputed(program, step, values, of_step):
                sums, log_scale = sums_in_parts(program, number, values, of_step)
            else:
                kept, log_scale = products_of(program, number, values)
                sums = weighted_units(of_step, kept, folded)
            smallest.append(tf.reduce_min(sums))
            value = _with_maximum(sums, log_scale)
        values.append(value)
        inputs.append(kept)
    smallest += [tf.reduce_min(units) for units in _unchecked(program, values)]
    return ScaledPass(
        program, values, inputs, _is_lossy(smallest, leaves.regions.dtype)
    )


def downward(
    program: FoldedProgram,
    tables: Tables,
    done: ScaledPass,
    flow: Tensor,
    folded: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Flows of leaves and counts of weights.

    Args:
        program: The circuit.
        tables: Its parameters.
        done: What that returned.
        flow: ``[..., C, N]``: derivatives with respect to the roots' log-values.
        folded: As in `upward`.

    Returns:
        ``[..., R, K, N]`` of the leaf regions; ``[..., R, I, O]`` of each step with
        sums: derivatives with respect to log-values and normalised log-weights.
    """
    flows = Flows(program, flow)
    counts = []
    for number in reversed(range(len(program.steps))):
        step, value = program.steps[number], done.values[number + 1]
        of_step = tables.weights_of(number)
        received = flows.into(number + 1, value.regions)
        if of_step is None:
            flows.give(number, received)
            continue
        inputs = done.inputs[number]
        if step.sums is not None and step.sums.always_exact:
            products, count = sum_flows(
                received, inputs, safe_log(of_step), value.log, _GRADIENT, exact=True
            )
        elif step.length > 1:
            products, count = scan_downward(
                step, inputs, value.units, of_step, received
            )
        elif inputs is None:
            products, count = flows_in_parts(
                program, number, done.values, of_step, received
            )
        else:
            quotient = received / value.units
            products = inputs * unit_gradient(of_step, quotient, folded)
            count = of_step * weight_gradient(inputs, quotient, of_step, folded)
        flows.give(number, products)
        counts.append(count)
    leaves = flows.into(0, done.values[0].regions)
    return leaves, counts[::-1]


def _bare_products(
    program: FoldedProgram, number: int, values: Sequence[Value]
) -> Value:
    """A step without sums: products of logarithms stay what they are."""
    if is_log(program.steps[number], values):
        log, log_scale = log_products_of(program, number, values)
        return Value(log_scale, log=log)
    units, log_scale = products_of(program, number, values)
    return Value(log_scale, units=units)


def _exact_sums(
    program: FoldedProgram, number: int, values: Sequence[Value], weights: Tensor
) -> tuple[Tensor, Value]:
    """Logarithms of products and of sums by weights of zero and one."""
    log_x, log_scale = log_products_of(program, number, values)
    maximum = finite_max(log_x, -2)
    log_y = log_sums(log_x, safe_log(weights), exact=True)
    return log_x, Value(_added(log_scale, maximum), log=log_y)


def _unchecked(program: FoldedProgram, values: Sequence[Value]) -> list[Tensor]:
    """Products in linear space that no checked sum stands above."""
    sources = {*program.root.sources}
    for step in program.steps:
        if step.sums is not None and step.sums.always_exact:
            sources.update(s for gather in step.factors for s in gather.sources)
    is_bare = [True, *(step.sums is None for step in program.steps)]
    read = [values[source] for source in sorted(sources) if is_bare[source]]
    return [value.units for value in read if value.units is not None]


def _with_maximum(sums: Tensor, log_scale: Tensor | None) -> Value:
    """Sums with the logarithm of the largest of each region."""
    largest = tf.reduce_max(tf.stop_gradient(sums), axis=-2, keepdims=True)
    tiny = np.finfo(sums.dtype.as_numpy_dtype).tiny
    log_max = tf.math.log(tf.maximum(largest, tiny))
    return Value(_added(log_scale, log_max), sums, log_max)


def _added(log_scale: Tensor | None, own: Tensor) -> Tensor:
    return own if log_scale is None else log_scale + tf.cast(own, log_scale.dtype)


def _is_lossy(smallest: list[Tensor], dtype: tf.DType) -> Tensor:
    """Whether a sum is so small that terms which vanished might have counted."""
    if not smallest:
        return tf.constant(False)
    info = np.finfo(dtype.as_numpy_dtype)
    # Grappler takes `~(x >= y)` for `x < y`, which is another thing where x is NaN.
    return ~tf.reduce_all(tf.stack(smallest) >= info.tiny / info.eps)
