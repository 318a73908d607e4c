"""A conditional whose gradient is a conditional too.

The automatic gradient of `tf.cond` keeps the intermediate values of both branches;
under XLA the branch that is not taken then costs as much memory traffic as one that is.
Here nothing but inputs and result crosses, and the backward pass evaluates the branch
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.eager.record import stop_recording as stop_recording

from tfp_spn._typing import Tensor


def cond(
    predicate: Tensor,
    if_true: Callable[..., Tensor],
    if_false: Callable[..., Tensor],
    inputs: list[Tensor],
) -> Tensor:
    """``if_true(*inputs)`` or ``if_false(*inputs)``.

    Args:
        predicate: Scalar bool.
        if_true: A pure function of `inputs` (what else it reads gets no gradient).
        if_false: Another one, with a result of the same shape and dtype.
        inputs: Floating-point tensors, to which gradients flow.
    """

    @tf.custom_gradient
    def forward(*inputs: Tensor) -> tuple[Tensor, Callable]:
        def backward(flow: Tensor) -> list[Tensor]:
            return tf.cond(
                predicate,
                lambda: pullback(if_true, inputs, flow),
                lambda: pullback(if_false, inputs, flow),
            )

        result = tf.cond(predicate, lambda: if_true(*inputs), lambda: if_false(*inputs))
        return result, backward

    return forward(*inputs)


def replaced_if(
    predicate: Tensor, replacement: Callable[[], list[Tensor]], values: list[Tensor]
) -> list[Tensor]:
    """`values`, or ``replacement()`` where `predicate` holds.

    `replacement` must read constants (`tf.stop_gradient`) only, and may use tapes.
    Derivatives are those of `values` in both cases: second derivatives, which nobody
    needs of the rare case, would otherwise be built for it every time.
    """

    @tf.custom_gradient
    def forward(*values: Tensor) -> tuple[list[Tensor], Callable]:
        kept = [tf.stop_gradient(value) for value in values]
        chosen = tf.cond(predicate, replacement, lambda: kept)
        return chosen, lambda *flows: list(flows)

    return forward(*values)


def pullback(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], flow: Tensor
) -> list[Tensor]:
    """The vector-Jacobian product of `function`, evaluated afresh."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        result = function(*inputs)
    return tape.gradient(
        result, list(inputs), flow, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
