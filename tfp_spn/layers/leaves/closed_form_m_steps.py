"""Families whose likelihood is maximal in closed form."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.maximum_likelihood import (
    MIN_SCALE,
    TINY,
    MaximumLikelihood,
    Statistics,
    above_rounding,
    root,
    spread,
)
from tfp_spn.ops.axes import merge_axes
from tfp_spn.ops.gamma import relative_distance


def normal(
    forward: Callable[[Tensor], Tensor] = lambda x: x,
) -> MaximumLikelihood:
    """Normal in ``forward(x)``; moments about each component's own location."""

    def statistics(p: Params, x: Tensor) -> Statistics:
        distance = forward(x) - p["loc"]
        return distance, tf.square(distance)

    def maximizer(mean: Statistics, p: Params) -> Params:
        shift, square = mean
        if p.get("loc_is_constant"):
            return {"scale": root(square)}
        return {"loc": p["loc"] + shift, "scale": root(square - tf.square(shift))}

    return MaximumLikelihood(
        statistics, lambda p: spread(p["loc"], 0.0, tf.square(p["scale"])), maximizer
    )


def student_t() -> MaximumLikelihood:
    """Location and scale, of constant or present `df`."""

    def statistics(p: Params, x: Tensor) -> Statistics:
        distance = x - p["loc"]
        weight = (p["df"] + 1) / (p["df"] + tf.square(distance / p["scale"]))
        return weight, weight * distance, weight * distance * distance

    def maximizer(mean: Statistics, p: Params) -> Params:
        weight, first, second = mean
        shift = first / tf.maximum(weight, TINY)
        if p.get("loc_is_constant"):
            return {"scale": root(second)}
        return {"loc": p["loc"] + shift, "scale": root(second - first * shift)}

    return MaximumLikelihood(
        statistics,
        lambda p: spread(p["loc"] + p["df"], 1.0, 0.0, tf.square(p["scale"])),
        maximizer,
    )


def half_normal() -> MaximumLikelihood:
    """Matches the mean square, in units of each component's own."""
    return MaximumLikelihood(
        lambda p, x: (tf.square(x / p["scale"]),),
        lambda p: (tf.ones_like(p["scale"]),),
        lambda mean, p: {"scale": tf.maximum(MIN_SCALE, p["scale"] * tf.sqrt(mean[0]))},
    )


def of_mean(
    mean_of: Callable[[Params], Tensor],
    maximizer: Callable[[Tensor, Params], Params],
    fixed: tuple[str, ...] = (),
) -> MaximumLikelihood:
    """Families whose one parameter matches the mean."""
    return MaximumLikelihood(
        lambda p, x: (x,),
        lambda p: (mean_of(p),),
        lambda mean, p: maximizer(mean[0], p),
        fixed=fixed,
    )


def from_probs(success: Tensor, failure: Tensor) -> Params:
    """Matches two numbers in the proportion of success and failure."""
    success, failure = tf.maximum(success, TINY), tf.maximum(failure, TINY)
    probs = success / (success + failure)
    # Probits come from the smaller tail: 1 - probs would lose it.
    sign = tf.where(success < failure, -1.0, 1.0)
    sign = tf.cast(sign, probs.dtype)
    tail = tf.minimum(success, failure) / (success + failure)
    return {
        "probs": probs,
        "logits": tf.math.log(success) - tf.math.log(failure),
        "probits": -sign * tf.math.ndtri(tail),
    }


def probs_of(p: Params) -> Tensor:
    """Success probabilities, whatever they are given by."""
    if "probs" in p:
        return p["probs"]
    if "probits" in p:
        return 0.5 * tf.math.erfc(-p["probits"] / 2**0.5)
    return tf.math.sigmoid(p["logits"])


def odds_of(p: Params) -> Tensor:
    """Odds of success."""
    if "logits" in p:
        return tf.exp(p["logits"])
    return p["probs"] / (1 - p["probs"])


def categorical() -> MaximumLikelihood:
    """Matches the frequencies."""

    def num_categories(p: Params) -> int:
        return (p["logits"] if "logits" in p else p["probs"]).shape[-1]

    def statistics(p: Params, x: Tensor) -> Statistics:
        count = num_categories(p)
        values = tf.range(count, dtype=x.dtype)
        one_hot = tf.cast(x[..., tf.newaxis, :] == values[:, tf.newaxis], x.dtype)
        return (merge_axes(one_hot, -3, -1),)  # of [L, 1, D, G, N]

    def expected(p: Params) -> Statistics:
        probs = p["probs"] if "probs" in p else tf.nn.softmax(p["logits"])
        return (merge_axes(probs, -2, 0),)

    def maximizer(mean: Statistics, p: Params) -> Params:
        old = p["logits"] if "logits" in p else p["probs"]
        probs = tf.maximum(tf.reshape(mean[0], tf.shape(old)), TINY)
        probs /= tf.reduce_sum(probs, axis=-1, keepdims=True)
        return {"probs": probs, "logits": tf.math.log(probs)}

    return MaximumLikelihood(statistics, expected, maximizer)


def inverse_gaussian() -> MaximumLikelihood:
    """Matches the means of ``x`` and ``1 / x``, about each component's own location.

    Of ``r = x / loc - 1`` and ``loc / x - (1 - r) = r^2 / (1 + r)``.
    """

    def statistics(p: Params, x: Tensor) -> Statistics:
        r = relative_distance(x, p["loc"])
        return r, r * (x - p["loc"]) / x

    def maximizer(mean: Statistics, p: Params) -> Params:
        shift, square = mean
        new = tf.maximum(1 + shift, TINY)
        gap = above_rounding(square - shift * (shift / new), square + tf.abs(shift))
        return {"loc": new * p["loc"], "concentration": p["loc"] / gap}

    return MaximumLikelihood(
        statistics,
        lambda p: spread(p["loc"], 0.0, p["loc"] / p["concentration"]),
        maximizer,
        needs=(("loc",), ("concentration",)),
    )


def normal_diag() -> MaximumLikelihood:
    """Normal in each dimension."""
    univariate = normal()

    def as_scale(p: Params) -> Params:
        return {**p, "scale": p["scale_diag"]}

    return MaximumLikelihood(
        univariate.statistics,
        lambda p: univariate.expected(as_scale(p)),
        lambda mean, p: {
            {"scale": "scale_diag"}.get(name, name): value
            for name, value in univariate.maximizer(mean, as_scale(p)).items()
        },
    )


def normal_tril() -> MaximumLikelihood:
    """Matches mean and covariance."""

    def flat(matrix: Tensor, num_axes: int) -> Tensor:
        """Merges the two axes of a matrix that stand before `num_axes` others."""
        shape, rank = tf.shape(matrix), matrix.shape.rank
        first = rank - 2 - num_axes
        size = matrix.shape[first] * matrix.shape[first + 1]
        merged = tf.concat([shape[:first], [size], shape[first + 2 :]], 0)
        return tf.reshape(matrix, merged)

    def statistics(p: Params, x: Tensor) -> Statistics:
        distance = x - p["loc"]  # [L, K, D, N]
        outer = distance[..., tf.newaxis, :, :] * distance[..., tf.newaxis, :]
        return distance, flat(outer, 1)

    def expected(p: Params) -> Statistics:
        tril = p["scale_tril"]
        square = flat(tf.matmul(tril, tril, transpose_b=True), 0)
        return tf.zeros_like(p["loc"]) + 0 * square[..., :1], square

    def maximizer(mean: Statistics, p: Params) -> Params:
        shift, square = mean
        square = tf.reshape(square, tf.shape(p["scale_tril"]))
        covariance = square - shift[..., tf.newaxis] * shift[..., tf.newaxis, :]
        covariance = 0.5 * (covariance + tf.linalg.matrix_transpose(covariance))
        values, vectors = tf.linalg.eigh(covariance)
        # The floor of the principal scales: Cholesky fails on what is not positive.
        top = tf.reduce_max(values, -1, keepdims=True)
        eps = 1e-6 if values.dtype == tf.float32 else 1e-12
        values = tf.maximum(values, tf.maximum(MIN_SCALE**2, eps * top))
        covariance = tf.matmul(
            vectors * values[..., tf.newaxis, :], vectors, False, True
        )
        return {"loc": p["loc"] + shift, "scale_tril": tf.linalg.cholesky(covariance)}

    return MaximumLikelihood(
        statistics, expected, maximizer, needs=(("loc",), ("scale_tril",))
    )
