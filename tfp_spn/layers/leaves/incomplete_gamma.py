"""Tails of Gamma distributions of any concentration, in double precision.

TensorFlow's incomplete gamma functions end their series too early from a concentration
of about 10,000 on. There, with ``u = x / c - 1`` and ``eta^2 = 2 (u - log(1 + u))``,
``eta`` of the sign of ``u``, Temme's expansion [1] is exact to a billionth:

    P(X > x) = Phi(-eta sqrt c) + exp(-c eta^2 / 2) / sqrt(2 pi c) (1 / u - 1 / eta)

[1]: Temme, "The asymptotic expansion of the incomplete gamma functions", SIAM J. Math.
Anal. 10 (1979).
"""

from __future__ import annotations

import math

import tensorflow as tf

from tfp_spn._keras_bridge import family_named
from tfp_spn._typing import Tensor
from tfp_spn.ops.gamma import excess_of_log, relative_distance
from tfp_spn.ops.log_space import safe_log

_LARGE = 1e4
_NEAR = 0.02


def log_gamma_tail(concentration: Tensor, x: Tensor, is_upper: bool) -> Tensor:
    """``log P(X > x)``, or ``log P(X <= x)``, of a Gamma variable of rate 1.

    Args:
        concentration: float64.
        x: float64, of the same shape, not negative.
        is_upper: Which of them.
    """
    is_large = concentration > _LARGE
    one = tf.ones_like(x)
    incomplete = tf.math.igammac if is_upper else tf.math.igamma
    direct = incomplete(
        tf.where(is_large, one, concentration), tf.where(is_large, one, x)
    )
    c = tf.where(is_large, concentration, _LARGE * one)
    is_inside = is_large & (x > 0) & (x < math.inf)
    inner = tf.where(is_inside, x, c)
    far = _by_expansion(c, inner, is_upper)
    end = tf.where(is_upper == (x > 0), -math.inf * one, 0 * one)
    far = tf.where(is_inside, far, end)
    return tf.where(is_large, far, safe_log(direct))


def _by_expansion(c: Tensor, x: Tensor, is_upper: bool) -> Tensor:
    u = relative_distance(x, c)
    is_tiny = tf.abs(u) < 1e-4  # no root of zero, no digits lost
    safe = tf.where(is_tiny, tf.ones_like(u), u)
    share = tf.where(
        is_tiny, 1 - u * (2 / 3 - u / 2), 2 * excess_of_log(x, c) / safe / safe
    )
    eta = u * tf.sqrt(share)
    is_near = tf.abs(eta) < _NEAR
    apart = tf.where(is_near, tf.ones_like(u), u)
    apart_eta = tf.where(is_near, tf.ones_like(eta), eta)
    series = -1 / 3 + eta * (1 / 12 - eta * (2 / 135 - eta / 864))
    term = tf.where(is_near, series, 1 / apart - 1 / apart_eta)
    sign = -1.0 if is_upper else 1.0
    z = sign * eta * tf.sqrt(c)
    is_deep = z < -30
    near = tf.where(is_deep, tf.zeros_like(z), z)
    normal = normal_log_cdf(near)
    log_factor = -0.5 * tf.math.log(2 * math.pi * c)
    ratio = tf.exp(log_factor - 0.5 * tf.square(near) - normal)
    by_normal = normal + tf.math.log1p(tf.where(is_deep, 0 * z, -sign * ratio * term))
    # The two terms nearly cancel: of the first one, what is left by the other.
    deep = tf.where(is_deep, z, -30 * tf.ones_like(z))
    z_squared, size = tf.square(deep), tf.abs(apart_eta)
    rest = 1 / tf.abs(apart) - (1 - 3 / z_squared) / (size * z_squared)
    rest = tf.where(is_deep, rest, tf.ones_like(rest))
    far = -0.5 * z_squared + log_factor + tf.math.log(rest)
    return tf.where(is_deep, far, by_normal)


def normal_log_cdf(z: Tensor) -> Tensor:
    """That of the standard Normal distribution."""
    return family_named("Normal")(tf.zeros_like(z), tf.ones_like(z)).log_cdf(z)
