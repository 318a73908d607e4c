"""From a region graph to folded steps.

Regions of the same level, width and partition signature become one step. Within a step
regions are ordered by first use from above, the first factors of all parents before the
second ones, so that in a tree every gather is a contiguous slice.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tfp_spn.circuits.program import Gather, Step, SumSpec
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.region_graphs import RegionGraph


@dataclass
class _Node:
    """A region as it is evaluated; a leaf has no partitions."""

    width: int
    partitions: list[list[_Node]] = field(default_factory=list)
    level: int = 0
    scope: tuple[int, ...] = ()

    @property
    def signature(self) -> tuple:
        widths = tuple(child.width for child in self.partitions[0])
        return (self.level, self.width, len(self.partitions), widths)


@dataclass(frozen=True)
class FoldedGraph:
    """Result of `fold`.

    Attributes:
        leaf_scopes: Scopes of the leaf regions in kernel order.
        steps: The steps.
        root: Gather of the root regions.
    """

    leaf_scopes: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]
    root: Gather


def fold(
    region_graph: RegionGraph,
    *,
    num_components: int,
    num_sums: int,
    num_root_units: int,
    product: Literal["hadamard", "kronecker"],
    leaf_sums: bool,
    rule: SumRule,
    logspace: bool = True,
) -> FoldedGraph:
    """Groups the regions of a region graph into steps.

    Args:
        region_graph: The structure.
        num_components: Units of leaf regions.
        num_sums: Units of inner regions.
        num_root_units: Units of each root region.
        product: How the children of a partition are multiplied.
        leaf_sums: Whether leaf regions pass through a layer of sums of their own.
        rule: Learning rule of the sums.
        logspace: Whether their weights are stored as logarithms.
    """
    leaves, tops = _make_nodes(
        region_graph, num_components, num_sums, num_root_units, leaf_sums
    )
    groups = _ordered_groups(tops)
    position = {
        id(node): (value, place)
        for value, group in enumerate(groups)
        for place, node in enumerate(group)
    }
    sizes = [len(group) for group in groups]

    def gather(nodes: list[_Node]) -> Gather:
        places = [position[id(node)] for node in nodes]
        sources = tuple(sorted({value for value, _ in places}))
        offsets = np.cumsum([0] + [sizes[value] for value in sources])
        start = dict(zip(sources, offsets.tolist(), strict=False))
        index = np.array([start[value] + place for value, place in places], np.int32)
        return Gather(sources, tuple(sizes[value] for value in sources), index)

    steps: list[Step] = []
    for group in groups[1:]:
        _, width, num_partitions, widths = group[0].signature
        factors = tuple(
            gather([part[a] for node in group for part in node.partitions])
            for a in range(len(widths))
        )
        sums = SumSpec(f"sums_{len(steps)}", width, rule, logspace)
        steps.append(Step(factors, widths, len(group), num_partitions, product, sums))
    leaf_scopes = tuple(node.scope for node in groups[0])
    return FoldedGraph(leaf_scopes, tuple(steps), gather(tops))


def _make_nodes(
    region_graph: RegionGraph,
    num_components: int,
    num_sums: int,
    num_root_units: int,
    leaf_sums: bool,
) -> tuple[list[_Node], list[_Node]]:
    """Nodes of all leaf regions, and of the roots."""

    def sum_node(partitions: list[list[_Node]], width: int) -> _Node:
        level = 1 + max(child.level for part in partitions for child in part)
        return _Node(width, partitions, level)

    node_of: dict[int, _Node] = {}
    leaves = []
    roots = set(region_graph.roots)
    for region in region_graph.topological_order:
        width = num_root_units if region in roots else num_sums
        partitions = region_graph.partitions[region]
        if not partitions:
            node = _Node(num_components, scope=region_graph.scopes[region])
            leaves.append(node)
            if leaf_sums or region in roots:
                node = sum_node([[node]], width)
        else:
            by_signature: dict[tuple[int, ...], list[list[_Node]]] = defaultdict(list)
            for children in partitions:
                part = [node_of[child] for child in children]
                by_signature[tuple(child.width for child in part)].append(part)
            alike = list(by_signature.values())
            if len(alike) > 1:
                # Partitions of unequal arity or width: sum each kind, then mix.
                alike = [[[sum_node(parts, num_sums)] for parts in alike]]
            node = sum_node(alike[0], width)
        node_of[region] = node
    return leaves, [node_of[root] for root in region_graph.roots]


def _ordered_groups(tops: list[_Node]) -> list[list[_Node]]:
    """Leaves, then groups by level; each in the order of first use from above."""
    members: dict[tuple, list[_Node]] = defaultdict(list)
    seen: set[int] = set()

    def request(nodes: list[_Node]) -> None:
        for node in nodes:
            if id(node) not in seen:
                seen.add(id(node))
                key = node.signature if node.partitions else (0,)
                members[key].append(node)

    # A node's group is complete when all higher levels have been expanded; keys are
    # found while expanding, so walk levels downwards.
    request(tops)
    for level in range(max(node.level for node in tops), 0, -1):
        for key in sorted(k for k in members if k[0] == level):
            group = members[key]  # looked up once: hashing a wide signature takes long
            for a in range(len(key[3])):
                request([p[a] for node in group for p in node.partitions])
    inner = sorted(key for key in members if key != (0,))
    return [members[(0,)]] + [members[key] for key in inner]
