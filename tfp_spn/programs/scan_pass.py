"""The passes of a scan: a loop up, a loop down, and all else at once.

See `tfp_spn.programs.scans`, and for what the loops do `tfp_spn.programs.scaled_pass`,
`tfp_spn.programs.log_pass` and `tfp_spn.programs.selection`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import merge_axes, reshape_axes
from tfp_spn.ops.matrix_products import unit_gradient, weight_gradient, weighted_units
from tfp_spn.ops.regions import gather_blank, places_of, sum_over_uses
from tfp_spn.programs.products import log_multiplied, multiplied
from tfp_spn.programs.scaled_values import Value
from tfp_spn.programs.scans import parts_of
from tfp_spn.programs.selected import INACTIVE, Selected
from tfp_spn.programs.steps import Gather, Step


def scan_upward(
    step: Step, values: Sequence[Value], weights: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Evaluates a scan.

    Args:
        step: The scan.
        values: Those that it reads, its own one excepted; without a batch.
        weights: ``[R, I, O]`` of its regions.

    Returns:
        What the sums range over, ``[R, I, N]``; the sums, ``[R, O, N]``; what was taken
        out of the products, ``[R, 1, N]``, or `None`.
    """
    parts = parts_of(step)
    others, own = multiplied(parts.others, values)
    first, own_of_first = multiplied(parts.first, values)
    by_step = _by_step(step, others)
    of_step = _by_step(step, weights)
    tiny = np.finfo(others.dtype.as_numpy_dtype).tiny

    def body(
        t: Tensor, before: Tensor, inputs: tf.TensorArray, sums: tf.TensorArray
    ) -> tuple:
        product = by_step[t] * before
        total = weighted_units(of_step[t], product)
        largest = tf.reduce_max(total, axis=-2, keepdims=True)
        after = gather_blank(total / tf.maximum(largest, tiny), parts.previous, -3)
        after = tf.ensure_shape(after, before.shape)
        return t + 1, after, inputs.write(t, product), sums.write(t, total)

    first = tf.broadcast_to(first, tf.shape(by_step)[1:])
    _, _, inputs, sums = _loop(step, body, first, [first.shape] * 2)
    log_scale = own
    if own_of_first is not None:
        rest = tf.zeros(
            [step.num_regions - own_of_first.shape[-3], 1, 1], own_of_first.dtype
        )
        rest = rest + tf.zeros_like(own_of_first[:1])
        log_scale = tf.concat([own_of_first, rest], axis=-3)
        log_scale = log_scale if own is None else log_scale + own
    return _merged(inputs), _merged(sums), log_scale


def scan_downward(
    step: Step, inputs: Tensor, sums: Tensor, weights: Tensor, received: Tensor
) -> tuple[Tensor, Tensor]:
    """Flows ``[R, I, N]`` of the products and counts ``[R, I, O]`` of the weights.

    Args:
        step: The scan.
        inputs: What the sums range over, as `scan_upward` returned it.
        sums: The sums.
        weights: ``[R, I, O]``.
        received: ``[R, O, N]``: what the regions received from other steps.
    """

    def flows_of(
        received: Tensor, inputs: Tensor, weights: Tensor, sums: Tensor
    ) -> tuple[Tensor, Tensor]:
        quotient = received / sums
        return inputs * unit_gradient(weights, quotient), quotient

    flows, quotients = _scan_downward(
        step, (received, inputs, weights, sums), flows_of, sums
    )
    return flows, weights * weight_gradient(inputs, quotients, weights)


def scan_log_upward(
    step: Step,
    values: Sequence[Value],
    log_weights: Tensor,
    summed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Value]:
    """Evaluates a scan in log space.

    Args:
        step: The scan.
        values: Those that it reads, its own one excepted; without a batch.
        log_weights: ``[R, I, O]`` of its regions.
        summed: Returns the sums of the regions of one step, and what they are relative
            to, of logarithms ``[R / T, I, N]`` and log-weights.

    Returns:
        What the sums range over, ``[R, I, N]``, up to a constant per region and
        example; the sums.
    """
    parts = parts_of(step)
    others = log_multiplied(parts.others, values)
    by_step, of_step = _by_step(step, others), _by_step(step, log_weights)

    def body(
        t: Tensor, before: Tensor, *arrays: tf.TensorArray
    ) -> tuple[Tensor | tf.TensorArray, ...]:
        log_x = by_step[t] + before
        log_y, own = summed(log_x, of_step[t])
        after = gather_blank(log_y, parts.previous, -3)
        after = tf.ensure_shape(after, before.shape)
        found = zip(arrays, (log_x, log_y, own), strict=True)
        return t + 1, after, *(array.write(t, value) for array, value in found)

    first = log_multiplied(parts.first, values)
    first = tf.broadcast_to(first, tf.shape(by_step)[1:])
    shapes = [first.shape, first.shape, first[..., :1, :].shape]
    _, _, inputs, sums, log_scale = _loop(step, body, first, shapes)
    return _merged(inputs), Value(_merged(log_scale), log=_merged(sums))


def scan_log_downward(
    step: Step,
    log_x: Tensor,
    log_y: Tensor,
    log_weights: Tensor,
    received: Tensor,
    flows_of: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Flows ``[R, I, N]`` of the products and counts ``[R, I, O]`` of the weights.

    Args:
        step: The scan.
        log_x: What the sums range over, as `scan_log_upward` returned it.
        log_y: The sums.
        log_weights: ``[R, I, O]``.
        received: ``[R, O, N]``: what the regions received from other steps.
        flows_of: Returns flows and counts of the regions of one step, of what these
            received, `log_x`, `log_weights` and `log_y`.
    """
    parts = received, log_x, log_weights, log_y
    return _scan_downward(step, parts, flows_of, log_weights)


def _scan_downward(
    step: Step,
    parts: Sequence[Tensor],
    flows_of: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """Calls `flows_of` for each step of a scan, from the last to the first.

    Args:
        step: The scan.
        parts: Its arguments for all regions, what they received first.
        flows_of: Returns flows of products, and something else.
        like: A tensor with the shape of the second result.
    """
    previous = parts_of(step).previous
    uses = places_of(previous, len(previous))
    received_of, *others_of = (_by_step(step, part) for part in parts)

    def body(
        n: Tensor, flow: Tensor, products: tf.TensorArray, results: tf.TensorArray
    ) -> tuple:
        t = step.length - 1 - n
        others = (part[t] for part in others_of)
        product, result = flows_of(received_of[t] + flow, *others)
        before = tf.ensure_shape(sum_over_uses(product, uses), flow.shape)
        return n + 1, before, products.write(t, product), results.write(t, result)

    nothing = tf.zeros_like(received_of[0])
    shapes = [others_of[0].shape[1:], _by_step(step, like).shape[1:]]
    _, _, products, results = _loop(step, body, nothing, shapes)
    return _merged(products), _merged(results)


def scan_selection(
    step: Step, requested: Tensor, choose: Callable[[Selected, Tensor], Tensor]
) -> tuple[Selected, Tensor]:
    """Selects units of a scan and their children, from its last step to its first.

    Args:
        step: The scan.
        requested: int32 ``[R, M]``: units that other steps selected, or `INACTIVE`.
        choose: Returns the children ``[R / T, M]`` that the selected regions of one
            step select, given its number in the scan.

    Returns:
        The selected units of all regions, the last step's first, and their children.
    """
    parts = parts_of(step)
    size = len(parts.previous)
    requested_of = reshape_axes(requested, 0, 1, [step.length, size])

    def body(
        n: Tensor, handed: Tensor, units: tf.TensorArray, children: tf.TensorArray
    ) -> tuple:
        t = step.length - 1 - n
        unit = tf.maximum(requested_of[t], handed)  # one of them at most is active
        child = choose(Selected(t * size + np.arange(size), unit), t)
        before = tf.where(unit >= 0, child, INACTIVE)
        before = tf.math.unsorted_segment_max(before, parts.previous, size)
        before = tf.ensure_shape(tf.maximum(before, INACTIVE), handed.shape)
        return n + 1, before, units.write(n, unit), children.write(n, child)

    nothing = tf.fill(tf.shape(requested_of)[1:], INACTIVE)
    nothing = tf.ensure_shape(nothing, requested_of.shape[1:])
    _, _, units, children = _loop(step, body, nothing, [nothing.shape] * 2)
    regions = np.arange(step.num_regions).reshape(step.length, size)[::-1].reshape(-1)
    return Selected(regions, _merged(units)), _merged(children)


def scan_requests(
    step: Step, selected: Selected, child: Tensor
) -> list[tuple[Gather, Selected]]:
    """Returns what `scan_selection` selects of other values, by place in gathers."""
    parts = parts_of(step)
    size = len(parts.previous)
    child = tf.where(selected.units >= 0, child, INACTIVE)
    of_others = Selected(selected.regions, child)
    of_first = Selected(np.arange(size), child[-size:])
    [first] = parts.first.factors
    return [
        *((gather, of_others) for gather in parts.others.factors),
        (first, of_first),
    ]


def _loop(
    step: Step,
    body: Callable[..., tuple],
    first: Tensor,
    shapes: Sequence[tf.TensorShape],
) -> tuple:
    """Runs `body` for each step, with arrays for its results, of these shapes."""
    arrays = [
        tf.TensorArray(first.dtype, step.length, element_shape=shape)
        for shape in shapes
    ]
    return tf.while_loop(
        lambda t, *_: t < step.length,
        body,
        (tf.constant(0), first, *arrays),
        parallel_iterations=1,
        maximum_iterations=step.length,
    )


def _by_step(step: Step, value: Tensor) -> Tensor:
    """``[R, K, N]`` to ``[T, R / T, K, N]``."""
    return reshape_axes(value, -3, -2, [step.length, step.num_regions // step.length])


def _merged(array: tf.TensorArray) -> Tensor:
    """Puts the regions of all steps on one axis."""
    return merge_axes(array.stack(), 0, 2)
