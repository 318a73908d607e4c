"""Numerical integration of one-dimensional densities over their whole support."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tfp_spn.layers.leaves.support import Support

_NUM_NODES = 20_001
_REACH = 4.5
_MAX_INTEGERS = 200_000


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Nodes and their weights, ascending.

    Attributes:
        nodes: ``[M]``.
        weights: ``[M]``: an integral is the sum of these times the values.
    """

    nodes: np.ndarray
    weights: np.ndarray

    @classmethod
    def over(cls, support: Support, draws: np.ndarray) -> Quadrature:
        """Nodes that are densest where the draws are.

        Integers are summed; over real numbers the rule is double exponential, which
        copes with heavy tails and with densities that are infinite at an end.
        """
        if support.is_integer:
            return _integers(support, draws)
        low, middle, high = np.quantile(draws, [0.25, 0.5, 0.75])
        width = max(high - low, 1e-6 * abs(middle), 1e-12)
        t = np.linspace(-_REACH, _REACH, _NUM_NODES)
        inner, slope = 0.5 * math.pi * np.sinh(t), 0.5 * math.pi * np.cosh(t)
        if math.isinf(support.low):
            nodes = middle + width * np.sinh(inner)
            weights = width * np.cosh(inner) * slope
        elif math.isinf(support.high):
            scale = middle - support.low
            nodes = support.low + scale * np.exp(inner)
            weights = scale * np.exp(inner) * slope
        else:
            half = 0.5 * (support.high - support.low)
            nodes = support.low + half * (1 + np.tanh(inner))
            weights = half * slope / np.square(np.cosh(inner))
        return cls(nodes, weights * (t[1] - t[0]))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The integral up to each node, ``[M]``."""
        return np.cumsum(values * self.weights)


def _integers(support: Support, draws: np.ndarray) -> Quadrature:
    margin = 2 * (np.ptp(draws) + 20)
    low = max(support.low, math.floor(draws.min() - margin))
    high = min(support.high, math.ceil(draws.max() + margin), low + _MAX_INTEGERS)
    nodes = np.arange(low, high + 1, dtype=np.float64)
    return Quadrature(nodes, np.ones_like(nodes))
