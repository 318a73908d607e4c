"""Keras constraints of accumulators."""

from tfp_spn.constraints.greater_equal_epsilon import (
    GreaterEqualEpsilon as GreaterEqualEpsilon,
)

__all__ = ["GreaterEqualEpsilon"]
