"""Leaves that store accumulated moments in place of location and scale.

Online EM moves a leaf's expected sufficient statistics, not its parameters. With
``use_accumulators=True`` a location-scale leaf stores those, as LibSPN-Keras does,

    location = first_order_moment_num_accum / first_order_moment_denom_accum
    scale = f(second_order_moment_num_accum / second_order_moment_denom_accum)

(the latter two if the scale is trainable; ``f`` is the family's) and its Keras layer
hands them, as gradients, the moments of the batch weighted by the flow ``g[n, k]`` that
reaches each component:

    gradient(denom) = sum_n g[n, k] u[n, k]
    gradient(num) = sum_n g[n, k] u[n, k] x[n]

where ``u = 1`` for Normal components and the weights of their M-steps for the others.
With `NegativeLogLikelihood`, whose flow is negative, an `OnlineExpectationMaximization`
step ``v - learning_rate (v + gradient)`` is then a step of online EM. A component that
no flow reaches is handed ``-v``: it stays as it is rather than decaying to nothing.

In contrast to LibSPN-Keras the moments are those of the family, not of a Normal; scales
have a floor (`min_scale`); and inputs still receive their true gradient. Second moments
are about zero: standardise data that lie many deviations away from it. `fit` and other
learning of whole circuits sets the numerators and keeps the denominators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfp_spn._typing import DTypeLike, Params, Tensor
from tfp_spn.initializers.initial_values import initial_values
from tfp_spn.layers.leaves.base_leaf import BaseLeaf, ParameterSpec
from tfp_spn.ops.custom_gradient import custom_gradient

FIRST_DENOM = "first_order_moment_denom_accum"
FIRST_NUM = "first_order_moment_num_accum"
SECOND_DENOM = "second_order_moment_denom_accum"
SECOND_NUM = "second_order_moment_num_accum"
NAMES = (FIRST_DENOM, FIRST_NUM, SECOND_DENOM, SECOND_NUM)


class Moments(NamedTuple):
    """The terms that one example adds to each accumulator, ``[batch, ..., K, D]``."""

    first_denom: Tensor
    first_num: Tensor
    second_denom: Tensor
    second_num: Tensor


def parameter_specs(leaf: BaseLeaf, num_dims: int) -> dict[str, ParameterSpec]:
    """The variables of a leaf that uses accumulators.

    Initial accumulators stand for `accumulator_initializer` examples at the initial
    location and scale.
    """
    shape = (leaf.num_components, num_dims)
    drawn: dict[str, Tensor] = {}

    def first(name: str) -> Callable[..., Tensor]:
        """Draws once: several variables begin with the same values."""
        initializer = {
            "location": leaf.location_initializer,
            "scale": leaf.scale_initializer,
            "first": leaf.accumulator_initializer,
            "second": leaf.accumulator_initializer,
        }[name]

        def initialize(shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
            if name not in drawn:
                drawn[name] = initial_values(
                    leaf.label, name, initializer, shape, dtype, axis=-2
                )
            return drawn[name]

        return initialize

    def first_num(shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        return first("first")(shape, dtype) * first("location")(shape, dtype)

    def second_num(shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        names = ("scale", "location", "first", "second")
        return leaf.second_num_of_scale(*(first(name)(shape, dtype) for name in names))

    def raw_scale(shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        return leaf.inverse_scale(first("scale")(shape, dtype))

    trainable = leaf.location_trainable
    specs = {
        FIRST_DENOM: ParameterSpec(shape, first("first"), trainable),
        FIRST_NUM: ParameterSpec(shape, first_num, trainable),
    }
    if not leaf.scale_trainable:
        return {**specs, "scale": ParameterSpec(shape, raw_scale, False)}
    return {
        **specs,
        SECOND_DENOM: ParameterSpec(shape, first("second")),
        SECOND_NUM: ParameterSpec(shape, second_num),
    }


def to_location_and_scale(leaf: BaseLeaf, params: Params) -> Params:
    """Adds ``location`` and ``scale`` (before softplus) to accumulators."""
    location = quotient(params[FIRST_NUM], params[FIRST_DENOM])
    if not leaf.scale_trainable:
        return {**params, "location": location}
    moments = Moments(*(params[name] for name in NAMES))
    scale = leaf.scale_of_moments(moments, location)
    raw_scale = leaf.inverse_scale(scale)
    return {**params, "location": location, "scale": raw_scale}


def from_location_and_scale(leaf: BaseLeaf, params: Params, new: Params) -> Params:
    """Accumulators of a new location and scale, with the denominators of `params`."""
    first, location = params[FIRST_DENOM], new["location"]
    stored = {FIRST_DENOM: first, FIRST_NUM: location * first}
    if not leaf.scale_trainable:
        return {**stored, "scale": new["scale"]}
    second = params[SECOND_DENOM]
    second_num = leaf.second_num_of_scale(leaf.scale(new), location, first, second)
    return {**stored, SECOND_DENOM: second, SECOND_NUM: second_num}


def log_prob_with_moments(leaf: BaseLeaf, x: Tensor) -> Tensor:
    """Component log-probabilities ``[batch, scopes, decomps, K]`` of a leaf layer.

    Its gradients with respect to accumulators are moments, not derivatives.
    """
    x = tf.cast(x, leaf.compute_dtype)
    stored = {k: tf.convert_to_tensor(v) for k, v in leaf.live_params().items()}
    names = [name for name in NAMES if name in stored]
    constants = {k: v for k, v in stored.items() if k not in names}

    @custom_gradient
    def forward(x: Tensor, *accumulators: Tensor) -> tuple[Tensor, Callable]:
        params = {**constants, **dict(zip(names, accumulators, strict=True))}
        value = leaf.slot_log_prob(leaf.canonical(params), x)

        def backward(flow: Tensor) -> list[Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                again = leaf.slot_log_prob(leaf.canonical(params), x)
            d_x = tape.gradient(again, x, flow)
            plain = to_location_and_scale(leaf, params)
            moments = leaf.accumulated_moments(
                leaf.safe_value(x)[..., tf.newaxis, :],
                plain["location"],
                leaf.scale(plain),
            )
            weight = flow[..., tf.newaxis]
            received = tf.reduce_any(weight != 0, axis=0, keepdims=True)
            gradients = [d_x]
            for name, accumulator in zip(names, accumulators, strict=True):
                moment = tf.math.multiply_no_nan(moments[NAMES.index(name)], weight)
                total = tf.reduce_sum(moment, axis=0, keepdims=True)
                gradients.append(tf.where(received, total, -accumulator))
            return gradients

        return value, backward

    return forward(x, *(stored[name] for name in names))


def safe_sqrt(x: Tensor) -> Tensor:
    """The root, 0 with a zero gradient where `x` is not positive."""
    positive = x > 0
    root = tf.sqrt(tf.where(positive, x, tf.ones_like(x)))
    return tf.where(positive, root, tf.zeros_like(root))


def quotient(num: Tensor, denom: Tensor) -> Tensor:
    """0 where no example has counted yet."""
    return tf.math.divide_no_nan(num, tf.maximum(denom, 0))
