"""Passes in log space: exact sums, sums under hard rules, and max-product.

Units of a region are kept relative to the largest of them, and what has been taken out
is added up in float64 where it matters: what decides between units, classes and
partitions keeps its digits, however many variables a region covers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.shared_sums import shared_log_sums, shared_sum_flows
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weighted_sum import log_sums, sum_flows, underflows, weighted_max
from tfp_spn.programs.flows import Flows
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.products import log_products_of
from tfp_spn.programs.scaled_values import Roots, Value, roots_of
from tfp_spn.programs.scan_pass import scan_log_downward, scan_log_upward
from tfp_spn.programs.steps import SumSpec
from tfp_spn.programs.tables import Tables


@dataclass(frozen=True, eq=False)
class LogPass:
    """Results of an upward pass.

    Attributes:
        values: Leaf regions, then those of each step.
        inputs: ``[..., R, I, N]`` of each step: what its sums range over, up to a
            constant per region and example.
        roots: The roots.
        is_lossy: Scalar bool: whether digits may have been lost.
    """

    values: list[Value]
    inputs: list[Tensor]
    roots: Roots
    is_lossy: Tensor


def log_upward(
    program: FoldedProgram, tables: Tables, leaves: Tensor, exact: bool = True
) -> LogPass:
    """The sum-product pass.

    Args:
        program: The circuit.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[..., R, K, N]``.
        exact: Whether to sum term by term rather than by a matrix product; always if
            there are scans.
    """
    lossy = [tf.constant(False)]

    def summed(spec: SumSpec, log_x: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
        is_exact = exact or spec.always_exact
        if is_exact:
            return shared_log_sums(log_x, log_w), finite_max(log_x, -2)
        log_y = log_sums(log_x, log_w, exact=False)
        lossy.append(underflows(log_x, log_y))
        return log_y, finite_max(log_x, -2)

    values, inputs = _evaluate(program, tables, leaves, summed)
    is_lossy = tf.reduce_any(tf.stack(lossy))
    return LogPass(values, inputs, roots_of(program, values), is_lossy)


def log_downward(
    program: FoldedProgram,
    tables: Tables,
    done: LogPass,
    flow: Tensor,
    rule: SumRule | None = None,
    exact: bool = True,
) -> tuple[Tensor, list[Tensor]]:
    """Flows of leaves and counts of weights, as learning rules divide them.

    Args:
        program: The circuit.
        tables: Its parameters.
        done: What that returned.
        flow: ``[..., C, N]``: of the roots.
        rule: Learning rule in place of the steps' own.
        exact: As in `log_upward`.

    Returns:
        ``[..., R, K, N]`` of the leaf regions; ``[..., R, I, O]`` of each step with
        sums.
    """
    flows = Flows(program, flow)
    counts = []
    for number in reversed(range(len(program.steps))):
        step, log_y = program.steps[number], done.values[number + 1].log
        received = flows.into(number + 1, log_y)
        log_x, log_w = done.inputs[number], tables.log_weights_of(number)
        if step.sums is None:
            flows.give(number, received)
            continue
        its_rule, is_exact = rule or step.sums.rule, exact or step.sums.always_exact
        flows_of: Callable[..., tuple[Tensor, Tensor]] = (
            functools.partial(shared_sum_flows, rule=its_rule)
            if is_exact
            else functools.partial(sum_flows, rule=its_rule, exact=False)
        )
        if step.length > 1:
            products, count = scan_log_downward(
                step, log_x, log_y, log_w, received, flows_of
            )
        else:
            products, count = flows_of(received, log_x, log_w, log_y)
        flows.give(number, products)
        counts.append(count)
    return flows.into(0, done.values[0].log), counts[::-1]


def max_upward(program: FoldedProgram, tables: Tables, leaves: Tensor) -> LogPass:
    """The max-product pass: each sum takes its best weighted child."""

    def best(spec: SumSpec, log_x: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
        largest = finite_max(log_x, -2)
        return weighted_max(log_x - largest, log_w), largest

    values, inputs = _evaluate(program, tables, leaves, best)
    return LogPass(values, inputs, roots_of(program, values), tf.constant(False))


def _evaluate(
    program: FoldedProgram,
    tables: Tables,
    leaves: Tensor,
    summed: Callable[[SumSpec, Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[list[Value], list[Tensor]]:
    """Values of all steps; `summed` returns sums and what they are relative to."""
    values = [Value.of_leaves(leaves)]
    inputs = []
    for number, step in enumerate(program.steps):
        log_w = tables.log_weights_of(number)
        if step.sums is not None and step.length > 1:
            sums_of = functools.partial(summed, step.sums)
            log_x, value = scan_log_upward(step, values, log_w, sums_of)
            inputs.append(log_x)
            values.append(value)
            continue
        log_x, log_scale = log_products_of(program, number, values)
        inputs.append(log_x)
        if step.sums is not None and log_w is not None:
            log_x, own = summed(step.sums, log_x, log_w)
            if log_scale is not None:
                own = log_scale + tf.cast(own, log_scale.dtype)
            log_scale = own
        values.append(Value(log_scale, log=log_x))
    return values, inputs
