"""A region graph as what is evaluated: nodes with units, sums and products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tfp_spn.region_graphs import RegionGraph

Product = Literal["hadamard", "kronecker"]
LeafSums = Literal["none", "shared", "per-partition"]


@dataclass(eq=False)
class Node:
    """A region as it is evaluated; a leaf has no partitions.

    Attributes:
        width: Its units.
        partitions: The children of each.
        scope: The variables of a leaf.
        has_sums: Whether there are sums, or units are the products of one partition.
        height: The longest way down to a leaf.
        depth: The longest way up to a root.
        region: The region that it is, or is a part of.
        numbers: Which of the region's partitions its own are; empty if they are nodes
            of the same region.
    """

    width: int
    partitions: list[list[Node]] = field(default_factory=list)
    scope: tuple[int, ...] = ()
    has_sums: bool = True
    height: int = 0
    depth: int = 0
    region: int = -1
    numbers: tuple[int, ...] = ()

    @property
    def children(self) -> list[Node]:
        """Returns the children of all partitions."""
        return [child for partition in self.partitions for child in partition]


class FirstUses:
    """Nodes in groups, in the order in which they are asked for.

    Attributes:
        groups: The nodes by key.
    """

    def __init__(self, key_of: Callable[[Node], tuple]) -> None:
        self.key_of = key_of
        self.groups: dict[tuple, list[Node]] = defaultdict(list)
        self._seen: set[int] = set()

    def request(self, nodes: Iterable[Node]) -> None:
        """Adds those that nobody has asked for yet."""
        for node in nodes:
            if id(node) not in self._seen:
                self._seen.add(id(node))
                self.groups[self.key_of(node)].append(node)


def nodes_of(
    region_graph: RegionGraph,
    num_components: int,
    num_sums: int,
    num_root_units: int,
    leaf_sums: LeafSums,
) -> list[Node]:
    """Nodes of the roots, and so of all regions; arguments are those of `fold`."""
    per_partition = leaf_sums == "per-partition"

    def sum_node(
        region: int,
        partitions: list[list[Node]],
        width: int,
        numbers: tuple[int, ...] = (),
    ) -> Node:
        node = Node(width, partitions, region=region, numbers=numbers)
        node.height = 1 + max(child.height for child in node.children)
        return node

    node_of: dict[int, Node] = {}
    roots = set(region_graph.roots)
    for region in region_graph.topological_order:
        width = num_root_units if region in roots else num_sums
        partitions = region_graph.partitions[region]
        if not partitions:
            scope = region_graph.scopes[region]
            node = Node(num_components, scope=scope, region=region)
            if leaf_sums == "shared" or region in roots:
                node = sum_node(region, [[node]], width)
        else:
            alike: dict[tuple[int, ...], dict[int, list[Node]]] = defaultdict(dict)
            for number, children in enumerate(partitions):
                partition = [node_of[child] for child in children]
                if per_partition:
                    partition = [
                        node if node.partitions else sum_node(child, [[node]], num_sums)
                        for child, node in zip(children, partition, strict=True)
                    ]
                alike[tuple(c.width for c in partition)][number] = partition
            kinds = [(tuple(k), list(k.values())) for k in alike.values()]
            if len(kinds) > 1:
                # Partitions of unequal arity or width: sum each kind, then mix.
                parts = [[sum_node(region, p, num_sums, n)] for n, p in kinds]
                node = sum_node(region, parts, width)
            else:
                [(numbers, nodes)] = kinds
                node = sum_node(region, nodes, width, numbers)
        node_of[region] = node
    return [node_of[root] for root in region_graph.roots]


def all_nodes(tops: Iterable[Node]) -> list[Node]:
    """Every node once."""
    found = {id(top): top for top in tops}
    pending = list(found.values())
    while pending:
        for child in pending.pop().children:
            if id(child) not in found:
                found[id(child)] = child
                pending.append(child)
    return list(found.values())


def multiply_leaves_first(tops: list[Node]) -> bool:
    """Gives several factors that are sums over leaves a node of their own.

    Returns whether it did: without factors that are higher it would gain nothing.
    """
    changed = False
    for node in all_nodes(tops):
        if not node.has_sums or len(node.partitions) != 1 or node.height < 2:
            continue
        [partition] = node.partitions
        low = [child for child in partition if child.height <= 1]
        if len(low) > 1:
            changed |= len(low) < len(partition)
            products = Node(low[0].width, [low], has_sums=False)
            node.partitions = [[products, *(c for c in partition if c.height > 1)]]
    if changed:
        _set_heights(tops)
    return changed


def _set_heights(tops: list[Node]) -> None:
    """From the leaves up, without recursion: chains may be long."""
    pending = [(top, False) for top in tops]
    done: set[int] = set()
    while pending:
        node, is_expanded = pending.pop()
        if id(node) in done:
            continue
        if not is_expanded:
            pending.append((node, True))
            pending += [(child, False) for child in node.children]
            continue
        done.add(id(node))
        node.height = 1 + max((child.height for child in node.children), default=-1)
