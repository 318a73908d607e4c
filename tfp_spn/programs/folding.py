"""From a region graph to folded steps.

Regions that are summed alike become one step: they have equally many partitions, and
units of equal width above and below. Which ones go together also depends on when they
are evaluated. Sums over leaf regions are all evaluated first. The other regions either
as early as their children allow, or as late as their readers do, by depth below the
root: the latter puts the regions of an irregular tree, such as a hidden Chow-Liu tree,
into one step for each level. There it also pays to multiply the factors that sums over
leaves are, of all regions at once, in a step of their own. Whichever needs the fewest
operations is taken: each has a price, whatever it multiplies.

Within a step regions are ordered by first use from above, the first factors of all
parents before the second ones, so that in a tree every gather is a contiguous slice;
and regions that read alike follow each other.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.folded_program import (
    MARGINALIZED,
    Gather,
    Step,
    SumSpec,
    gather_of,
)
from tfp_spn.region_graphs import RegionGraph

Product = Literal["hadamard", "kronecker"]

MAX_BLOCK = 2**20
"""Weights of a parameter that several steps share: larger ones are better apart."""


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
    """

    width: int
    partitions: list[list[Node]] = field(default_factory=list)
    scope: tuple[int, ...] = ()
    has_sums: bool = True
    height: int = 0
    depth: int = 0

    @property
    def children(self) -> list[Node]:
        """Of all partitions."""
        return [child for partition in self.partitions for child in partition]


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
    widths = (num_components, num_sums, num_root_units)
    candidates = []
    for with_leaf_products in (False, True) if product == "hadamard" else (False,):
        tops = nodes_of(region_graph, *widths, leaf_sums)
        if with_leaf_products and not _multiply_leaves_first(tops):
            continue
        for level in (late, early):
            groups = ordered_groups(tops, product, level)
            candidates.append(_steps_of(tops, groups, product, rule, logspace))
    return min(candidates, key=_num_operations)


def _num_operations(folded: FoldedGraph) -> int:
    """About how many operations the upward pass of a folded graph is."""
    segments = [segment for step in folded.steps for segment in step.segments]
    return 12 * len(folded.steps) + sum(2 + len(factors) for factors in segments)


def _steps_of(
    tops: list[Node],
    groups: list[list[Node]],
    product: Product,
    rule: SumRule,
    logspace: bool,
) -> FoldedGraph:
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
        longest = max(partitions, key=len)
        factors = tuple(
            gather([p[a] if a < len(p) else None for p in partitions])
            for a in range(len(longest))
        )
        widths = tuple(child.width for child in longest)
        num_partitions = len(group[0].partitions)
        step = Step(factors, widths, len(group), num_partitions, product, None)
        if group[0].has_sums:
            sums = blocks.of_step(step, group[0].width, is_root=value in roots)
            step = dataclasses.replace(step, sums=sums)
        steps.append(step)
    scopes = tuple(node.scope for node in groups[0])
    return FoldedGraph(scopes, tuple(steps), gather([*tops]))


def _multiply_leaves_first(tops: list[Node]) -> bool:
    """Gives several factors that are sums over leaves a node of their own.

    Where there is none of higher factors nothing changes for the better: then False.
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


class _Blocks:
    """Names parameters: successive steps of equal inputs and sums share one.

    What is done for each parameter, as normalising and learning, is done once for all
    regions of a block. The weights of the roots stay apart, under a name of their own.
    """

    def __init__(self, rule: SumRule, logspace: bool) -> None:
        self.rule, self.logspace = rule, logspace
        self.open: dict[tuple[int, int], tuple[str, int]] = {}
        self.count = 0

    def of_step(self, step: Step, num_outputs: int, is_root: bool) -> SumSpec:
        """The sums of a step, with the name and place of their weights."""
        kind = (step.num_inputs, num_outputs)
        name, start = self.open.get(kind, ("", 0))
        stop = start + step.num_regions
        if not name or is_root or stop * kind[0] * kind[1] > MAX_BLOCK:
            name, start, stop = f"sums_{self.count}", 0, step.num_regions
            self.count += 1
        if not is_root:
            self.open[kind] = (name, stop)
        return SumSpec(name, num_outputs, self.rule, self.logspace, start=start)


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
    """When a node is evaluated at the latest, counted from the end.

    Those that sums over leaves are all that they read are evaluated first.
    """
    if node.has_sums and node.height > 1:
        return node.depth
    return _FIRST - node.height


_LEAVES = 2**31
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
            return (_LEAVES,)
        widths = tuple(child.width for child in node.partitions[0])
        if product == "hadamard" and len(node.partitions) == 1:
            widths = widths[:1]  # of any number of factors
        count = len(node.partitions)
        return (level(node), node.has_sums, node.width, count, widths)

    def reads(node: Node) -> list[tuple]:
        """Of which steps the factors are, the earliest last."""
        [partition] = node.partitions
        return [key_of(child) for child in partition]

    def request(nodes: Iterable[Node]) -> None:
        for node in nodes:
            if id(node) not in seen:
                seen.add(id(node))
                members[key_of(node)].append(node)

    # A group is complete when all that stand above it have been expanded.
    for node in sorted(all_nodes(tops), key=lambda node: -node.height):
        for child in node.children:
            child.depth = max(child.depth, node.depth + 1)
    request(tops)
    done: list[list[Node]] = []
    pending = sorted({key_of(node)[:1] for node in all_nodes(tops) if node.partitions})
    for (at_level,) in pending:
        for key in sorted(k for k in members if k[0] == at_level):
            group = members[key]
            if len(group[0].partitions) == 1 and product == "hadamard":
                for node in group:
                    node.partitions[0].sort(key=key_of)
                group.sort(key=lambda node: (-len(node.partitions[0]), reads(node)))
            partitions = [partition for node in group for partition in node.partitions]
            for a in range(max(map(len, partitions))):
                request(p[a] for p in partitions if a < len(p))
            done.append(group)
    return [members[(_LEAVES,)], *done[::-1]]
