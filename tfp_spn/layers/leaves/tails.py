"""Tails of families.

Upper ones, where one less the cdf has no digits left; and both of those families whose
cdf TFP computes with fewer digits than float32 has, as of large counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from tfp_spn._keras_bridge import Distribution, betainc
from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.incomplete_gamma import log_gamma_tail, normal_log_cdf
from tfp_spn.ops.log_space import log1mexp, safe_log


def log_cdf(components: Distribution, x: Tensor) -> Tensor:
    """``log P(X <= x)`` of distributions of TFP.

    Args:
        components: The distributions.
        x: Values within the support.

    Raises:
        NotImplementedError: They have no cdf.
    """
    lower = _LOWER.get(type(components).__name__)
    value = components.log_cdf(x) if lower is None else lower(components, x, False)
    return tf.cast(value, x.dtype)


def log_survival_function(components: Distribution, x: Tensor) -> Tensor:
    """``log P(X > x)`` of distributions of TFP, which may have no such method.

    Args:
        components: The distributions.
        x: Values within the support.

    Raises:
        NotImplementedError: They have no cdf, either.
    """
    name = type(components).__name__
    if name in _LOWER:
        return tf.cast(_LOWER[name](components, x, True), x.dtype)
    if name in _LOG_SURVIVAL:
        return tf.cast(_LOG_SURVIVAL[name](components, x), x.dtype)
    if name in _SURVIVAL:
        return safe_log(tf.cast(_SURVIVAL[name](components, x), x.dtype))
    own = ("_survival_function", "_log_survival_function")
    if any(hasattr(components, name) for name in own):
        return tf.cast(components.log_survival_function(x), x.dtype)
    return log1mexp(tf.cast(components.log_cdf(x), x.dtype))


def _beta(d: Distribution, x: Tensor) -> Tensor:
    concentration0, concentration1, x = _alike(d.concentration0, d.concentration1, x)
    return betainc(concentration0, concentration1, 1 - x)


def _cauchy(d: Distribution, x: Tensor) -> Tensor:
    distance = x - d.loc
    return tf.atan2(d.scale + tf.zeros_like(distance), distance) / math.pi


def _gumbel(d: Distribution, x: Tensor) -> Tensor:
    return -tf.math.expm1(-tf.exp((d.loc - x) / d.scale))


def _inverse_gaussian(d: Distribution, x: Tensor) -> Tensor:
    """A difference of two tails, in double precision."""
    wide = [tf.cast(v, tf.float64) for v in (d.loc, d.concentration, x)]
    loc, concentration, x = wide
    root = tf.sqrt(concentration / x)
    near, far = (
        0.5 * tf.math.erfc(root * (x / loc + sign) / math.sqrt(2)) for sign in (-1, 1)
    )
    return near - tf.exp(2 * concentration / loc + safe_log(far))


def _kumaraswamy(d: Distribution, x: Tensor) -> Tensor:
    rest = -tf.math.expm1(d.concentration1 * tf.math.log(x))
    return rest**d.concentration0


def _moyal(d: Distribution, x: Tensor) -> Tensor:
    return tf.math.erf(tf.exp((d.loc - x) / (2 * d.scale)) / math.sqrt(2))


def _student_t(d: Distribution, x: Tensor) -> Tensor:
    z = (x - d.loc) / d.scale
    share = d.df / (d.df + tf.square(z))
    tail = 0.5 * betainc(*_alike(0.5 * d.df, 0.5 * tf.ones_like(z), share))
    return tf.where(z > 0, tail, 1 - tail)


_SURVIVAL: dict[str, Callable[[Distribution, Tensor], Tensor]] = {
    "Beta": _beta,
    "Cauchy": _cauchy,
    "Gumbel": _gumbel,
    "InverseGaussian": _inverse_gaussian,
    "Kumaraswamy": _kumaraswamy,
    "Moyal": _moyal,
    "StudentT": _student_t,
}


Tail = Callable[[Distribution, Tensor, bool], Tensor]
"""``log P(X > x)`` if asked for the upper tail, else ``log P(X <= x)``."""


def _binomial(d: Distribution, x: Tensor, is_upper: bool) -> Tensor:
    trials, x, success, failure = _alike(d.total_count, x, *_probs(d))
    rest, above = trials - x, x + 1
    is_inside = rest > 0
    rest = tf.where(is_inside, rest, tf.ones_like(rest))
    sides = [(above, rest, success), (rest, above, failure)]
    tail = betainc(*sides[0 if is_upper else 1])
    end = 0.0 if is_upper else 1.0
    return safe_log(tf.where(is_inside, tail, end * tf.ones_like(tail)))


def _negative_binomial(d: Distribution, x: Tensor, is_upper: bool) -> Tensor:
    failures, x, success, failure = _alike(d.total_count, x, *_probs(d))
    sides = [(x + 1, failures, success), (failures, x + 1, failure)]
    return safe_log(betainc(*sides[0 if is_upper else 1]))


def _poisson(d: Distribution, x: Tensor, is_upper: bool) -> Tensor:
    x, rate = _alike(x, _rate(d))
    return log_gamma_tail(x + 1, rate, not is_upper)


def _gamma(d: Distribution, x: Tensor, is_upper: bool) -> Tensor:
    concentration, rate, x = _alike(d.concentration, _rate(d), x)
    return log_gamma_tail(concentration, rate * x, is_upper)


def _inverse_gamma(d: Distribution, x: Tensor, is_upper: bool) -> Tensor:
    concentration, scale, x = _alike(d.concentration, d.scale, x)
    return log_gamma_tail(concentration, scale / x, not is_upper)


def _chi2(d: Distribution, x: Tensor, is_upper: bool) -> Tensor:
    df, x = _alike(d.df, x)
    return log_gamma_tail(0.5 * df, 0.5 * x, is_upper)


_LOWER: dict[str, Tail] = {
    "Binomial": _binomial,
    "Chi2": _chi2,
    "Gamma": _gamma,
    "InverseGamma": _inverse_gamma,
    "NegativeBinomial": _negative_binomial,
    "Poisson": _poisson,
}


def _half_normal(d: Distribution, x: Tensor) -> Tensor:
    return math.log(2) + normal_log_cdf(-x / d.scale)


def _weibull(d: Distribution, x: Tensor) -> Tensor:
    return -((x / d.scale) ** d.concentration)


_LOG_SURVIVAL: dict[str, Callable[[Distribution, Tensor], Tensor]] = {
    "HalfNormal": _half_normal,
    "Weibull": _weibull,
}


def _probs(d: Distribution) -> tuple[Tensor, Tensor]:
    """Of success and failure, float64."""
    if d.logits is None:
        probs = tf.cast(d.probs, tf.float64)
        return probs, 1 - probs
    logits = tf.cast(d.logits, tf.float64)
    return tf.math.sigmoid(logits), tf.math.sigmoid(-logits)


def _rate(d: Distribution) -> Tensor:
    """The rate, float64."""
    if d.log_rate is None:
        return tf.cast(d.rate, tf.float64)
    return tf.exp(tf.cast(d.log_rate, tf.float64))


def _alike(*values: Tensor) -> list[Tensor]:
    """Broadcasts to one shape, as TensorFlow's special functions want them; float64."""
    wide = [tf.cast(value, tf.float64) for value in values]
    zero = sum(tf.zeros_like(value) for value in wide)
    return [value + zero for value in wide]
