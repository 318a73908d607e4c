"""Keras models of layers, under the names of LibSPN-Keras.

`SumProductNetwork` here is a Keras model; the distribution of that name is
`tfp_spn.distributions.SumProductNetwork`.
"""

from tfp_spn.models.dynamic_sum_product_network import (
    DynamicSumProductNetwork as DynamicSumProductNetwork,
)
from tfp_spn.models.libspn_keras_weights import (
    from_libspn_keras_weights as from_libspn_keras_weights,
)
from tfp_spn.models.region_graph_to_dense_spn import (
    region_graph_to_dense_spn as region_graph_to_dense_spn,
)
from tfp_spn.models.sequential_sum_product_network import (
    SequentialSumProductNetwork as SequentialSumProductNetwork,
)
from tfp_spn.models.sum_product_network import SumProductNetwork as SumProductNetwork

__all__ = [
    "DynamicSumProductNetwork",
    "SequentialSumProductNetwork",
    "SumProductNetwork",
    "from_libspn_keras_weights",
    "region_graph_to_dense_spn",
]
