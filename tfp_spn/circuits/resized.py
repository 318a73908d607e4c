"""The same structure with other units: some of a circuit's left out, or repeated.

Units of regions that are multiplied one by one belong together: they are the states of
one latent variable, of which a state can only go, or be split, as a whole. Such regions
form a *class*. (Products of all combinations tie nothing.)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfp_spn._serialization import serialize
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit
from tfp_spn.circuits.region_weights import unfolded
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.programs.nodes import Node, all_nodes
from tfp_spn.programs.parameter_names import PRIOR, leaf_name, sums_name

Units = Mapping[int, np.ndarray]
"""By class, which of the old units each new one is."""


class UnitClasses:
    """The classes of a circuit over a region graph.

    Args:
        circuit: The circuit.
        owner: Who asks, for messages.

    Raises:
        TypeError: The circuit is of another kind.

    Attributes:
        sizes: Units of each class.
        resizable: Classes that may change: those of no root.
        leaves: Classes whose units are components of leaves.
        scopes: The variables below the regions of each class.
    """

    def __init__(self, circuit: Circuit, owner: str) -> None:
        if not isinstance(circuit, RegionGraphCircuit):
            raise TypeError(
                f"{owner}: units are those of a region graph, received "
                f"{type(circuit).__name__}, expected a circuit of "
                "tfp_spn.circuits.from_region_graph. Build one."
            )
        self.circuit = circuit
        self.is_tucker = circuit.arguments["sum_product"] == "tucker"
        self.tops, self.storage = unfolded(circuit)
        self._class_of = self._united()
        nodes = all_nodes(self.tops)
        self.sizes = {self.class_of(node): node.width for node in nodes}
        tops = {self.class_of(node) for node in self.tops}
        self.resizable = [c for c in self.sizes if c not in tops]
        self.leaves = {self.class_of(node) for node in self.storage.leaves}
        self.scopes: dict[int, set[int]] = {c: set() for c in self.sizes}
        for node in nodes:
            scope = circuit.region_graph.scopes[node.region]
            self.scopes[self.class_of(node)].update(scope)

    def class_of(self, node: Node) -> int:
        """The number of a node's class."""
        return self._class_of[id(node)]

    def inputs_of(self, node: Node) -> list[list[int]]:
        """The classes of the factors of each partition, one for each axis of units."""
        if self.is_tucker:
            return [[self.class_of(n) for n in p] for p in node.partitions]
        return [[self.class_of(p[0])] for p in node.partitions]

    def flows(self, counts: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
        """Expected counts of the units of each class, of ``[R, I, O]`` by parameter."""
        flows = {c: np.zeros(size) for c, size in self.sizes.items()}
        for number, group in enumerate(self.storage.groups):
            values = counts[sums_name(number)]
            for node, count in zip(group, values, strict=True):
                flat = np.split(count.sum(-1), len(node.partitions))
                for part, classes in zip(flat, self.inputs_of(node), strict=True):
                    grid = part.reshape([self.sizes[c] for c in classes])
                    for axis, c in enumerate(classes):
                        rest = tuple(a for a in range(grid.ndim) if a != axis)
                        flows[c] += grid.sum(rest)
        return flows

    def resized(self, units: Units, shares: Units | None = None) -> RegionGraphCircuit:
        """A new circuit of these units, with the old one's parameters.

        Args:
            units: By class, for all that are `resizable`; equally many for all classes
                of leaves, and for all others.
            shares: By class, the part of an old unit's weight that each new one gets.
                Default: all of it.

        Returns:
            The circuit. Weights are renormalised.
        """
        chosen = {c: np.arange(size) for c, size in self.sizes.items()}
        chosen.update(units)
        part = {c: np.ones(len(index)) for c, index in chosen.items()}
        part.update(shares or {})
        new = self._empty(chosen)
        old = {k: v.numpy() for k, v in self.circuit.live_params().items()}
        variables = new.live_params()
        for number, group in enumerate(self.storage.groups):
            name = sums_name(number)
            rows = [
                self._weights(node, value, chosen, part)
                for node, value in zip(group, old[name], strict=True)
            ]
            variables[name].assign(np.stack(rows))
        if new.prior is not None:
            variables[PRIOR].assign(old[PRIOR])
        self._set_leaves(new, old, chosen)
        return new

    def _weights(
        self, node: Node, value: np.ndarray, chosen: Units, part: Units
    ) -> np.ndarray:
        """New accumulators ``[I, O]`` of a node."""
        logspace = self.circuit.program.sum_specs[0].logspace
        value = value[:, chosen[self.class_of(node)]]
        result = []
        blocks = np.split(value, len(node.partitions))
        for block, classes in zip(blocks, self.inputs_of(node), strict=True):
            sizes = [self.sizes[c] for c in classes]
            index = np.ravel_multi_index(np.ix_(*(chosen[c] for c in classes)), sizes)
            share = functools.reduce(np.multiply.outer, [part[c] for c in classes])
            share = share.reshape(-1, 1).astype(value.dtype)
            rows = block[index.ravel()]
            result.append(rows + np.log(share) if logspace else rows * share)
        return np.concatenate(result)

    def _empty(self, chosen: Units) -> RegionGraphCircuit:
        resizable = set(self.resizable)
        at_leaves = {len(chosen[c]) for c in self.leaves & resizable}
        elsewhere = {len(chosen[c]) for c in resizable - self.leaves}
        config = dict(self.circuit.arguments)
        leaf = serialize(self.circuit.leaf)
        if at_leaves:
            [width] = at_leaves
            leaf = _with_components(leaf, width)
            if not elsewhere:
                config["num_sums"] = width
        if elsewhere:
            [config["num_sums"]] = elsewhere
        graph = config.pop("region_graph")
        restored = keras.saving.deserialize_keras_object(leaf)
        return RegionGraphCircuit(graph, restored, **config)

    def _set_leaves(
        self, new: RegionGraphCircuit, old: dict[str, np.ndarray], chosen: Units
    ) -> None:
        variables = new.live_params()
        units = [chosen[self.class_of(node)] for node in self.storage.leaves]
        layout = self.circuit.program.layout
        for own in self.circuit.leaf.parts(layout):
            own_regions = own.regions[own.layout.slot_region]
            index = np.stack([units[region] for region in own_regions])  # [L', K']
            for name in own.prefixed(own.leaf.parameters):
                variable, value = variables[leaf_name(name)], old[leaf_name(name)]
                plain = name[len(own.prefix) :]
                axis = _component_axis(own.leaf, plain, layout.num_dims)
                variable.assign(_taken(value, index, axis))

    def _united(self) -> dict[int, int]:
        """Numbers of classes by the identity of nodes."""
        parent = {id(node): id(node) for node in all_nodes(self.tops)}

        def root(key: int) -> int:
            while parent[key] != key:
                parent[key] = parent[parent[key]]
                key = parent[key]
            return key

        if not self.is_tucker:
            for node in all_nodes(self.tops):
                for first, *others in node.partitions:
                    for other in others:
                        parent[root(id(other))] = root(id(first))
        number: dict[int, int] = {}
        return {
            id(node): number.setdefault(root(id(node)), len(number))
            for node in all_nodes(self.tops)
        }


def _with_components(leaf: Any, width: int) -> Any:
    """A leaf's description with another number of components."""
    if isinstance(leaf, dict):
        return {
            key: width
            if key == "num_components" and isinstance(value, int)
            else _with_components(value, width)
            for key, value in leaf.items()
        }
    if isinstance(leaf, list | tuple):
        return type(leaf)(_with_components(item, width) for item in leaf)
    return leaf


def _component_axis(leaf: BaseLeaf, name: str, num_dims: int) -> int | None:
    """Which axis of a parameter ``[L, ...]`` has the components, if any has."""
    wider = _with_components(serialize(leaf), leaf.num_components + 1)
    probe = keras.saving.deserialize_keras_object(wider)
    shape = leaf.parameter_specs(num_dims)[name].shape
    other = probe.parameter_specs(num_dims)[name].shape
    axes = [n for n, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    return 1 + axes[0] if axes else None


def _taken(value: np.ndarray, index: np.ndarray, axis: int | None) -> np.ndarray:
    """``[L, ...]`` with the components ``index [L, K']`` along `axis`."""
    if axis is None:
        return value
    where = [1] * value.ndim
    where[0], where[axis] = index.shape
    return np.take_along_axis(value, index.reshape(where), axis)
