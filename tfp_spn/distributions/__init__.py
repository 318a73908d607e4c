"""Circuits as TensorFlow Probability distributions."""

from tfp_spn.distributions.conditional_sum_product_network import (
    ConditionalSumProductNetwork as ConditionalSumProductNetwork,
)
from tfp_spn.distributions.conditioned import (
    ConditionedSumProductNetwork as ConditionedSumProductNetwork,
)
from tfp_spn.distributions.distribution_layer import (
    DistributionLayer as DistributionLayer,
)
from tfp_spn.distributions.sum_product_network import (
    SumProductNetwork as SumProductNetwork,
)

__all__ = [
    "ConditionalSumProductNetwork",
    "ConditionedSumProductNetwork",
    "DistributionLayer",
    "SumProductNetwork",
]
