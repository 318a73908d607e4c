"""Weighted maximum likelihood of TFP families, from expected sufficient statistics.

A family has an M-step if the maximiser of ``sum_n w[n] log p(x[n])`` follows from

    m = sum_n w[n] T(x[n]) / sum_n w[n]

It is found by matching ``E[T]``, in closed form or by Newton's method (Gamma, Beta,
Dirichlet, von Mises), after Minka (2000), "Estimating a Dirichlet distribution", and
Banerjee et al. (2005), "Clustering on the unit hypersphere". Student's t has the
weights of its scale mixture of Normals as statistics, so that its M-step is one of
generalised EM (Liu and Rubin 1995). Steps and pseudocounts move ``m`` from where the
present parameters have it.

All values of one component: scalar families ``[..., K, D]``, vectors with the features
of a statistic in place of the dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Params, Tensor

Statistics = tuple[Tensor, ...]

MIN_SCALE = 1e-3
"""The floor of scales, which keeps a component from collapsing onto one value."""

_TINY = 1e-12
_NUM_STEPS = 20


@dataclass(frozen=True)
class MaximumLikelihood:
    """The M-step of a family.

    Attributes:
        statistics: Of parameters, with an axis for the examples, and values ``[L, 1,
            D, N]``: each ``[L, K or 1, F, N]``.
        expected: Of parameters: their expectations, ``[L, K, F]`` each.
        maximizer: Of their means and the old parameters: new parameters, under all
            names that TFP has for them.
        needs: What must be learned: with these fixed, the maximiser is another one.
        fixed: What must be constant.
    """

    statistics: Callable[[Params, Tensor], Statistics]
    expected: Callable[[Params], Statistics]
    maximizer: Callable[[Statistics, Params], Params]
    needs: tuple[tuple[str, ...], ...] = ()
    fixed: tuple[str, ...] = ()

    def obstacle(self, learned: Params) -> str | None:
        """In words, why this M-step does not serve if only `learned` are free."""
        for names in self.needs:
            if not set(names) & set(learned):
                return f"it needs {' or '.join(names)} to be learned"
        for name in self.fixed:
            if name in learned:
                return f"it needs a constant {name}"
        return None


# --- families on the real line, by way of a Normal ----------------------------------


def _normal(
    forward: Callable[[Tensor], Tensor] = lambda x: x,
) -> MaximumLikelihood:
    """Normal in ``forward(x)``; moments about each component's own location."""

    def statistics(p: Params, x: Tensor) -> Statistics:
        distance = forward(x) - p["loc"]
        return distance, tf.square(distance)

    def maximizer(mean: Statistics, p: Params) -> Params:
        shift, square = mean
        if p.get("loc_is_constant"):
            return {"scale": _root(square)}
        return {"loc": p["loc"] + shift, "scale": _root(square - tf.square(shift))}

    return MaximumLikelihood(
        statistics, lambda p: _spread(p["loc"], 0.0, tf.square(p["scale"])), maximizer
    )


def _student_t() -> MaximumLikelihood:
    def statistics(p: Params, x: Tensor) -> Statistics:
        distance = x - p["loc"]
        weight = (p["df"] + 1) / (p["df"] + tf.square(distance / p["scale"]))
        return weight, weight * distance, weight * tf.square(distance)

    def maximizer(mean: Statistics, p: Params) -> Params:
        weight, first, second = mean
        shift = first / tf.maximum(weight, _TINY)
        if p.get("loc_is_constant"):
            return {"scale": _root(second)}
        return {"loc": p["loc"] + shift, "scale": _root(second - first * shift)}

    return MaximumLikelihood(
        statistics,
        lambda p: _spread(p["loc"] + p["df"], 1.0, 0.0, tf.square(p["scale"])),
        maximizer,
    )


def _half_normal() -> MaximumLikelihood:
    return MaximumLikelihood(
        lambda p, x: (tf.square(x),),
        lambda p: (tf.square(p["scale"]),),
        lambda mean, p: {"scale": _root(mean[0])},
    )


# --- counts ---------------------------------------------------------------------------


def _of_mean(
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


def _from_probs(success: Tensor, failure: Tensor) -> Params:
    """Of two numbers in the proportion of success and failure."""
    success, failure = tf.maximum(success, _TINY), tf.maximum(failure, _TINY)
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


def _probs(p: Params) -> Tensor:
    if "probs" in p:
        return p["probs"]
    if "probits" in p:
        return 0.5 * tf.math.erfc(-p["probits"] / 2**0.5)
    return tf.math.sigmoid(p["logits"])


def _odds(p: Params) -> Tensor:
    if "logits" in p:
        return tf.exp(p["logits"])
    return p["probs"] / (1 - p["probs"])


def _rates(rate: Tensor) -> Params:
    rate = tf.maximum(rate, _TINY)
    return {"rate": rate, "log_rate": tf.math.log(rate)}


def _rate(p: Params) -> Tensor:
    return p["rate"] if "rate" in p else tf.exp(p["log_rate"])


def _categorical() -> MaximumLikelihood:
    def num_categories(p: Params) -> int:
        return (p["logits"] if "logits" in p else p["probs"]).shape[-1]

    def statistics(p: Params, x: Tensor) -> Statistics:
        count = num_categories(p)
        values = tf.range(count, dtype=x.dtype)
        one_hot = tf.cast(x[..., tf.newaxis, :] == values[:, tf.newaxis], x.dtype)
        shape = tf.shape(one_hot)  # [L, 1, D, C, N]
        num_features = one_hot.shape[-3] * count
        return (
            tf.reshape(one_hot, tf.concat([shape[:-3], [num_features], shape[-1:]], 0)),
        )

    def expected(p: Params) -> Statistics:
        probs = p["probs"] if "probs" in p else tf.nn.softmax(p["logits"])
        num_features = probs.shape[-2] * probs.shape[-1]
        return (tf.reshape(probs, tf.concat([tf.shape(probs)[:-2], [num_features]], 0)),)

    def maximizer(mean: Statistics, p: Params) -> Params:
        old = p["logits"] if "logits" in p else p["probs"]
        probs = tf.maximum(tf.reshape(mean[0], tf.shape(old)), _TINY)
        probs /= tf.reduce_sum(probs, axis=-1, keepdims=True)
        return {"probs": probs, "logits": tf.math.log(probs)}

    return MaximumLikelihood(statistics, expected, maximizer)


# --- positive numbers -----------------------------------------------------------------


def _gamma_concentration(mean: Tensor, log_mean: Tensor) -> Tensor:
    """Solves ``log c - digamma(c) = log(mean) - log_mean`` (Minka 2002)."""
    eps = 1e-5 if mean.dtype == tf.float32 else 1e-9  # beyond, all is rounding
    gap = tf.maximum(tf.math.log(mean) - log_mean, eps)
    c = (3 - gap + tf.sqrt(tf.square(gap - 3) + 24 * gap)) / (12 * gap)
    for _ in range(5):
        residual = tf.math.log(c) - tf.math.digamma(c) - gap
        slope = 1 / c - tf.math.polygamma(tf.ones_like(c), c)
        c = 1 / (1 / c + residual / (tf.square(c) * slope))
    return c


def _gamma() -> MaximumLikelihood:
    def expected(p: Params) -> Statistics:
        rate = _rate(p)
        log_mean = tf.math.digamma(p["concentration"]) - tf.math.log(rate)
        return p["concentration"] / rate, log_mean

    def maximizer(mean: Statistics, p: Params) -> Params:
        first = tf.maximum(mean[0], _TINY)
        c = _gamma_concentration(first, mean[1])
        return {"concentration": c, **_rates(c / first)}

    return MaximumLikelihood(
        lambda p, x: (x, tf.math.log(x)),
        expected,
        maximizer,
        needs=(("concentration",), ("rate", "log_rate")),
    )


def _inverse_gamma() -> MaximumLikelihood:
    def expected(p: Params) -> Statistics:
        log_mean = tf.math.digamma(p["concentration"]) - tf.math.log(p["scale"])
        return p["concentration"] / p["scale"], log_mean

    def maximizer(mean: Statistics, p: Params) -> Params:
        first = tf.maximum(mean[0], _TINY)
        c = _gamma_concentration(first, mean[1])
        return {"concentration": c, "scale": c / first}

    return MaximumLikelihood(
        lambda p, x: (1 / x, -tf.math.log(x)),
        expected,
        maximizer,
        needs=(("concentration",), ("scale",)),
    )


def _inverse_gaussian() -> MaximumLikelihood:
    def maximizer(mean: Statistics, p: Params) -> Params:
        loc = tf.maximum(mean[0], _TINY)
        spread = tf.maximum(mean[1] - 1 / loc, 1e-6 * mean[1])
        return {"loc": loc, "concentration": 1 / spread}

    return MaximumLikelihood(
        lambda p, x: (x, 1 / x),
        lambda p: (p["loc"], 1 / p["loc"] + 1 / p["concentration"]),
        maximizer,
        needs=(("loc",), ("concentration",)),
    )


# --- proportions and angles -------------------------------------------------------------


def _dirichlet_concentration(log_mean: Tensor, old: Tensor) -> Tensor:
    """Newton's method for ``E[log x] = log_mean``; ``[..., C]``, from `old`.

    In the logarithms of the concentrations, by steps of at most one. Where it ends no
    better than it began, `old` is kept: no step lowers the likelihood.
    """

    def objective(a: Tensor) -> Tensor:
        log_norm = tf.reduce_sum(tf.math.lgamma(a), -1) - tf.math.lgamma(
            tf.reduce_sum(a, -1)
        )
        return tf.reduce_sum((a - 1) * log_mean, -1) - log_norm

    a = old
    one = tf.ones_like(a)
    for _ in range(_NUM_STEPS):
        total = tf.reduce_sum(a, -1, keepdims=True)
        gradient = tf.math.digamma(total) - tf.math.digamma(a) + log_mean
        q = -tf.math.polygamma(one, a)
        z = tf.math.polygamma(tf.ones_like(total), total)
        b = tf.reduce_sum(gradient / q, -1, keepdims=True) / (
            1 / z + tf.reduce_sum(1 / q, -1, keepdims=True)
        )
        step = -(gradient - b) / q / a
        a = a * tf.exp(tf.clip_by_value(step, -1.0, 1.0))
        a = tf.clip_by_value(a, 1e-4, 1e6)
    better = objective(a) >= objective(old)
    return tf.where(better[..., tf.newaxis], a, old)


def _beta() -> MaximumLikelihood:
    def both(p: Params) -> Tensor:
        return tf.stack([p["concentration1"], p["concentration0"]], axis=-1)

    def expected(p: Params) -> Statistics:
        total = tf.math.digamma(p["concentration1"] + p["concentration0"])
        return (
            tf.math.digamma(p["concentration1"]) - total,
            tf.math.digamma(p["concentration0"]) - total,
        )

    def maximizer(mean: Statistics, p: Params) -> Params:
        new = _dirichlet_concentration(tf.stack(mean, axis=-1), both(p))
        return {"concentration1": new[..., 0], "concentration0": new[..., 1]}

    return MaximumLikelihood(
        lambda p, x: (tf.math.log(x), tf.math.log1p(-x)),
        expected,
        maximizer,
        needs=(("concentration1",), ("concentration0",)),
    )


def _dirichlet() -> MaximumLikelihood:
    def expected(p: Params) -> Statistics:
        total = tf.reduce_sum(p["concentration"], -1, keepdims=True)
        return (tf.math.digamma(p["concentration"]) - tf.math.digamma(total),)

    return MaximumLikelihood(
        lambda p, x: (tf.math.log(x),),
        expected,
        lambda mean, p: {
            "concentration": _dirichlet_concentration(mean[0], p["concentration"])
        },
    )


def _bessel_ratio(concentration: Tensor) -> Tensor:
    return tf.math.bessel_i1e(concentration) / tf.math.bessel_i0e(concentration)


def _von_mises() -> MaximumLikelihood:
    def expected(p: Params) -> Statistics:
        length = _bessel_ratio(p["concentration"])
        return length * tf.cos(p["loc"]), length * tf.sin(p["loc"])

    def maximizer(mean: Statistics, p: Params) -> Params:
        cos, sin = mean
        length = tf.sqrt(tf.square(cos) + tf.square(sin))
        length = tf.clip_by_value(length, 1e-6, 1 - 1e-4)
        k = length * (2 - tf.square(length)) / (1 - tf.square(length))
        for _ in range(10):
            ratio = _bessel_ratio(k)
            slope = 1 - ratio / k - tf.square(ratio)
            k = tf.maximum(k - (ratio - length) / tf.maximum(slope, 1e-9), 0.5 * k)
        return {"loc": tf.atan2(sin, cos), "concentration": k}

    return MaximumLikelihood(
        lambda p, x: (tf.cos(x), tf.sin(x)),
        expected,
        maximizer,
        needs=(("loc",), ("concentration",)),
    )


# --- vectors --------------------------------------------------------------------------


def _normal_diag() -> MaximumLikelihood:
    univariate = _normal()

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


def _normal_tril() -> MaximumLikelihood:
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
        covariance = tf.matmul(vectors * values[..., tf.newaxis, :], vectors, False, True)
        return {"loc": p["loc"] + shift, "scale_tril": tf.linalg.cholesky(covariance)}

    return MaximumLikelihood(
        statistics, expected, maximizer, needs=(("loc",), ("scale_tril",))
    )


def _root(square: Tensor) -> Tensor:
    return tf.sqrt(tf.maximum(square, MIN_SCALE**2))


def _spread(like: Tensor, *values: Tensor | float) -> Statistics:
    """All of the shape that `like` and they broadcast to."""
    zero = tf.zeros_like(like) + 0 * values[-1]
    return tuple(value + zero for value in values)


FAMILIES: dict[str, MaximumLikelihood] = {
    "Bernoulli": _of_mean(_probs, lambda m, p: _from_probs(m, 1 - m)),
    "Beta": _beta(),
    "Binomial": _of_mean(
        lambda p: p["total_count"] * _probs(p),
        lambda m, p: _from_probs(m, p["total_count"] - m),
        fixed=("total_count",),
    ),
    "Categorical": _categorical(),
    "Dirichlet": _dirichlet(),
    "Exponential": _of_mean(
        lambda p: 1 / _rate(p), lambda m, p: _rates(1 / tf.maximum(m, _TINY))
    ),
    "Gamma": _gamma(),
    "Geometric": _of_mean(
        lambda p: 1 / _odds(p), lambda m, p: _from_probs(tf.ones_like(m), m)
    ),
    "HalfNormal": _half_normal(),
    "InverseGamma": _inverse_gamma(),
    "InverseGaussian": _inverse_gaussian(),
    "LogNormal": _normal(tf.math.log),
    "LogitNormal": _normal(lambda x: tf.math.log(x) - tf.math.log1p(-x)),
    "MultivariateNormalDiag": _normal_diag(),
    "MultivariateNormalTriL": _normal_tril(),
    "NegativeBinomial": _of_mean(
        lambda p: p["total_count"] * _odds(p),
        lambda m, p: _from_probs(m, p["total_count"] + 0 * m),
        fixed=("total_count",),
    ),
    "Normal": _normal(),
    "Poisson": _of_mean(_rate, lambda m, p: _rates(m)),
    "ProbitBernoulli": _of_mean(_probs, lambda m, p: _from_probs(m, 1 - m)),
    "StudentT": _student_t(),
    "VonMises": _von_mises(),
}
"""The families of `tfd` that have an M-step, by name."""
