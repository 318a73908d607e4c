"""Univariate families of the reference, one scalar at a time, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .family import (
    INF,
    Family,
    Value,
    check_probability,
    log_or_inf,
    total_weight,
    whole_number,
)


@dataclass(frozen=True, eq=False)
class _LocationScale(Family):
    loc: float
    scale: float

    def __post_init__(self) -> None:
        if not self.scale > 0.0:
            raise ValueError(f"scale must be positive: {self.scale}")

    def mode(self) -> float:
        return float(self.loc)

    def mean(self) -> float:
        return float(self.loc)


class Normal(_LocationScale):
    """Gaussian with mean `loc` and standard deviation `scale`."""

    def log_prob(self, value: Value) -> float:
        z = (float(value) - self.loc) / self.scale
        return -0.5 * z * z - math.log(self.scale) - 0.5 * math.log(2 * math.pi)

    def variance(self) -> float:
        return float(self.scale) ** 2

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.normal(self.loc, self.scale))

    def fit(self, pairs: Sequence[tuple[Value, float]], floor: float) -> Family:
        """Weighted mean and variance, the variance not below `floor`."""
        total = total_weight(pairs)
        if total == 0.0:
            return self
        loc = sum(w * float(x) for x, w in pairs) / total
        variance = sum(w * (float(x) - loc) ** 2 for x, w in pairs) / total
        return Normal(loc, math.sqrt(max(variance, floor)))


class Laplace(_LocationScale):
    """Density exp(-|x - loc| / scale) / (2 scale)."""

    def log_prob(self, value: Value) -> float:
        return -abs(float(value) - self.loc) / self.scale - math.log(2 * self.scale)

    def variance(self) -> float:
        return 2.0 * float(self.scale) ** 2

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.laplace(self.loc, self.scale))


class Cauchy(_LocationScale):
    """Density 1 / (pi scale (1 + z^2)); it has no moments (nan)."""

    def log_prob(self, value: Value) -> float:
        z = (float(value) - self.loc) / self.scale
        return -math.log(math.pi * self.scale) - math.log1p(z * z)

    def mean(self) -> float:
        return math.nan

    def variance(self) -> float:
        return math.nan

    def sample(self, rng: np.random.Generator) -> float:
        return float(self.loc + self.scale * rng.standard_cauchy())


class _Finite(Family):
    """A family over 0, ..., num - 1, told by its list of probabilities."""

    def masses(self) -> list[float]:
        raise NotImplementedError

    def log_prob(self, value: Value) -> float:
        masses, k = self.masses(), whole_number(value)
        if k is None or not 0 <= k < len(masses):
            return -INF
        return log_or_inf(masses[k])

    def mean(self) -> float:
        return float(sum(k * m for k, m in enumerate(self.masses())))

    def variance(self) -> float:
        mean = self.mean()
        return float(sum((k - mean) ** 2 * m for k, m in enumerate(self.masses())))

    def mode(self) -> int:
        return int(np.argmax(self.masses()))

    def support(self) -> list[Value]:
        return list(range(len(self.masses())))

    def sample(self, rng: np.random.Generator) -> int:
        masses = np.array(self.masses())
        return int(rng.choice(len(masses), p=masses / masses.sum()))


class Categorical(_Finite):
    """Probabilities of 0, ..., num - 1; they are not renormalised."""

    def __init__(self, probs: Sequence[float] | np.ndarray) -> None:
        self.probs = np.array(probs, dtype=np.float64)
        if self.probs.ndim != 1 or not np.all(self.probs >= 0.0):
            raise ValueError("probs must be one row of numbers >= 0")
        if not abs(self.probs.sum() - 1.0) < 1e-6:
            raise ValueError("probs must sum to one")

    def masses(self) -> list[float]:
        return [float(p) for p in self.probs]

    def fit(self, pairs: Sequence[tuple[Value, float]], floor: float) -> Family:
        """Weighted frequencies."""
        total = total_weight(pairs)
        if total == 0.0:
            return self
        counts = [
            sum(w for x, w in pairs if w > 0.0 and whole_number(x) == k)
            for k in range(len(self.probs))
        ]
        return Categorical(np.array(counts) / total)


class Indicator(Categorical):
    """All mass on the value `k` among 0, ..., num - 1; nothing to learn."""

    def __init__(self, k: int, num: int) -> None:
        if not 0 <= k < num:
            raise ValueError(f"no value {k} among {num}")
        self.k, self.num = k, num
        super().__init__([1.0 if j == k else 0.0 for j in range(num)])

    def fit(self, pairs: Sequence[tuple[Value, float]], floor: float) -> Family:
        return self


@dataclass(frozen=True, eq=False)
class Binomial(_Finite):
    """Successes among `n` draws of chance `p`."""

    n: int
    p: float

    def __post_init__(self) -> None:
        check_probability(self.p)

    def masses(self) -> list[float]:
        n, p = self.n, float(self.p)
        return [math.comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(n + 1)]

    def log_prob(self, value: Value) -> float:
        k = whole_number(value)
        if k is None or not 0 <= k <= self.n:
            return -INF
        heads = k * log_or_inf(self.p) if k > 0 else 0.0
        tails = (self.n - k) * log_or_inf(1.0 - self.p) if k < self.n else 0.0
        return math.log(math.comb(self.n, k)) + heads + tails

    def fit(self, pairs: Sequence[tuple[Value, float]], floor: float) -> Family:
        """Weighted mean over n."""
        total = total_weight(pairs)
        if total == 0.0:
            return self
        p = sum(w * float(x) for x, w in pairs if w > 0.0) / (self.n * total)
        return type(self)._with(self.n, min(max(p, 0.0), 1.0))

    @classmethod
    def _with(cls, n: int, p: float) -> Binomial:
        return cls(n, p)


class Bernoulli(Binomial):
    """One with chance `p`, zero otherwise."""

    def __init__(self, p: float) -> None:
        super().__init__(1, p)

    @classmethod
    def _with(cls, n: int, p: float) -> Binomial:
        return cls(p)


class Vector(Family):
    """A variable of several dimensions, each with its own family, independent."""

    def __init__(self, families: Sequence[Family]) -> None:
        if not families or any(f.dims is not None for f in families):
            raise ValueError("Vector takes at least one scalar family")
        self.families = list(families)
        self.dims = len(self.families)

    def log_prob(self, value: Value) -> float:
        if len(value) != self.dims:
            raise ValueError(f"{self.dims} dimensions, not {len(value)}")
        return sum(f.log_prob(v) for f, v in zip(self.families, value, strict=True))

    def mean(self) -> np.ndarray:
        return np.array([f.mean() for f in self.families])

    def variance(self) -> np.ndarray:
        """The variance of each dimension (the covariance is diagonal)."""
        return np.array([f.variance() for f in self.families])

    def mode(self) -> np.ndarray:
        return np.array([f.mode() for f in self.families])

    def support(self) -> list[Value] | None:
        supports = [f.support() for f in self.families]
        if any(s is None for s in supports):
            return None
        return list(itertools.product(*supports))

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([f.sample(rng) for f in self.families])

    def fit(self, pairs: Sequence[tuple[Value, float]], floor: float) -> Family:
        """Each dimension on its own."""
        fitted = []
        for d, family in enumerate(self.families):
            fitted.append(family.fit([(x[d], w) for x, w in pairs], floor))
        return Vector(fitted)
