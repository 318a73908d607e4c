"""What every family of the reference can do, and small helpers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Value = Any  # a number, or a vector of numbers for `Vector`
INF = math.inf


class Family:
    """One distribution over one variable."""

    dims: int | None = None  # None: the variable is a scalar

    def log_prob(self, value: Value) -> float:
        """Log density or mass; -inf outside the support."""
        raise NotImplementedError

    def mean(self) -> Any:
        raise NotImplementedError

    def variance(self) -> Any:
        raise NotImplementedError

    def mode(self) -> Value:
        """A point of highest density, the smallest one where several tie."""
        raise NotImplementedError

    def support(self) -> list[Value] | None:
        """All values when they are finitely many, else None."""
        return None

    def sample(self, rng: np.random.Generator) -> Value:
        raise NotImplementedError

    def fit(self, pairs: Sequence[tuple[Value, float]], floor: float) -> Family:
        """Exact weighted maximum likelihood from (value, weight) pairs.

        Families without an exact rule (Laplace, Cauchy, Indicator) return
        themselves, and so does every family when all weights are zero.
        """
        return self


def total_weight(pairs: Sequence[tuple[Value, float]]) -> float:
    """Sum of the weights."""
    return sum(weight for _, weight in pairs)


def whole_number(value: Value) -> int | None:
    """The value as an int, or None when it is not a whole number."""
    number = float(value)
    return int(number) if number.is_integer() else None


def check_probability(p: float) -> None:
    """Refuse numbers outside [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"not a probability: {p}")


def log_or_inf(number: float) -> float:
    """Log, -inf for zero."""
    return math.log(number) if number > 0.0 else -INF
