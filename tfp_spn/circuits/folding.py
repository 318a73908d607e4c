"""From a region graph to folded steps.

Regions that are summed alike become one step: they have equally many partitions, and
units of equal width above and below. Which ones go together also depends on when they
are evaluated. Sums over leaf regions are all evaluated first. The other regions either
as early as their children allow, or as late as their readers do, by depth below the
root: the latter puts the regions of an irregular tree, such as a hidden Chow-Liu tree,
into one step for each level. Whichever needs fewer steps is taken, since a step has a
price of its own.

Within a step regions are ordered by first use from above, the first factors of all
parents before the second ones, so that in a tree every gather is a contiguous slice;
and those with many factors before those with few, which are multiplied in fewer rounds.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tfp_spn.circuits.program import MARGINALIZED, Gather, Step, SumSpec, gather_of
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.region_graphs import RegionGraph

Product = Literal["hadamard", "kronecker"]

MAX_BLOCK = 2**20
"""Weights of a parameter that several steps share: larger ones are better apart."""


@dataclass(eq=False)
class Node:
    """A region as it is evaluated; a leaf has no partitions."""

    width: int
    partitions: list[list[Node]] = field(default_factory=list)
    scope: tuple[int, ...] = ()
    height: int = 0
    depth: int = 0

    @property
    def children(self) -> list[Node]:
        """Of all partitions."""
        return [child for partition in self.partitions for child in partition]

    @property
    def num_inputs(self) -> int:
        """Units of all partitions, if products are those of equal units."""
        return len(self.partitions) * self.partitions[0][0].width


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
    product: Product,
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
    tops = nodes_of(region_graph, num_components, num_sums, num_root_units, leaf_sums)
    return steps_of(tops, product, rule, logspace)


def steps_of(
    tops: list[Node], product: Product, rule: SumRule, logspace: bool
) -> FoldedGraph:
    """The steps of nodes, given the roots."""
    set_depths(tops)
    groups = min(
        (ordered_groups(tops, product, level) for level in (early, late)), key=len
    )
    place_of = {
        id(node): (value, place)
        for value, group in enumerate(groups)
        for place, node in enumerate(group)
    }
    size_of = dict(enumerate(map(len, groups)))

    def gather(nodes: list[Node | None]) -> Gather:
        places = [
            (MARGINALIZED, 0) if node is None else place_of[id(node)] for node in nodes
        ]
        read = {value: size_of[value] for value, _ in places if value >= 0}
        return gather_of(places, read)

    steps: list[Step] = []
    blocks = _Blocks(rule, logspace)
    roots = {place_of[id(top)][0] for top in tops}
    for value, group in enumerate(groups[1:], 1):
        partitions = [partition for node in group for partition in node.partitions]
        arity = max(map(len, partitions))
        factors = tuple(
            gather([p[a] if a < len(p) else None for p in partitions])
            for a in range(arity)
        )
        longest = max(partitions, key=len)
        step = Step(
            factors,
            tuple(child.width for child in longest),
            len(group),
            len(group[0].partitions),
            product,
            SumSpec("", group[0].width, rule, logspace),
        )
        steps.append(blocks.with_parameter(step, is_root=value in roots))
    scopes = tuple(node.scope for node in groups[0])
    return FoldedGraph(scopes, tuple(steps), gather([*tops]))


class _Blocks:
    """Names parameters: successive steps of equal inputs and sums share one.

    What is done for each parameter, as normalising and learning, is done once for all
    regions of a block. The weights of the roots stay apart, under a name of their own.
    """

    def __init__(self, rule: SumRule, logspace: bool) -> None:
        self.rule, self.logspace = rule, logspace
        self.open: dict[tuple[int, int], tuple[str, int]] = {}
        self.count = 0

    def with_parameter(self, step: Step, is_root: bool) -> Step:
        """The step with the name and place of its weights."""
        kind = (step.num_inputs, step.num_outputs)
        name, start = self.open.get(kind, ("", 0))
        stop = start + step.num_regions
        if not name or is_root or stop * kind[0] * kind[1] > MAX_BLOCK:
            name, start, stop = f"sums_{self.count}", 0, step.num_regions
            self.count += 1
        if not is_root:
            self.open[kind] = (name, stop)
        sums = SumSpec(name, kind[1], self.rule, self.logspace, start=start)
        return dataclasses.replace(step, sums=sums)


def nodes_of(
    region_graph: RegionGraph,
    num_components: int,
    num_sums: int,
    num_root_units: int,
    leaf_sums: bool,
) -> list[Node]:
    """Nodes of the roots, and so of all regions; arguments are those of `fold`."""

    def sum_node(partitions: list[list[Node]], width: int) -> Node:
        node = Node(width, partitions)
        node.height = 1 + max(child.height for child in node.children)
        return node

    node_of: dict[int, Node] = {}
    roots = set(region_graph.roots)
    for region in region_graph.topological_order:
        width = num_root_units if region in roots else num_sums
        partitions = region_graph.partitions[region]
        if not partitions:
            node = Node(num_components, scope=region_graph.scopes[region])
            if leaf_sums or region in roots:
                node = sum_node([[node]], width)
        else:
            alike: dict[tuple[int, ...], list[list[Node]]] = defaultdict(list)
            for children in partitions:
                partition = [node_of[child] for child in children]
                alike[tuple(child.width for child in partition)].append(partition)
            kinds = list(alike.values())
            if len(kinds) > 1:
                # Partitions of unequal arity or width: sum each kind, then mix.
                kinds = [[[sum_node(kind, num_sums)] for kind in kinds]]
            node = sum_node(kinds[0], width)
        node_of[region] = node
    return [node_of[root] for root in region_graph.roots]


def set_depths(tops: list[Node]) -> None:
    """Notes of all nodes the longest way to them from a root."""
    order = sorted(all_nodes(tops), key=lambda node: -node.height)
    for node in order:
        for child in node.children:
            child.depth = max(child.depth, node.depth + 1)


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


def early(node: Node) -> int:
    """When a node is evaluated at the earliest, counted from the end."""
    return -node.height


def late(node: Node) -> int:
    """When a node is evaluated at the latest, counted from the end."""
    return node.depth if node.height > 1 else _FIRST


_FIRST = 2**30


def ordered_groups(
    tops: list[Node], product: Product, level: Callable[[Node], int]
) -> list[list[Node]]:
    """Leaves, then the nodes of each step, children before their parents.

    Args:
        tops: The roots.
        product: How the children of a partition are multiplied.
        level: Of nodes; those of higher levels are evaluated before those of lower.
    """
    members: dict[tuple, list[Node]] = defaultdict(list)
    seen: set[int] = set()

    def key_of(node: Node) -> tuple:
        if not node.partitions:
            return (np.inf,)
        widths = tuple(child.width for child in node.partitions[0])
        if product == "hadamard" and len(node.partitions) == 1:
            widths = widths[:1]  # of any number of factors
        return (level(node), node.width, len(node.partitions), widths)

    def request(nodes: Iterable[Node]) -> None:
        for node in nodes:
            if id(node) not in seen:
                seen.add(id(node))
                members[key_of(node)].append(node)

    # A group is complete when all that stand above it have been expanded.
    request(tops)
    done: list[list[Node]] = []
    pending = sorted({key_of(node)[:1] for node in all_nodes(tops) if node.partitions})
    for (at_level,) in pending:
        for key in sorted(k for k in members if k[0] == at_level):
            group = members[key]
            if len(group[0].partitions) == 1:
                group.sort(key=lambda node: -len(node.partitions[0]))
            partitions = [partition for node in group for partition in node.partitions]
            for a in range(max(map(len, partitions))):
                request(p[a] for p in partitions if a < len(p))
            done.append(group)
    return [members[(np.inf,)], *done[::-1]]
