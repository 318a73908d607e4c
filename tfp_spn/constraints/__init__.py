"""Keras constraints of accumulators and scales."""

from tfp_spn.constraints.clip import Clip as Clip
from tfp_spn.constraints.greater_equal_epsilon import (
    GreaterEqualEpsilon as GreaterEqualEpsilon,
)
from tfp_spn.constraints.greater_equal_epsilon_normalized import (
    GreaterEqualEpsilonNormalized as GreaterEqualEpsilonNormalized,
)
from tfp_spn.constraints.log_normalized import LogNormalized as LogNormalized

__all__ = [
    "Clip",
    "GreaterEqualEpsilon",
    "GreaterEqualEpsilonNormalized",
    "LogNormalized",
]
