"""Circuits as TensorFlow Probability distributions."""

from tfp_spn.distributions.conditional_marginal import (
    ConditionalMarginal as ConditionalMarginal,
)
from tfp_spn.distributions.conditional_sum_product_network import (
    ConditionalSumProductNetwork as ConditionalSumProductNetwork,
)
from tfp_spn.distributions.conditioned import (
    ConditionedSumProductNetwork as ConditionedSumProductNetwork,
)
from tfp_spn.distributions.conditioned_dynamic import (
    ConditionedDynamicSumProductNetwork as ConditionedDynamicSumProductNetwork,
)
from tfp_spn.distributions.distribution_layer import (
    DistributionLayer as DistributionLayer,
)
from tfp_spn.distributions.dynamic_sum_product_network import (
    DynamicSumProductNetwork as DynamicSumProductNetwork,
)
from tfp_spn.distributions.sum_product_network import (
    SumProductNetwork as SumProductNetwork,
)

__all__ = [
    "ConditionalMarginal",
    "ConditionalSumProductNetwork",
    "ConditionedDynamicSumProductNetwork",
    "ConditionedSumProductNetwork",
    "DistributionLayer",
    "DynamicSumProductNetwork",
    "SumProductNetwork",
]
