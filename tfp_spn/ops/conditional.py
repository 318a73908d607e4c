"""A fast function with an exact one behind it, and gradients that follow suit.

The automatic gradient of `tf.cond` keeps the intermediate values of both branches;
under XLA the branch that is not taken then costs as much memory traffic as one that is.
Here the fast function is differentiated outside of any conditional, with the values of
its own forward pass, and the exact one is evaluated again where it is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.eager.record import stop_recording as stop_recording

from tfp_spn._typing import Tensor

Sources = Sequence[Sequence[Tensor]]


def with_fallback(
    fast: Callable[[Sources], tuple[Tensor, Tensor, Tensor]],
    exact: Callable[[Sources], tuple[Tensor, Tensor]],
    sources: Sources,
) -> tuple[Tensor, Tensor]:
    """The results of `fast`, or those of `exact` where `fast` says it was lossy.

    Args:
        fast: Maps `sources` to a value, a constant that goes with it, and a scalar
            bool: whether digits were lost.
        exact: Maps `sources` to a value and a constant of the same shapes.
        sources: Groups of floating-point tensors, to which gradients flow. Gradients of
            a group that nobody asks for are not computed in a graph.

    Returns:
        Value and constant. Second derivatives are those of `fast`.
    """
    sizes = [len(group) for group in sources]

    def regroup(flat: Sequence[Tensor]) -> list[list[Tensor]]:
        ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
        return [
            list(flat[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]

    @tf.custom_gradient
    def run(*flat: Tensor) -> tuple[tuple[Tensor, Tensor], Callable]:
        with tf.GradientTape(True, watch_accessed_variables=False) as tape:
            tape.watch(flat)
            value, constant, is_lossy = fast(regroup(flat))
        with stop_recording():
            results = tf.cond(
                is_lossy, lambda: exact(regroup(flat)), lambda: (value, constant)
            )
            results = (  # the loops of `exact` may have forgotten static shapes
                tf.ensure_shape(results[0], value.shape),
                tf.ensure_shape(results[1], constant.shape),
            )

        def backward(flow: Tensor, _: Tensor) -> list[Tensor]:
            zero = tf.UnconnectedGradients.ZERO
            flows = regroup(
                tape.gradient(value, list(flat), flow, unconnected_gradients=zero)
            )
            fixed = [tf.stop_gradient(source) for source in flat]
            fixed_flow = tf.stop_gradient(flow)

            def exact_flows(*constants: Tensor) -> list[Tensor]:
                *inputs, flow = constants
                return pullback(lambda *x: exact(regroup(x))[0], inputs, flow)

            if not tf.executing_eagerly():  # each group has a conditional of its own
                exact_flows = tf.function(exact_flows, autograph=False)

            def exact_flows_of(number: int) -> list[Tensor]:
                return regroup(exact_flows(*fixed, fixed_flow))[number]

            results: list[Tensor] = []
            for number, group in enumerate(flows):
                replacement = functools.partial(exact_flows_of, number)
                results += replaced_if(is_lossy, replacement, group)
            return results

        return results, backward

    return run(*(source for group in sources for source in group))


def replaced_if(
    predicate: Tensor, replacement: Callable[[], list[Tensor]], values: list[Tensor]
) -> list[Tensor]:
    """`values`, or ``replacement()`` where `predicate` holds.

    `replacement` must read constants (`tf.stop_gradient`) only, and may use tapes.
    Derivatives are those of `values` in both cases: second derivatives, which nobody
    needs of the rare case, would otherwise be built for it every time.
    """
    if not values:
        return []

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
