"""A conditional whose gradient is a conditional too.

The automatic gradient of `tf.cond` keeps the intermediate values of both branches; under
XLA the branch that is not taken then costs as much memory traffic as one that is. Here
nothing but inputs and result crosses, and the backward pass evaluates the branch again.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

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


def pullback(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], flow: Tensor
) -> list[Tensor]:
    """The vector-Jacobian product of `function`, evaluated afresh."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        result = function(*inputs)
    return tape.gradient(
        result, list(inputs), flow, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
