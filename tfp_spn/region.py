"""The module in which LibSPN-Keras keeps regions; here they are in `region_graphs`."""

from tfp_spn.models.region_graph_to_dense_spn import (
    region_graph_to_dense_spn as region_graph_to_dense_spn,
)
from tfp_spn.region_graphs.region_node import (
    OverlappingScopesException as OverlappingScopesException,
)
from tfp_spn.region_graphs.region_node import RegionNode as RegionNode
from tfp_spn.region_graphs.region_node import RegionVariable as RegionVariable

__all__ = [
    "OverlappingScopesException",
    "RegionNode",
    "RegionVariable",
    "region_graph_to_dense_spn",
]
