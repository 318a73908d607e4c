"""The one forward of all sums, with the backward of the learning rule attached.

    log y[o, n] = log sum_i exp(log x[i, n] + log w[i, o])

for every region at once. The fast path is one matrix product of ``exp(log w)`` and
``exp(log x - m)``, ``m`` the largest child of each example. It is exact unless an
output lies so far below ``m`` that its terms underflow; `underflows` certifies that
none did, and where one did, callers evaluate again with ``exact=True``, which adds the
terms of one output at a time in log space (`tfp_spn.programs.evaluation` does so
once for a whole circuit).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import move_axis
from tfp_spn.ops.conditional import Sources, with_fallback
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import (
    finite_max,
    logsumexp,
    minus_infinity,
    safe_log,
    sum_to_shape_of,
)
from tfp_spn.ops.matrix_products import weight_gradient, weighted_units
from tfp_spn.ops.sum_rules import SumRule, tie_seed

_MAX_UNROLLED = 64

_MAX_PAIRS = 4096
"""So few pairs of children and sums per example: loops take longer to compile."""


def weighted_sum(
    log_x: Tensor, log_w: Tensor, rule: SumRule, exact: bool = False
) -> Tensor:
    """Log-values of the sums of all regions; see `relative_weighted_sum`."""
    log_y, maximum = relative_weighted_sum(log_x, log_w, rule, exact)
    return log_y + maximum


def relative_weighted_sum(
    log_x: Tensor, log_w: Tensor, rule: SumRule, exact: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-values of the sums of all regions, relative to their largest children.

    Args:
        log_x: ``[..., R, I, N]`` log-values of the children.
        log_w: ``[..., R, I, O]`` normalised log-weights; leading dimensions
            broadcast with those of `log_x`.
        rule: The learning rule whose flows and counts are the gradients with respect
            to `log_x` and `log_w`.
        exact: Whether to sum one output at a time in log space.

    Returns:
        ``log y - m [..., R, O, N]`` and ``m [..., R, 1, N]``, the largest child (0
        where all are impossible).
    """

    @custom_gradient
    def forward(log_x: Tensor, log_w: Tensor) -> tuple[Tensor, Callable]:
        log_y = log_sums(log_x, log_w, exact)

        def backward(flow: Tensor) -> tuple[Tensor, Tensor]:
            d_log_x, d_log_w = sum_flows(flow, log_x, log_w, log_y, rule, exact)
            return sum_to_shape_of(d_log_x, log_x), sum_to_shape_of(d_log_w, log_w)

        return log_y, backward

    return forward(log_x, log_w), finite_max(log_x, -2)


def log_sums(log_x: Tensor, log_w: Tensor, exact: bool) -> Tensor:
    """``log y - m [..., R, O, N]``; see `relative_weighted_sum`."""
    maximum = finite_max(log_x, -2)
    if not exact:
        return safe_log(weighted_units(tf.exp(log_w), tf.exp(log_x - maximum)))
    if is_small(log_x, log_w):
        return logsumexp(_pairs(log_x, log_w), -2) - maximum
    log_y = _for_each_output(
        lambda o: logsumexp(log_x + _column(log_w, o), -2), log_x, log_w
    )
    return log_y - maximum


def sum_flows(
    flow: Tensor,
    log_x: Tensor,
    log_w: Tensor,
    log_y: Tensor,
    rule: SumRule,
    exact: bool,
) -> tuple[Tensor, Tensor]:
    """Divides the flow of sums among their children and weights, as a rule says.

    Args:
        flow: ``[..., R, O, N]``.
        log_x: ``[..., R, I, N]`` log-values of the children.
        log_w: ``[..., R, I, O]`` normalised log-weights.
        log_y: ``[..., R, O, N]``: `log_sums` of these.
        rule: The learning rule.
        exact: Whether the matrix product may have lost terms.

    Returns:
        Flows ``[..., R, I, N]`` and counts ``[..., R, I, O]``, of all batch dimensions
        of the arguments.
    """
    if rule.shares_selection:
        log_sum = logsumexp(log_x, -2, keepdims=True)
        selection = rule.select(log_x, log_sum, tie_seed(rule, log_x))
        d_log_x = selection * tf.reduce_sum(flow, -2, keepdims=True)
        return d_log_x, weight_gradient(selection, flow, log_w)
    log_x -= finite_max(log_x, -2)
    if rule.is_gradient and not exact:
        x, w = tf.exp(log_x), tf.exp(log_w)
        quotient = tf.math.divide_no_nan(flow, tf.exp(log_y))
        d_log_x = weighted_units(tf.linalg.matrix_transpose(w), quotient) * x
        return d_log_x, weight_gradient(x, quotient, log_w) * w
    if rule.is_gradient and is_small(log_x, log_w):
        joint = _pairs(log_x, log_w)
        unused = tf.zeros([2], tf.int32)  # gradients break no ties
        share = rule.select(joint, log_y[..., tf.newaxis, :], unused)
        share *= flow[..., tf.newaxis, :]  # [..., R, O, I, N]
        d_log_w = tf.linalg.matrix_transpose(tf.reduce_sum(share, -1))
        return tf.reduce_sum(share, -3), d_log_w
    return _route(flow, log_x, log_w, log_y, rule)


def underflows(log_x: Tensor, log_y: Tensor) -> Tensor:
    """Whether the fast path may have lost terms: a scalar bool.

    `log_y` is relative to the largest child.

    A term is lost when it falls below the smallest normal number relative to the
    largest child. If no output lies below ``tiny / eps`` then everything lost is
    below rounding.
    """
    info = np.finfo(log_y.dtype.as_numpy_dtype)
    log_threshold = np.log(info.tiny) - np.log(info.eps)
    maximum = tf.reduce_max(tf.stop_gradient(log_x), axis=-2)
    smallest = tf.reduce_min(tf.stop_gradient(log_y), axis=-2)
    possible = maximum > minus_infinity(maximum)
    return tf.reduce_any(possible & (smallest < log_threshold))


def checked_weighted_sum(log_x: Tensor, log_w: Tensor, rule: SumRule) -> Tensor:
    """`weighted_sum` that evaluates again, exactly, where the fast path lost terms.

    It may be called in the body of a `tf.while_loop`, whose gradient cannot pass
    through a conditional with custom gradients inside.
    """

    def fast(sources: Sources) -> tuple[Tensor, Tensor, Tensor]:
        [log_x], [log_w] = sources
        log_y, maximum = relative_weighted_sum(log_x, log_w, rule)
        return log_y, maximum, underflows(log_x, log_y)

    def exact(sources: Sources) -> tuple[Tensor, Tensor]:
        [log_x], [log_w] = sources
        return relative_weighted_sum(log_x, log_w, rule, exact=True)

    log_y, maximum = with_fallback(fast, exact, [[log_x], [log_w]])
    return log_y + maximum


def weighted_max(log_x: Tensor, log_w: Tensor) -> Tensor:
    """``max_i (log x[i, n] + log w[i, o])``: the sums of max-product evaluation."""
    num_inputs = log_w.shape[-2]
    if num_inputs <= _MAX_UNROLLED:
        # One fused loop under XLA, many times faster than a reduction per output.
        columns = tf.unstack(log_w[..., tf.newaxis], num_inputs, axis=-3)
        rows = tf.unstack(log_x[..., tf.newaxis, :], num_inputs, axis=-3)
        return functools.reduce(tf.maximum, map(tf.add, columns, rows))
    return _for_each_output(
        lambda o: tf.reduce_max(log_x + _column(log_w, o), -2), log_x, log_w
    )


def is_small(log_x: Tensor, log_w: Tensor) -> bool:
    """Whether all pairs of children and sums may be held at once."""
    shape = [*log_x.shape[-3:-2], *log_w.shape[-2:]]
    return (
        log_w.shape.rank == 3 and None not in shape and math.prod(shape) <= _MAX_PAIRS
    )


def _pairs(log_x: Tensor, log_w: Tensor) -> Tensor:
    """``[..., R, O, I, N]``: weighted children."""
    weights = tf.linalg.matrix_transpose(log_w)[..., tf.newaxis]
    return log_x[..., tf.newaxis, :, :] + weights


def _column(log_w: Tensor, output: Tensor) -> Tensor:
    """The weights of one output, ``[..., R, I, 1]``."""
    return tf.gather(log_w, output, axis=-1)[..., tf.newaxis]  # [..., R, I, 1]


def _for_each_output(
    function: Callable[[Tensor], Tensor], log_x: Tensor, log_w: Tensor
) -> Tensor:
    """Stacks ``function(o)``, each ``[..., R, N]``, for all outputs on axis -2."""
    num_outputs = log_w.shape[-1]
    if num_outputs == 1:
        return function(tf.constant(0))[..., tf.newaxis, :]
    rows = tf.map_fn(
        function, tf.range(num_outputs), fn_output_signature=log_x.dtype
    )  # [O, ..., R, N]
    return move_axis(rows, 0, -2)


def _route(
    flow: Tensor, log_x: Tensor, log_w: Tensor, log_y: Tensor, rule: SumRule
) -> tuple[Tensor, Tensor]:
    """Divides the flow of one output after another; never ``I x O x N`` at once."""
    num_outputs = log_w.shape[-1]
    seed = tie_seed(rule, log_x)
    batch = tf.broadcast_dynamic_shape(tf.shape(log_x)[:-2], tf.shape(log_w)[:-2])
    static = tf.broadcast_static_shape(log_x.shape[:-2], log_w.shape[:-2])
    counts = tf.TensorArray(log_w.dtype, num_outputs, infer_shape=False)
    d_log_x = tf.zeros(tf.concat([batch, tf.shape(log_x)[-2:]], 0), log_x.dtype)

    def body(o: Tensor, d_log_x: Tensor, counts: tf.TensorArray) -> tuple:
        selection = rule.select(
            log_x + _column(log_w, o),
            tf.gather(log_y, [o], axis=-2),
            seed + tf.stack([o, 0]),
        )
        routed = selection * tf.gather(flow, [o], axis=-2)
        return o + 1, d_log_x + routed, counts.write(o, tf.reduce_sum(routed, -1))

    _, d_log_x, counts = tf.while_loop(
        lambda o, *_: o < num_outputs, body, (tf.constant(0), d_log_x, counts)
    )
    d_log_x = tf.ensure_shape(d_log_x, [*static, *log_x.shape[-2:]])
    stacked = tf.ensure_shape(counts.stack(), [num_outputs, *static, log_x.shape[-2]])
    return d_log_x, move_axis(stacked, 0, -1)
