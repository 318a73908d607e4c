"""A fast function with an exact one to fall back on, and gradients to match.

The automatic gradient of `tf.cond` keeps the intermediate values of both branches;
under XLA the branch that is not taken then costs as much memory traffic as one that is.
Here the fast function is differentiated outside of any conditional, with the values of
its own forward pass, and the exact one is evaluated again where it is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.record import stop_recording as stop_recording

from tfp_spn._typing import Tensor
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import is_finite

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
    flat, regroup = _flattened(sources)

    @custom_gradient
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

        def exact_flows(sources: Sources, flow: Tensor) -> list[Tensor]:
            def value_of(*flat: Tensor) -> Tensor:
                return exact(regroup(flat))[0]

            return pullback(value_of, _flattened(sources)[0], flow)

        def backward(flow: Tensor, _: Tensor) -> list[Tensor]:
            zero = tf.UnconnectedGradients.ZERO
            flows = tape.gradient(value, list(flat), flow, unconnected_gradients=zero)
            return _replaced_groups(
                regroup(flows), lambda _: is_lossy, exact_flows, regroup(flat), flow
            )

        return results, backward

    return run(*flat)


def with_finite_gradients(
    function: Callable[..., Tensor],
    careful_flows: Callable[..., list[Tensor]],
    sources: Sequence[Tensor],
) -> Tensor:
    """``function(*sources)``, with other gradients where its own are not finite.

    Nothing flows back to a log-density of minus infinity; but zero times a derivative
    that overflows is NaN, and the NaN of one example would be that of the sum over all.

    Args:
        function: Maps floating-point tensors to a value.
        careful_flows: From what flows into the value, and `sources`, to what flows into
            each of these: the gradients to take instead.
        sources: The tensors. Gradients that nobody asks for are not computed in a
            graph, nor looked at.

    Returns:
        The value. Second derivatives are those of `function`.
    """

    @custom_gradient
    def run(*sources: Tensor) -> tuple[Tensor, Callable]:
        with tf.GradientTape(True, watch_accessed_variables=False) as tape:
            tape.watch(sources)
            value = function(*sources)

        def backward(flow: Tensor) -> list[Tensor]:
            zero = tf.UnconnectedGradients.ZERO
            flows = tape.gradient(
                value, list(sources), flow, unconnected_gradients=zero
            )
            return _replaced_groups(
                [[of_source] for of_source in flows],
                lambda group: ~tf.reduce_all(is_finite(group[0])),
                lambda groups, flow: careful_flows(flow, *_flattened(groups)[0]),
                [[source] for source in sources],
                flow,
            )

        return value, backward

    return run(*sources)


def _flattened(sources: Sources) -> tuple[list[Tensor], Callable[..., Sources]]:
    """All tensors in one list, and the way back to groups."""
    sizes = [len(group) for group in sources]
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]

    def regroup(flat: Sequence[Tensor]) -> Sources:
        return [
            list(flat[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]

    return [source for group in sources for source in group], regroup


def _replaced_groups(
    flows: Sources,
    predicate: Callable[[Sequence[Tensor]], Tensor],
    replacement: Callable[[Sources, Tensor], list[Tensor]],
    sources: Sources,
    flow: Tensor,
) -> list[Tensor]:
    """The flows, each group replaced where `predicate` of it holds."""
    flat, regroup = _flattened(sources)
    constants = [tf.stop_gradient(value) for value in (*flat, flow)]

    def all_flows(*constants: Tensor) -> list[Tensor]:
        *flat, flow = constants
        return replacement(regroup(flat), flow)

    if not tf.executing_eagerly():  # each group has a conditional of its own
        all_flows = with_captures_read(all_flows, *constants)

    def flows_of(number: int) -> list[Tensor]:
        return list(regroup(all_flows(*constants))[number])

    results: list[Tensor] = []
    for number, group in enumerate(flows):
        of_group = functools.partial(flows_of, number)
        results += replaced_if(predicate(group), of_group, list(group))
    return results


def with_captures_read(function: Callable[..., Any], *arguments: Any) -> Callable:
    """`function`, traced; what it captures from outside is read in the present graph.

    Leaves hold eager tensors, of a bijector or of a user's function. The gradient of a
    conditional cannot capture those: it knows tensors that its branch made, and so
    constants.

    Args:
        function: A function of tensors.
        *arguments: Tensors, or specs of such, like those that it will be called with.
    """
    specs = [tf.TensorSpec(value.shape, value.dtype) for value in arguments]
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    traced.set_external_captures(
        [
            tf.constant(value.numpy())
            if hasattr(value, "numpy") and value.dtype != tf.resource
            else tf.identity(value)
            for value in traced.captured_inputs
        ]
    )
    return traced


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

    @custom_gradient
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
