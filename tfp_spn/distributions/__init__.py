"""Circuits as TensorFlow Probability distributions."""

from tfp_spn.distributions.conditioned import (
    ConditionedSumProductNetwork as ConditionedSumProductNetwork,
)
from tfp_spn.distributions.sum_product_network import (
    SumProductNetwork as SumProductNetwork,
)

__all__ = ["ConditionedSumProductNetwork", "SumProductNetwork"]
