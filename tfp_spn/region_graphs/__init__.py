"""Region graphs: the structure of a circuit, without its parameters."""

from tfp_spn.region_graphs.chow_liu_tree import chow_liu_tree as chow_liu_tree
from tfp_spn.region_graphs.from_nested_lists import (
    from_nested_lists as from_nested_lists,
)
from tfp_spn.region_graphs.fully_factorized import fully_factorized as fully_factorized
from tfp_spn.region_graphs.hidden_chow_liu_tree import (
    hidden_chow_liu_tree as hidden_chow_liu_tree,
)
from tfp_spn.region_graphs.linear_tree import linear_tree as linear_tree
from tfp_spn.region_graphs.mixture_of_hidden_chow_liu_trees import (
    mixture_of_hidden_chow_liu_trees as mixture_of_hidden_chow_liu_trees,
)
from tfp_spn.region_graphs.mutual_information import (
    mutual_information as mutual_information,
)
from tfp_spn.region_graphs.poon_domingos import poon_domingos as poon_domingos
from tfp_spn.region_graphs.quad_graph import quad_graph as quad_graph
from tfp_spn.region_graphs.quad_tree import quad_tree as quad_tree
from tfp_spn.region_graphs.random_binary_trees import (
    random_binary_trees as random_binary_trees,
)
from tfp_spn.region_graphs.random_quad_tree import random_quad_tree as random_quad_tree
from tfp_spn.region_graphs.region_graph import RegionGraph as RegionGraph
from tfp_spn.region_graphs.region_node import RegionNode as RegionNode
from tfp_spn.region_graphs.region_node import RegionVariable as RegionVariable

__all__ = [
    "RegionGraph",
    "RegionNode",
    "RegionVariable",
    "chow_liu_tree",
    "from_nested_lists",
    "fully_factorized",
    "hidden_chow_liu_tree",
    "linear_tree",
    "mixture_of_hidden_chow_liu_trees",
    "mutual_information",
    "poon_domingos",
    "quad_graph",
    "quad_tree",
    "random_binary_trees",
    "random_quad_tree",
]
