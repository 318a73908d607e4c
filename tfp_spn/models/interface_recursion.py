"""From step to step: the interface of a dynamic network as one loop.

    log I[t] = advance(log I[t - 1], log c[t]),   log I[-1] = 0

The loop keeps ``log I`` relative to its largest node, and the sum of those largest
nodes in float64, so that a thousand steps cost no more digits than one.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.models.sequences import over_axes
from tfp_spn.ops.log_space import is_finite

Interface = tuple[Tensor, Tensor]
"""Log-values ``[..., batch, *nodes]``, and float64 ``[..., batch]`` to add to them."""


def interfaces_before(
    advance: Callable[[Tensor, Tensor], Tensor],
    current: Tensor,
    is_step: Tensor | None,
    width: int,
    last_only: bool,
) -> Interface:
    """The interface before every step, or before the last real one.

    Args:
        advance: The log-values of the interface after a step, of those before it and
            of the step's own. Adding a number to the first must add it to the result.
        current: ``[num_steps, batch, scopes, decomps, nodes]``: the steps' own
            log-values.
        is_step: bool ``[num_steps, batch]``: steps that exist, at least one for each
            example; others change nothing. `None`: all.
        width: Nodes of the interface.
        last_only: Whether to return the interface before the last real step only.

    Returns:
        Values ``[num_steps, batch, scopes, decomps, width]`` and offsets ``[num_steps,
        batch]``; without their first axes if `last_only`.
    """
    num_steps = current.shape[0] or tf.shape(current)[0]
    steps = tf.TensorArray(
        current.dtype, num_steps, element_shape=current.shape[1:]
    ).unstack(current)
    flags = None
    if is_step is not None:
        flags = tf.TensorArray(
            tf.bool, num_steps, element_shape=is_step.shape[1:]
        ).unstack(is_step)
    shape = tf.concat([tf.shape(current)[1:-1], [width]], 0)
    start = tf.ensure_shape(
        tf.zeros(shape, current.dtype), [*current.shape[1:-1], width]
    )
    offset = tf.zeros(tf.shape(current)[1:2], tf.float64)
    state = (start, offset)

    def after(t: Tensor, state: Interface) -> Interface:
        values, offset = state
        new = tf.ensure_shape(advance(values, steps.read(t)), values.shape)
        maximum = tf.stop_gradient(tf.reduce_max(new, [-3, -2, -1], keepdims=True))
        maximum = tf.where(is_finite(maximum), maximum, tf.zeros_like(maximum))
        moved = tf.cast(maximum[..., 0, 0, 0], offset.dtype)
        return new - maximum, offset + moved

    def only_steps(flag: Tensor | None, new: Interface, old: Interface) -> Interface:
        if flag is None:
            return new
        values = tf.where(over_axes(flag, new[0]), new[0], old[0])
        return values, tf.where(flag, new[1], old[1])

    def body_of_last(t: Tensor, state: Interface, before: Interface) -> tuple:
        flag = None if flags is None else flags.read(t)
        new = only_steps(flag, after(t, state), state)
        return t + 1, new, only_steps(flag, state, before)

    def body_of_all(t: Tensor, state: Interface, before: tuple) -> tuple:
        flag = None if flags is None else flags.read(t)
        kept = tuple(
            array.write(t, part) for array, part in zip(before, state, strict=True)
        )
        return t + 1, only_steps(flag, after(t, state), state), kept

    if last_only:
        loop = (tf.constant(0), state, state)
        body: Callable = body_of_last
    else:
        arrays = tuple(
            tf.TensorArray(part.dtype, num_steps, element_shape=part.shape)
            for part in state
        )
        loop, body = (tf.constant(0), state, arrays), body_of_all
    _, _, before = tf.while_loop(
        lambda t, *_: t < num_steps, body, loop, maximum_iterations=num_steps
    )
    if last_only:
        return before
    values, offset = (array.stack() for array in before)
    return values, offset
