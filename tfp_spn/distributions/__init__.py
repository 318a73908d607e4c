"""Circuits as TensorFlow Probability distributions."""

from tfp_spn.distributions.conditioned import (
    ConditionedSumProductNetwork as ConditionedSumProductNetwork,
)
from tfp_spn.distributions.conditioned_dynamic import (
    ConditionedDynamicSumProductNetwork as ConditionedDynamicSumProductNetwork,
)
from tfp_spn.distributions.dynamic_sum_product_network import (
    DynamicSumProductNetwork as DynamicSumProductNetwork,
)
from tfp_spn.distributions.sum_product_network import (
    SumProductNetwork as SumProductNetwork,
)

__all__ = [
    "ConditionedDynamicSumProductNetwork",
    "ConditionedSumProductNetwork",
    "DynamicSumProductNetwork",
    "SumProductNetwork",
]
