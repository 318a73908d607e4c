"""Upper tails of families, where one less the cdf has no digits left."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from tfp_spn._keras_bridge import Distribution
from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import log1mexp, safe_log


def log_survival_function(components: Distribution, x: Tensor) -> Tensor:
    """``log P(X > x)`` of distributions of TFP, which may have no such method.

    Args:
        components: The distributions.
        x: Values within the support.

    Raises:
        NotImplementedError: They have no cdf, either.
    """
    survival = _SURVIVAL.get(type(components).__name__)
    if survival is not None:
        return safe_log(tf.cast(survival(components, x), x.dtype))
    own = ("_survival_function", "_log_survival_function")
    if any(hasattr(components, name) for name in own):
        return tf.cast(components.log_survival_function(x), x.dtype)
    return log1mexp(tf.cast(components.log_cdf(x), x.dtype))


def _beta(d: Distribution, x: Tensor) -> Tensor:
    return tf.math.betainc(*_alike(d.concentration0, d.concentration1, 1 - x))


def _binomial(d: Distribution, x: Tensor) -> Tensor:
    rest = d.total_count - x
    inside = rest > 0
    safe = tf.where(inside, rest, tf.ones_like(rest))
    tail = tf.math.betainc(*_alike(x + 1, safe, d.probs_parameter()))
    return tf.where(inside, tail, tf.zeros_like(tail))


def _cauchy(d: Distribution, x: Tensor) -> Tensor:
    distance = x - d.loc
    return tf.atan2(d.scale + tf.zeros_like(distance), distance) / math.pi


def _chi2(d: Distribution, x: Tensor) -> Tensor:
    return tf.math.igammac(*_alike(0.5 * d.df, 0.5 * x))


def _gamma(d: Distribution, x: Tensor) -> Tensor:
    rate = tf.exp(d.log_rate) if d.rate is None else d.rate
    return tf.math.igammac(*_alike(d.concentration, rate * x))


def _gumbel(d: Distribution, x: Tensor) -> Tensor:
    return -tf.math.expm1(-tf.exp((d.loc - x) / d.scale))


def _inverse_gamma(d: Distribution, x: Tensor) -> Tensor:
    return tf.math.igamma(*_alike(d.concentration, d.scale / x))


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


def _negative_binomial(d: Distribution, x: Tensor) -> Tensor:
    return tf.math.betainc(*_alike(x + 1, d.total_count, d.probs_parameter()))


def _poisson(d: Distribution, x: Tensor) -> Tensor:
    return tf.math.igamma(*_alike(x + 1, d.rate_parameter()))


def _student_t(d: Distribution, x: Tensor) -> Tensor:
    z = (x - d.loc) / d.scale
    share = d.df / (d.df + tf.square(z))
    tail = 0.5 * tf.math.betainc(*_alike(0.5 * d.df, 0.5 * tf.ones_like(z), share))
    return tf.where(z > 0, tail, 1 - tail)


def _weibull(d: Distribution, x: Tensor) -> Tensor:
    return tf.exp(-((x / d.scale) ** d.concentration))


_SURVIVAL: dict[str, Callable[[Distribution, Tensor], Tensor]] = {
    "Beta": _beta,
    "Binomial": _binomial,
    "Cauchy": _cauchy,
    "Chi2": _chi2,
    "Gamma": _gamma,
    "Gumbel": _gumbel,
    "InverseGamma": _inverse_gamma,
    "InverseGaussian": _inverse_gaussian,
    "Kumaraswamy": _kumaraswamy,
    "Moyal": _moyal,
    "NegativeBinomial": _negative_binomial,
    "Poisson": _poisson,
    "StudentT": _student_t,
    "Weibull": _weibull,
}


def _alike(*values: Tensor) -> list[Tensor]:
    """Broadcasts to one shape, as TensorFlow's special functions want them."""
    zero = sum(tf.zeros_like(value) for value in values)
    return [value + zero for value in values]
