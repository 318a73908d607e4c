"""Chains in log space: exact whatever vanishes beside what, and the best path.

Arguments are those of `tfp_spn.ops.chain.Chain`. Messages are kept relative to their
largest entry, whose logarithms are added up in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import (
    finite_max,
    logsumexp,
    minus_infinity,
    sum_to_shape_of,
)

MAX_UNROLLED = 8
"""Chains of so few steps are no loop, whose gradient would take long to compile."""

Messages = tuple[Tensor, Tensor]
"""Logarithms ``[T, ..., Q, N]`` and what they are relative to, ``[T, ..., 1, N]``."""


def exact_log_chain(
    emission: Tensor,
    initial: Tensor,
    transition: Tensor,
    interface: Tensor | None = None,
    exists: Tensor | None = None,
) -> Tensor:
    """``log Z``, ``[..., N]``."""
    messages, offset = forward_messages(
        emission, initial, transition, interface, exists, keep=False
    )
    return logsumexp(messages[-1], -2) + tf.cast(offset[-1, ..., 0, :], emission.dtype)


def forward_messages(
    emission: Tensor,
    initial: Tensor,
    transition: Tensor,
    interface: Tensor | None = None,
    exists: Tensor | None = None,
    keep: bool = True,
    is_max: bool = False,
) -> Messages:
    """``log p(x_1 ... x_t, q_t)`` of each step, or that of the best path.

    Args:
        emission: See `Chain`.
        initial: See `Chain`.
        transition: See `Chain`.
        interface: See `Chain`.
        exists: See `Chain`.
        keep: Whether all steps are returned, or the last alone.
        is_max: Whether to maximise over paths instead of adding them up.
    """
    product = log_matmul_max if is_max else log_matmul

    def enter(number: Tensor, message: Tensor) -> Tensor:
        if interface is not None:
            message = product(_of_step(interface, number), message)
        return product(_of_step(transition, number), message)

    first = initial[..., tf.newaxis] + emission[0]
    return _recursion(emission[1:], first, enter, _tail(exists), keep)


def backward_messages(
    emission: Tensor,
    initial: Tensor,
    transition: Tensor,
    interface: Tensor | None = None,
) -> Messages:
    """``log p(x_t ... x_T | q_t)`` of each step: its own emission is included.

    All steps exist.
    """
    del initial
    last = transition.shape[0] - 1

    def enter(number: Tensor, message: Tensor) -> Tensor:
        weights = _of_step(transition, last - number)
        message = log_matmul(tf.linalg.matrix_transpose(weights), message)
        if interface is None:
            return message
        weights = _of_step(interface, last - number)
        return log_matmul(tf.linalg.matrix_transpose(weights), message)

    messages, offset = _recursion(
        tf.reverse(emission[:-1], [0]), emission[-1], enter, None, keep=True
    )
    return tf.reverse(messages, [0]), tf.reverse(offset, [0])


def parallel_log_chain(
    emission: Tensor,
    initial: Tensor,
    transition: Tensor,
    interface: Tensor | None = None,
    exists: Tensor | None = None,
) -> Tensor:
    """``log Z [..., N]`` by a tree of products of matrices, ``log2 T`` levels.

    The upward half of an associative scan: the downward half of
    `tfp.math.scan_associative` makes the products of all prefixes, which nobody needs
    for ``log Z``, and whose memory is that of all of them.
    """
    if interface is not None:
        transition = log_matmul(transition, interface)
    num_states = emission.shape[-2]
    # To all steps first: the gradient sums over examples, then over steps.
    shape = tf.concat([tf.shape(emission)[:1] - 1, tf.shape(transition)[1:]], 0)
    static = [emission.shape[0] - 1, *transition.shape[1:]]
    transition = tf.ensure_shape(tf.broadcast_to(transition, shape), static)
    # [T - 1, ..., N, Q, Q]
    factors = tf.linalg.matrix_transpose(emission[1:])[..., tf.newaxis]
    factors = factors + transition[..., tf.newaxis, :, :]
    tail = _tail(exists)
    if tail is not None:
        zero = tf.zeros([], emission.dtype)
        identity = tf.where(tf.eye(num_states) > 0, zero, minus_infinity(emission))
        here = tf.linalg.matrix_transpose(tail)[..., tf.newaxis]
        factors = tf.where(here, factors, identity)
    offset = tf.zeros(tf.shape(factors)[:-2], tf.float64)[..., tf.newaxis]
    while factors.shape[0] > 1:
        pairs = factors.shape[0] // 2 * 2
        early, late = factors[0:pairs:2], factors[1:pairs:2]
        merged, shift = _relative(log_matmul(late, early), [-2, -1])
        total = offset[0:pairs:2] + offset[1:pairs:2]
        total += tf.cast(shift[..., 0], tf.float64)
        factors = tf.concat([merged, factors[pairs:]], 0)
        offset = tf.concat([total, offset[pairs:]], 0)
    first = initial[..., tf.newaxis, :] + tf.linalg.matrix_transpose(emission[0])
    last = logsumexp(factors[0] + first[..., tf.newaxis, :], -1)
    return logsumexp(last, -1) + tf.cast(offset[0, ..., 0], emission.dtype)


def best_path(
    emission: Tensor,
    initial: Tensor,
    transition: Tensor,
    interface: Tensor | None = None,
) -> Tensor:
    """The states of the best path (Viterbi), int32 ``[T, ..., N]``."""
    values, _ = forward_messages(emission, initial, transition, interface, is_max=True)
    if interface is not None:
        transition = log_matmul_max(transition, interface)
    rank = values.shape.rank
    by_state = tf.transpose(values, [0, *range(1, rank - 2), rank - 1, rank - 2])
    last = tf.argmax(by_state[-1], -1, output_type=tf.int32)  # [..., N]
    num_steps, num_states = emission.shape[0], emission.shape[-2]
    if num_steps == 1:
        return last[tf.newaxis]
    batch = tf.shape(last)[:-1]

    def body(number: Tensor, state: Tensor, path: tf.TensorArray) -> tuple:
        weights = _of_step(transition, number)  # [..., Q, Q]
        table = tf.broadcast_to(
            weights, tf.concat([batch, [num_states, num_states]], 0)
        )
        rows = tf.gather(table, state, axis=-2, batch_dims=state.shape.rank - 1)
        state = tf.argmax(rows + by_state[number], -1, output_type=tf.int32)
        return number - 1, tf.ensure_shape(state, last.shape), path.write(number, state)

    path = tf.TensorArray(tf.int32, num_steps, element_shape=last.shape)
    path = path.write(num_steps - 1, last)
    _, _, path = tf.while_loop(
        lambda number, *_: number >= 0,
        body,
        (tf.constant(num_steps - 2), last, path),
        maximum_iterations=num_steps - 1,
    )
    return path.stack()


def log_matmul(log_a: Tensor, log_x: Tensor) -> Tensor:
    """``log (exp(log_a) exp(log_x))`` term by term: nothing is lost to underflow.

    Args:
        log_a: ``[..., O, I]``.
        log_x: ``[..., I, N]``.
    """

    @custom_gradient
    def forward(log_a: Tensor, log_x: Tensor) -> tuple[Tensor, Callable]:
        def product() -> Tensor:
            terms = log_a[..., tf.newaxis] + log_x[..., tf.newaxis, :, :]
            return logsumexp(terms, -2)

        def backward(flow: Tensor) -> tuple[Tensor, Tensor]:
            total = product()
            total = tf.where(total > minus_infinity(total), total, tf.zeros_like(total))
            shares = tf.exp(
                log_a[..., tf.newaxis]
                + log_x[..., tf.newaxis, :, :]
                - total[..., :, tf.newaxis, :]
            )
            shares *= flow[..., :, tf.newaxis, :]  # [..., O, I, N]
            return (
                sum_to_shape_of(tf.reduce_sum(shares, -1), log_a, False),
                sum_to_shape_of(tf.reduce_sum(shares, -3), log_x, False),
            )

        return product(), backward

    return forward(log_a, log_x)


def log_matmul_max(log_a: Tensor, log_x: Tensor) -> Tensor:
    """``max_i (log_a[o, i] + log_x[i, n])``."""
    return tf.reduce_max(log_a[..., tf.newaxis] + log_x[..., tf.newaxis, :, :], -2)


def _recursion(
    emissions: Tensor,
    first: Tensor,
    enter: Callable[[Tensor, Tensor], Tensor],
    exists: Tensor | None,
    keep: bool,
) -> Messages:
    """Messages of all steps, or in an axis of length 1 that of the last one."""
    message, shift = _relative(first, [-2])
    offset = tf.cast(shift, tf.float64)
    num_steps = emissions.shape[0]
    if not num_steps:
        return message[tf.newaxis], offset[tf.newaxis]
    if num_steps < MAX_UNROLLED:
        return _unrolled(emissions, message, offset, enter, exists, keep)
    shape, offset_shape = message.shape, offset.shape
    count = num_steps + 1 if keep else 0
    messages = tf.TensorArray(message.dtype, count, element_shape=shape)
    offsets = tf.TensorArray(tf.float64, count, element_shape=offset_shape)
    if keep:
        messages, offsets = messages.write(0, message), offsets.write(0, offset)

    def body(
        number: Tensor,
        message: Tensor,
        offset: Tensor,
        messages: tf.TensorArray,
        offsets: tf.TensorArray,
    ) -> tuple:
        entered = enter(number, message) + emissions[number]
        if exists is not None:
            entered = tf.where(exists[number], entered, message)
        message, shift = _relative(entered, [-2])
        offset = tf.ensure_shape(offset + tf.cast(shift, tf.float64), offset_shape)
        message = tf.ensure_shape(message, shape)
        number += 1
        if keep:
            messages = messages.write(number, message)
            offsets = offsets.write(number, offset)
        return number, message, offset, messages, offsets

    _, message, offset, messages, offsets = tf.while_loop(
        lambda number, *_: number < num_steps,
        body,
        (tf.constant(0), message, offset, messages, offsets),
        maximum_iterations=num_steps,
    )
    if keep:
        return messages.stack(), offsets.stack()
    return message[tf.newaxis], offset[tf.newaxis]


def _unrolled(
    emissions: Tensor,
    message: Tensor,
    offset: Tensor,
    enter: Callable[[Tensor, Tensor], Tensor],
    exists: Tensor | None,
    keep: bool,
) -> Messages:
    """Does the same without a loop."""
    messages, offsets = [message], [offset]
    for number in range(emissions.shape[0]):
        entered = enter(number, message) + emissions[number]
        if exists is not None:
            entered = tf.where(exists[number], entered, message)
        message, shift = _relative(entered, [-2])
        offset = offset + tf.cast(shift, tf.float64)
        messages.append(message)
        offsets.append(offset)
    if keep:
        return tf.stack(messages), tf.stack(offsets)
    return message[tf.newaxis], offset[tf.newaxis]


def _relative(value: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    maximum = finite_max(value, axes)  # type: ignore[arg-type]
    return value - maximum, maximum


def _of_step(weights: Tensor, number: Tensor) -> Tensor:
    return weights[number] if weights.shape[0] > 1 else weights[0]


def _tail(exists: Tensor | None) -> Tensor | None:
    return None if exists is None else exists[1:]
