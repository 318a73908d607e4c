"""Sums over all paths of a chain: the recursion of a sequence model in time.

    Z = sum_{q_1 ... q_T} pi[q_1] e_1[q_1] prod_t A_t[q_t, q_{t-1}] e_t[q_t]

The transition ``A`` is one matrix of weights (a hidden Markov model), or a product of
two through an interface of fewer units. Messages run from both ends at once, so that a
step is one batched matrix product for the two directions and ``log Z`` needs ``T / 2``
of them; the gradient, expected counts of states and transitions, goes on from there to
the other ends (the forward-backward algorithm).

Messages are in linear space, scaled by their maximum at each step. Entries that vanish
next to it are lost, which matters if what vanished would have won in the end. If any
entry is small, the half-way messages run once more with a floor under all entries,
which gives an upper bound of ``Z``. Unless both agree, everything is evaluated again in
log space (`tfp_spn.ops.log_chain`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.certainty import CHECKED, Certainty
from tfp_spn.ops.conditional import pullback
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_chain import (
    MAX_UNROLLED,
    exact_log_chain,
    parallel_log_chain,
)
from tfp_spn.ops.log_space import finite_max, safe_log, sum_to_shape_of
from tfp_spn.ops.long_sums import in_parts

_UNROLLED = 4
"""Steps per iteration of the loop: its own cost is that of a step."""

_PARALLEL_WORK = 2048
"""Multiplications of a transition product below which a level of the tree is faster."""

Steps = tuple[Tensor, list[Tensor], Tensor | None]
"""Emissions ``[n, 2, ..., Q, N]``, operators, and which steps exist."""


class Chain(NamedTuple):
    """The logarithms of a chain's factors, time first.

    Attributes:
        emission: ``[T, ..., Q, N]``: of each step, state and example.
        initial: ``[..., Q]``: log-weights of the states of the first step.
        transition: ``[T - 1, ..., Q, S]``, or ``[1, ..., Q, S]`` when all steps share
            it: each unit ``s`` behind a step is a sum over the states of the next.
        interface: ``[T - 1, ..., S, Q]`` or ``[1, ..., S, Q]``: each state is a sum
            over the units behind its step. `None`: units are states, ``S = Q``.
        exists: bool ``[T, ..., 1, N]``: False behind the end of a sequence, where the
            chain stands still. `None`: all have all steps.
    """

    emission: Tensor
    initial: Tensor
    transition: Tensor
    interface: Tensor | None = None
    exists: Tensor | None = None

    @property
    def sources(self) -> list[Tensor]:
        """What gradients flow to."""
        sources = [self.emission, self.initial, self.transition]
        return sources if self.interface is None else [*sources, self.interface]

    def replaced(self, sources: tuple[Tensor, ...]) -> Chain:
        """With other `sources`."""
        interface = sources[3] if len(sources) > 3 else None
        emission, initial, transition = sources[:3]
        return Chain(emission, initial, transition, interface, self.exists)


def log_chain(
    chain: Chain, parallel: bool | None = None, certainty: Certainty = CHECKED
) -> Tensor:
    """``log Z``, ``[..., N]``.

    Gradients with respect to the logarithms are posterior probabilities of states and
    expected counts of transitions. Second derivatives, which go through log space, need
    a `tf.function` around all of it, or ``parallel=True``.

    Args:
        chain: The factors.
        parallel: Whether to multiply transition matrices in a tree, in ``log2 T``
            dependent steps and log space, instead of one step after another. Default:
            if there are few states and examples. Chains of a few steps are by default
            evaluated in log space, which compiles faster.
        certainty: What is done about digits that may have been lost.
    """
    num_steps, num_states = chain.emission.shape[0], chain.emission.shape[-2]
    is_chosen = parallel is not None
    if parallel is None:
        count = chain.emission.shape[-1]
        parallel = (
            count is not None
            and num_steps >= 32
            and num_states**3 * count <= _PARALLEL_WORK
        )
    is_short = num_steps <= MAX_UNROLLED and not is_chosen
    if num_steps == 1 or is_short or certainty.is_exact:
        return exact_log_chain(*chain)
    if parallel:
        return parallel_log_chain(*chain)
    return _scaled_log_chain(chain, certainty)


def _scaled_log_chain(chain: Chain, certainty: Certainty) -> Tensor:
    @custom_gradient
    def run(*sources: Tensor) -> tuple[Tensor, Callable]:
        fixed = chain.replaced(tuple(tf.stop_gradient(s) for s in sources))
        messages = _Messages(fixed)
        log_z, is_lossy = messages.half_way()
        result = certainty.choose(is_lossy, lambda: exact_log_chain(*fixed), log_z)

        def backward(flow: Tensor) -> list[Tensor]:
            return first_derivatives(flow, *sources)

        @custom_gradient
        def first_derivatives(
            flow: Tensor, *sources: Tensor
        ) -> tuple[list[Tensor], Callable]:
            fixed_flow = tf.stop_gradient(flow)
            counts, is_consistent = messages.counts(fixed_flow)

            def exact_counts() -> list[Tensor]:
                def function(*sources: Tensor) -> Tensor:
                    return exact_log_chain(*fixed.replaced(sources))

                return pullback(function, fixed.sources, fixed_flow)

            values = certainty.choose(is_lossy | ~is_consistent, exact_counts, counts)

            return values, functools.partial(_second_derivatives, chain, flow, sources)

        return result, backward

    return run(*chain.sources)


def _second_derivatives(
    chain: Chain, flow: Tensor, sources: tuple[Tensor, ...], *flows: Tensor
) -> list[Tensor]:
    """Of the flow and the sources, by differentiating in log space twice."""
    zero = tf.UnconnectedGradients.ZERO
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch([flow, *sources])
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(sources)
            log_z = exact_log_chain(*chain.replaced(sources))
        first = inner.gradient(
            log_z, sources, output_gradients=flow, unconnected_gradients=zero
        )
    return outer.gradient(
        first, [flow, *sources], output_gradients=flows, unconnected_gradients=zero
    )


class _Messages:
    """Messages from both ends: forward in ``[:, 0]``, backward in ``[:, 1]``.

    A message contains the emission of its own step. Forward ones arrive at step ``i``
    when backward ones arrive at ``T - 1 - i``.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        emission = chain.emission
        if chain.exists is not None:
            emission = tf.where(chain.exists, emission, tf.zeros_like(emission))
        self.num_steps = emission.shape[0]
        self.dtype = emission.dtype
        info = np.finfo(self.dtype.as_numpy_dtype)
        self.tiny = info.tiny
        self.floor = info.tiny / info.eps
        self.tolerance = 4 * info.eps * (self.num_steps + emission.shape[-2])
        self.maximum = finite_max(emission, -2)  # [T, ..., 1, N]
        units = tf.exp(emission - self.maximum)
        self.units = tf.stack([units, tf.reverse(units, [0])], axis=1)
        weights = tf.exp(chain.transition)
        if chain.interface is None:
            self.operators = [_both_ways(weights, _transposed(weights))]
        else:
            interface = tf.exp(chain.interface)
            self.operators = [
                _both_ways(interface, _transposed(weights)),
                _both_ways(weights, _transposed(interface)),
            ]
        self.exists = None
        if chain.exists is not None:
            # Whether the step that is entered, or was left going back, exists.
            entered, left = chain.exists[1:], tf.reverse(chain.exists[1:], [0])
            self.exists = tf.stack([entered, left], axis=1)
        initial = tf.exp(chain.initial)[..., tf.newaxis] + tf.zeros_like(units[0])
        self.first = tf.stack([initial, tf.ones_like(initial)])
        self.middle = (self.num_steps - 1) // 2

    def half_way(self) -> tuple[Tensor, Tensor]:
        """``log Z [..., N]``, and whether digits were lost."""
        self.state, self.inputs, self.scales = self._run(0.0)
        log_z, smallest = self._meet(self.state, self.inputs, self.scales)

        def disagree() -> Tensor:
            upper, _ = self._meet(*self._run(self.floor))
            return ~tf.reduce_all(upper - log_z <= self.tolerance)

        is_lossy = tf.cond(smallest < self.floor, disagree, lambda: tf.constant(False))
        log_z += tf.reduce_sum(tf.cast(self.maximum, tf.float64), [0, -2])
        return tf.cast(log_z, self.dtype), is_lossy

    def _run(self, floor: float) -> tuple[Tensor, Tensor, Tensor]:
        message, scale = self._scaled(self.first * self.units[0], floor)
        inputs, scales = self.first[tf.newaxis], scale[tf.newaxis]
        if not self.middle:
            return message, inputs, scales
        message, *more = self._advance(message, 0, self.middle, floor)
        both = zip((inputs, scales), more, strict=True)
        return message, *(tf.concat(pair, 0) for pair in both)

    def _meet(
        self, message: Tensor, inputs: Tensor, scales: Tensor
    ) -> tuple[Tensor, Tensor]:
        """float64 ``log Z``, without the emissions' maxima, and the smallest entry."""
        log_scale = tf.math.log(tf.cast(scales, tf.float64))
        if self.num_steps % 2:  # both at the same step, whose emission counts once
            product = message[0] * inputs[-1, 1]
            log_scale = tf.concat([log_scale[:, 0], log_scale[:-1, 1]], 0)
        else:
            product = self._input(self.middle, message)[0] * message[1]
            log_scale = tf.concat([log_scale[:, 0], log_scale[:, 1]], 0)
        total = tf.reduce_sum(product, axis=-2)
        log_z = safe_log(tf.cast(total, tf.float64))
        log_z += tf.reduce_sum(log_scale, [0, -2])
        units = self.units[: self.middle + 1]
        smallest = tf.reduce_min(inputs * units / scales)
        return log_z, tf.minimum(smallest, tf.reduce_min(total))

    def counts(self, flow: Tensor) -> tuple[list[Tensor], Tensor]:
        """Gradients of ``log Z``, weighted by `flow` ``[..., N]``; are they right?"""
        _, inputs, scales = self._advance(
            self.state, self.middle, self.num_steps - 1 - self.middle, 0.0
        )
        inputs = tf.concat([self.inputs, inputs], 0)
        scales = tf.concat([self.scales, scales], 0)
        forward, backward = inputs[:, 0], tf.reverse(inputs[:, 1], [0])
        units = self.units[:, 0]
        message = forward * units / scales[:, 0]
        joint = message * backward  # [T, ..., Q, N], up to a factor
        total = tf.reduce_sum(joint, -2, keepdims=True)
        is_consistent = self._is_consistent(total, scales)

        flow = flow[..., tf.newaxis, :]
        d_emission = flow * tf.math.divide_no_nan(joint, total)
        if self.chain.exists is not None:
            zero = tf.zeros([], self.dtype)
            d_emission = tf.where(self.chain.exists, d_emission, zero)
        d_initial = tf.reduce_sum(d_emission[0], -1)

        entered = units[1:] * backward[1:]  # [T - 1, ..., Q, N]
        norm = tf.reduce_sum(entered * forward[1:], -2, keepdims=True)
        entered = tf.math.divide_no_nan(flow * entered, norm)
        if self.chain.exists is not None:
            entered = tf.where(self.chain.exists[1:], entered, zero)
        left = message[:-1]
        weights = tf.exp(self.chain.transition)
        if self.chain.interface is None:
            pairs = [(entered, weights, left, self.chain.transition)]
        else:
            interface = tf.exp(self.chain.interface)
            units_left = tf.matmul(interface, left)
            units_entered = tf.matmul(weights, entered, transpose_a=True)
            pairs = [
                (entered, weights, units_left, self.chain.transition),
                (units_entered, interface, left, self.chain.interface),
            ]
        counts = [_pair_counts(*pair) for pair in pairs]
        d_initial = sum_to_shape_of(d_initial, self.chain.initial)
        smallest = tf.minimum(tf.reduce_min(total), tf.reduce_min(norm))
        is_consistent &= smallest > self.floor
        return [d_emission, d_initial, *counts], is_consistent

    def _is_consistent(self, total: Tensor, scales: Tensor) -> Tensor:
        """Whether every step sees the same ``Z``."""
        log_scale = tf.math.log(tf.cast(scales, tf.float64))
        before = tf.cumsum(log_scale[:, 0], axis=0)
        after = tf.reverse(tf.cumsum(log_scale[:, 1], axis=0, exclusive=True), [0])
        log_z = safe_log(tf.cast(total, tf.float64)) + before + after
        spread = tf.reduce_max(log_z, 0) - tf.reduce_min(log_z, 0)
        return tf.reduce_all(spread <= 8 * self.tolerance)

    def _advance(
        self, message: Tensor, start: int, count: int, floor: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Goes `count` steps on from `start`.

        Returns:
            The messages then, the sums that entered each step ``[count, 2, ..., Q,
            N]``, and the scales ``[count, 2, ..., 1, N]`` that were taken out.
        """
        num_loops, rest = divmod(count, _UNROLLED)

        def several(number: Tensor | int, steps: int, message: Tensor) -> tuple:
            inputs, scales = [], []
            for _ in range(steps):
                entering = self._input(number, message)
                number = number + 1
                message, scale = self._scaled(entering * self.units[number], floor)
                inputs.append(entering)
                scales.append(scale)
            return message, tf.stack(inputs), tf.stack(scales)

        message, *first = several(start, rest, message) if rest else (message,)
        if not num_loops:
            return message, *first

        shape = message.shape
        lead = [_UNROLLED, *shape[:-2]]
        arrays = [
            tf.TensorArray(
                self.dtype, num_loops, element_shape=[*lead, units, shape[-1]]
            )
            for units in (shape[-2], 1)
        ]

        def body(loop: Tensor, message: Tensor, *arrays: tf.TensorArray) -> tuple:
            number = start + rest + loop * _UNROLLED
            message, *values = several(number, _UNROLLED, message)
            message = tf.ensure_shape(message, shape)
            written = (a.write(loop, v) for a, v in zip(arrays, values, strict=True))
            return loop + 1, message, *written

        _, message, *arrays = tf.while_loop(
            lambda loop, *_: loop < num_loops,
            body,
            (tf.constant(0), message, *arrays),
            maximum_iterations=num_loops,
        )
        results = [_merge_loops(array.stack()) for array in arrays]
        if first:
            both = zip(first, results, strict=True)
            results = [tf.concat(pair, 0) for pair in both]
        return message, *results

    def _input(self, number: Tensor | int, message: Tensor) -> Tensor:
        """What enters the next step, ``[2, ..., Q, N]``."""
        value = message
        for operator in self.operators:
            value = tf.matmul(operator[number if operator.shape[0] > 1 else 0], value)
        if self.exists is None:
            return value
        return tf.where(self.exists[number], value, message)

    def _scaled(self, message: Tensor, floor: float) -> tuple[Tensor, Tensor]:
        scale = tf.reduce_max(message, axis=-2, keepdims=True)
        scale = tf.maximum(scale, self.tiny)
        message = message / scale
        return tf.maximum(message, floor) if floor else message, scale


def _both_ways(forward: Tensor, backward: Tensor) -> Tensor:
    """``[M, 2, ...]``; going back, the last transition comes first."""
    backward = tf.reverse(backward, [0])
    shape = tf.broadcast_dynamic_shape(tf.shape(forward), tf.shape(backward))
    static = tf.broadcast_static_shape(forward.shape, backward.shape)
    both = [tf.broadcast_to(value, shape) for value in (forward, backward)]
    return tf.stack([tf.ensure_shape(value, static) for value in both], axis=1)


def _transposed(weights: Tensor) -> Tensor:
    return tf.linalg.matrix_transpose(weights)


def _pair_counts(
    entered: Tensor, weights: Tensor, left: Tensor, like: Tensor
) -> Tensor:
    """Expected counts of transitions, of the shape of `like`."""
    if like.shape[0] > 1:
        pairs = tf.einsum("t...in,t...jn->t...ij", entered, left)
    else:
        entered, left = (
            in_parts(value, -value.shape.rank) for value in (entered, left)
        )
        pairs = tf.einsum("pt...in,pt...jn->p...ij", entered, left)
        pairs = tf.cast(tf.reduce_sum(tf.cast(pairs, tf.float64), 0), pairs.dtype)
        pairs = pairs[tf.newaxis]
    return sum_to_shape_of(weights * pairs, like)


def _merge_loops(value: Tensor) -> Tensor:
    shape = tf.concat([[-1], tf.shape(value)[2:]], 0)
    count = value.shape[0] * value.shape[1]
    return tf.ensure_shape(tf.reshape(value, shape), [count, *value.shape[2:]])
