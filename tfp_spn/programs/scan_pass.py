"""The fast passes of a scan: a loop up, a loop down, and all else at once.

See `tfp_spn.programs.scans` and `tfp_spn.programs.scaled_pass`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import merge_axes, reshape_axes
from tfp_spn.ops.matrix_products import unit_gradient, weight_gradient, weighted_units
from tfp_spn.ops.regions import gather_blank, places_of, sum_over_uses
from tfp_spn.programs.products import multiplied
from tfp_spn.programs.scaled_values import Value
from tfp_spn.programs.scans import parts_of
from tfp_spn.programs.steps import Step


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
    _, _, inputs, sums = _loop(step, body, first, 2)
    log_scale = own
    if own_of_first is not None:
        rest = tf.zeros(
            [step.num_regions - own_of_first.shape[-3], 1, 1], own_of_first.dtype
        )
        rest = rest + tf.zeros_like(own_of_first[:1])
        log_scale = tf.concat([own_of_first, rest], axis=-3)
        log_scale = log_scale if own is None else log_scale + own
    return _merged(step, inputs), _merged(step, sums), log_scale


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
    previous = parts_of(step).previous
    uses = places_of(previous, len(previous))
    of_step, inputs_of = _by_step(step, weights), _by_step(step, inputs)
    sums_of, received_of = _by_step(step, sums), _by_step(step, received)

    def body(
        n: Tensor, flow: Tensor, quotients: tf.TensorArray, flows: tf.TensorArray
    ) -> tuple:
        t = step.length - 1 - n
        quotient = (received_of[t] + flow) / sums_of[t]
        products = inputs_of[t] * unit_gradient(of_step[t], quotient)
        before = tf.ensure_shape(sum_over_uses(products, uses), flow.shape)
        return n + 1, before, quotients.write(t, quotient), flows.write(t, products)

    _, _, quotients, flows = _loop(step, body, tf.zeros_like(received_of[0]), 2)
    counts = weights * weight_gradient(inputs, _merged(step, quotients), weights)
    return _merged(step, flows), counts


def _loop(
    step: Step, body: Callable[..., tuple], first: Tensor, num_arrays: int
) -> tuple:
    """Runs `body` for each step, with arrays for its results."""
    arrays = [
        tf.TensorArray(first.dtype, step.length, element_shape=first.shape)
        for _ in range(num_arrays)
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


def _merged(step: Step, array: tf.TensorArray) -> Tensor:
    """Puts the regions of all steps on one axis."""
    return merge_axes(array.stack(), 0, 2)
