"""Circuits: region graphs and layer stacks as Keras models."""

from tfp_spn.circuits.circuit import Circuit as Circuit
from tfp_spn.circuits.dynamic_circuit import DynamicCircuit as DynamicCircuit
from tfp_spn.circuits.dynamic_circuit import chain_params as chain_params
from tfp_spn.circuits.dynamic_circuit import (
    dynamic_from_circuit as dynamic_from_circuit,
)
from tfp_spn.circuits.from_layers import LayeredCircuit as LayeredCircuit
from tfp_spn.circuits.from_layers import from_layers as from_layers
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit as RegionGraphCircuit
from tfp_spn.circuits.from_region_graph import from_region_graph as from_region_graph
from tfp_spn.circuits.image_circuit import image_circuit as image_circuit
from tfp_spn.circuits.region_weights import assign_log_weights as assign_log_weights
from tfp_spn.programs.traces import clear_traces as clear_traces

__all__ = [
    "Circuit",
    "DynamicCircuit",
    "LayeredCircuit",
    "RegionGraphCircuit",
    "assign_log_weights",
    "chain_params",
    "clear_traces",
    "dynamic_from_circuit",
    "from_layers",
    "from_region_graph",
    "image_circuit",
]
