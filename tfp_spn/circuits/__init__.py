"""Circuits: region graphs and layer stacks as Keras models."""

from tfp_spn.circuits.circuit import Circuit as Circuit
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit as RegionGraphCircuit
from tfp_spn.circuits.from_region_graph import from_region_graph as from_region_graph

__all__ = ["Circuit", "RegionGraphCircuit", "from_region_graph"]
