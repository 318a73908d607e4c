"""The values where a leaf's density is positive, known without its parameters."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import at_most_zero, is_finite


@dataclass(frozen=True)
class Support:
    """Values that a family can take.

    Attributes:
        name: The key of `SUPPORTS`.
        words: The values in words, for messages.
        inner: A value inside the support, which is harmless.
        low: Least value, or the bound that all values exceed.
        high: Greatest value, or the bound that all values stay below.
        includes_ends: Whether `low` and `high` themselves are possible.
        is_integer: Whether only integers are possible.
        total: What the dimensions of a vector add up to.
        depends_on_parameters: Whether each component must judge for itself.
    """

    name: str
    words: str
    inner: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    includes_ends: bool = True
    is_integer: bool = False
    total: float | None = None
    depends_on_parameters: bool = False

    @property
    def integer_dtype(self) -> str:
        """Returns an integer dtype that holds all values."""
        return "int32" if self.high <= np.iinfo(np.int32).max else "int64"

    @property
    def num_values(self) -> int | None:
        """How many values are possible; `None`: infinitely many, or vectors."""
        if not self.is_integer or self.total is not None:
            return None
        count = self.high - self.low + 1
        return int(count) if math.isfinite(count) else None

    def contains(self, x: Tensor) -> Tensor:
        """``[..., D, N]`` to bool of the same shape; NaN and infinities are outside."""
        bounds = [math.isfinite(self.low), math.isfinite(self.high)]
        parts = [] if all(bounds) else [is_finite(x)]
        if bounds[0]:
            low = tf.constant(self.low, x.dtype)
            parts.append(x >= low if self.includes_ends else x > low)
        if bounds[1]:
            high = tf.constant(self.high, x.dtype)
            parts.append(x <= high if self.includes_ends else x < high)
        valid = functools.reduce(tf.logical_and, parts)
        if self.is_integer:
            valid &= tf.math.floor(x) == x
        if self.total is not None:
            total = tf.reduce_sum(x, axis=-2, keepdims=True)
            valid &= tf.abs(total - self.total) < 1e-4
        return valid

    def safe_value(self, x: Tensor) -> Tensor:
        """`x`, with a value of the support in place of those outside."""
        valid = self.contains(x)
        if self.total is None:
            return tf.where(valid, x, tf.constant(self.inner, x.dtype))
        valid = tf.reduce_all(valid, axis=-2, keepdims=True)
        return tf.where(valid, x, self.inner_vector(x.shape[-2], x.dtype))

    def rounded_inwards(self, x: Tensor) -> Tensor:
        """Draws, which rounding may have moved out of the support."""
        low, high = self.low, self.high
        limits = np.finfo(x.dtype.as_numpy_dtype)
        if not (self.includes_ends or self.is_integer):
            low, high = low + limits.tiny, high - limits.epsneg
        if math.isinf(low) and math.isinf(high):
            return x
        return tf.clip_by_value(
            x, tf.constant(low, x.dtype), tf.constant(high, x.dtype)
        )

    def log_cdf(self, x: Tensor, of_inner: Callable[[Tensor], Tensor]) -> Tensor:
        """A family's log-cdf, which might say anything outside of the support.

        Args:
            x: Values; NaN has nothing below it.
            of_inner: The family's, asked inside only, and at the whole number below.
        """
        return self._of_inner(x, of_inner, below=-math.inf, above=0.0)

    def log_survival(self, x: Tensor, of_inner: Callable[[Tensor], Tensor]) -> Tensor:
        """A family's logarithm of ``P(X > x)``, asked inside only (see `log_cdf`)."""
        return self._of_inner(x, of_inner, below=0.0, above=-math.inf)

    def _of_inner(
        self,
        x: Tensor,
        of_inner: Callable[[Tensor], Tensor],
        below: float,
        above: float,
    ) -> Tensor:
        low, high = tf.constant(self.low, x.dtype), tf.constant(self.high, x.dtype)
        x = tf.math.floor(x) if self.is_integer else x
        is_above = x >= high
        is_below = (x != x) | (x < low if self.is_integer else x <= low)
        inner = tf.where(is_below | is_above, tf.constant(self.inner, x.dtype), x)
        value = at_most_zero(of_inner(inner))
        value = tf.where(is_above, tf.constant(above, value.dtype), value)
        return tf.where(is_below, tf.constant(below, value.dtype), value)

    def inner_vector(self, num_dims: int, dtype: tf.DType) -> Tensor:
        """Returns a vector inside the support, ``[D, 1]``."""
        if self.total is None:
            return tf.fill([num_dims, 1], tf.constant(self.inner, dtype))
        if self.is_integer:
            return tf.cast(self.total, dtype) * tf.eye(num_dims, 1, dtype=dtype)
        return tf.fill([num_dims, 1], tf.constant(self.total / num_dims, dtype))


SUPPORTS = {
    support.name: support
    for support in (
        Support("real", "finite numbers"),
        Support("positive", "numbers above 0", 1.0, low=0.0, includes_ends=False),
        Support("nonnegative", "numbers from 0 on", 1.0, low=0.0),
        Support(
            "unit_interval",
            "numbers between 0 and 1, both excluded",
            0.5,
            low=0.0,
            high=1.0,
            includes_ends=False,
        ),
        Support("circle", "angles from -pi to pi", low=-math.pi, high=math.pi),
        Support("binary", "0 or 1", low=0.0, high=1.0, is_integer=True),
        Support("nonnegative_integers", "integers from 0 on", low=0, is_integer=True),
        Support("positive_integers", "integers from 1 on", 1.0, 1.0, is_integer=True),
        Support(
            "closed_unit_interval", "numbers from 0 to 1", inner=0.5, low=0.0, high=1.0
        ),
        Support("integers", "integers", is_integer=True),
        Support(
            "simplex",
            "vectors of positive numbers that add up to 1",
            low=0.0,
            high=1.0,
            includes_ends=False,
            total=1.0,
        ),
        Support(
            "one_hot",
            "vectors of zeros and a single one",
            low=0.0,
            high=1.0,
            is_integer=True,
            total=1.0,
        ),
        Support(
            "of_component",
            "finite numbers that some component can take",
            depends_on_parameters=True,
        ),
    )
}

_OF_FAMILY = {
    "binary": ("Bernoulli", "ProbitBernoulli"),
    "circle": ("VonMises",),
    "closed_unit_interval": ("ContinuousBernoulli",),
    "integers": ("Skellam",),
    "nonnegative": ("Exponential", "HalfNormal"),
    "nonnegative_integers": (
        "Geometric",
        "NegativeBinomial",
        "Poisson",
        "ZeroInflatedNegativeBinomial",
    ),
    "one_hot": ("OneHotCategorical",),
    "positive": (
        "BetaQuotient",
        "Chi",
        "Chi2",
        "Gamma",
        "GammaGamma",
        "InverseGamma",
        "InverseGaussian",
        "LogLogistic",
        "LogNormal",
        "Weibull",
    ),
    "real": (
        "Cauchy",
        "DoublesidedMaxwell",
        "ExpGamma",
        "ExpInverseGamma",
        "ExponentiallyModifiedGaussian",
        "GeneralizedNormal",
        "Gumbel",
        "JohnsonSU",
        "Laplace",
        "LambertWNormal",
        "Logistic",
        "Moyal",
        "MultivariateNormalDiag",
        "MultivariateNormalDiagPlusLowRank",
        "MultivariateNormalFullCovariance",
        "MultivariateNormalTriL",
        "Normal",
        "NormalInverseGaussian",
        "SinhArcsinh",
        "StudentT",
        "TwoPieceNormal",
        "TwoPieceStudentT",
    ),
    "simplex": ("Dirichlet",),
    "unit_interval": (
        "Beta",
        "Kumaraswamy",
        "LogitNormal",
        "RelaxedBernoulli",
    ),
}
SUPPORT_OF_FAMILY = {
    family: SUPPORTS[name]
    for name, families in _OF_FAMILY.items()
    for family in families
}


def counts_adding_up_to(total: float) -> Support:
    """Returns the support of vectors of counts, such as those of `tfd.Multinomial`."""
    return Support(
        f"counts that add up to {total:g}",
        f"vectors of integers from 0 on that add up to {total:g}",
        low=0.0,
        high=total,
        is_integer=True,
        total=total,
    )


def integers_up_to(highest: int) -> Support:
    """The support of counts and categories."""
    return Support(
        f"integers up to {highest}",
        f"integers from 0 to {highest}",
        low=0.0,
        high=float(highest),
        is_integer=True,
    )


def interval(low: float, high: float, dtype: str) -> Support:
    """The support of densities between two numbers, both of them possible."""
    low, high = (float(np.asarray(end, dtype)) for end in (low, high))
    words = f"numbers from {low:g} to {high:g}"
    inner = low + 0.5 * (high - low)
    return Support(words, words, inner, low, high)
