"""Irregular circuits of single nodes, put together from the leaves up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfp_spn.circuits import (
    RegionGraphCircuit,
    assign_log_weights,
    from_region_graph,
)
from tfp_spn.region_graphs import RegionGraph
from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.structure.columns import Columns
from tfp_spn.structure.leaf_estimates import (
    Estimate,
    assign_leaves,
    leaf_layer,
    mixed_estimate,
)


@dataclass(frozen=True, eq=False)
class _Node:
    """A leaf has an estimate, a sum has log-weights, a product has neither."""

    scope: frozenset[int]
    children: tuple[int, ...] = ()
    log_weights: npt.NDArray[np.float64] | None = None
    estimate: Estimate | None = None


class CircuitBuilder:
    """Collects nodes, each by its number, and makes a circuit of those below a root.

    Nodes may be used by several others. Every region of the circuit has one sum.

    Args:
        columns: The table that the circuit is about.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._nodes: list[_Node] = []
        self._total = 0
        self._indicators: dict[tuple[int, int], int] = {}

    def leaf(self, variable: int, estimate: Estimate) -> int:
        """A distribution of one variable."""
        return self._add(_Node(frozenset([variable]), estimate=estimate))

    def indicator(self, variable: int, category: int) -> int:
        """One category of a variable; always the same node."""
        if (variable, category) not in self._indicators:
            size = int(self._columns.num_categories[variable])
            with np.errstate(divide="ignore"):
                log_probs = np.log(np.eye(size)[category])
            own = self.leaf(variable, {"log_probs": log_probs})
            self._indicators[variable, category] = own
        return self._indicators[variable, category]

    def product(self, children: Sequence[int]) -> int:
        """A product of nodes of different variables; of one, that node."""
        flat: list[int] = []
        for child in children:
            node = self._nodes[child]
            is_product = node.log_weights is None and node.estimate is None
            flat += node.children if is_product else (child,)
        if len(flat) == 1:
            return flat[0]
        scope = frozenset().union(*(self._nodes[child].scope for child in flat))
        return self._add(_Node(scope, tuple(flat)))

    def mixture(self, log_weights: npt.ArrayLike, children: Sequence[int]) -> int:
        """A sum of nodes of the same variables; of one, that node.

        Those of one variable become one leaf, numbers one of the same moments.
        """
        log_weights = np.asarray(log_weights, np.float64)
        if len(children) == 1:
            return children[0]
        scope = self._nodes[children[0]].scope
        if len(scope) == 1:
            estimates = [self._nodes[child].estimate or {} for child in children]
            return self.leaf(next(iter(scope)), mixed_estimate(estimates, log_weights))
        flat: list[int] = []
        weights: list[float] = []
        for child, weight in zip(children, log_weights.tolist(), strict=True):
            node = self._nodes[child]
            if node.log_weights is None:
                flat.append(child)
                weights.append(weight)
            else:
                flat += node.children
                weights += (node.log_weights + weight).tolist()
        return self._add(_Node(scope, tuple(flat), np.array(weights)))

    def build(self, root: int) -> RegionGraphCircuit:
        """The circuit of all that is below a node."""
        number_of = {node: number for number, node in enumerate(self._regions(root))}
        scopes, partitions, weights = [], [], {}
        for node, number in number_of.items():
            found = self._nodes[node]
            scopes.append(sorted(found.scope))
            for children in self._partitions(node):
                partitions.append((number, [number_of[child] for child in children]))
            if found.log_weights is not None:
                weights[number] = found.log_weights[:, np.newaxis, np.newaxis]
        circuit = from_region_graph(
            RegionGraph(scopes, partitions, [number_of[root]]),
            leaf_layer(self._columns, 1, is_deterministic=True),
            num_sums=1,
            leaf_sums=False,
        )
        assign_log_weights(circuit, weights)
        leaves = {
            number: self._nodes[node].estimate or {}
            for node, number in number_of.items()
        }
        assign_leaves(circuit, lambda region, _: leaves[region])
        return circuit

    def _add(self, node: _Node) -> int:
        self._total += len(node.scope)
        check_total(
            self._total,
            "The circuit is too large",
            "Ask for fewer and larger slices of the data, or fewer members.",
        )
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _partitions(self, node: int) -> list[tuple[int, ...]]:
        """What the region of a node splits into."""
        found = self._nodes[node]
        if found.estimate is not None:
            return []
        if found.log_weights is None:
            return [found.children]
        return [self._nodes[child].children for child in found.children]

    def _regions(self, root: int) -> list[int]:
        """The nodes that become regions, the root first."""
        order, seen = [root], {root}
        for node in order:  # grows while it is walked
            for children in self._partitions(node):
                for child in children:
                    if child not in seen:
                        seen.add(child)
                        order.append(child)
        return order
