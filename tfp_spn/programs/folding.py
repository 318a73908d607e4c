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
and regions that read alike follow each other. Where most regions are read more than
once, no order makes slices of them: they lie as their weights are stored, so that few
weights have to be gathered.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.nodes import (
    FirstUses,
    LeafSums,
    Node,
    Product,
    all_nodes,
    multiply_leaves_first,
    nodes_of,
)
from tfp_spn.programs.steps import MARGINALIZED, Gather, Step, SumSpec, gather_of
from tfp_spn.programs.storage import Block, Storage, storage_of
from tfp_spn.region_graphs import RegionGraph


@dataclass(frozen=True)
class FoldedGraph:
    """Result of `fold`.

    Attributes:
        leaf_scopes: Scopes of the leaf regions in kernel order.
        steps: The steps.
        root: Gather of the root regions.
        blocks: Weights that are used as one.
        storage: The variables.
    """

    leaf_scopes: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]
    root: Gather
    blocks: dict[str, Block]
    storage: Storage


def fold(
    region_graph: RegionGraph,
    *,
    num_components: int,
    num_sums: int,
    num_root_units: int,
    product: Product,
    leaf_sums: LeafSums,
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
        leaf_sums: Sums that leaf regions pass through: none, some for all of its
            partitions, or some for each.
        rule: Learning rule of the sums.
        logspace: Whether their weights are stored as logarithms.
    """
    widths = (num_components, num_sums, num_root_units)
    candidates: list[FoldedGraph] = []
    for with_leaf_products in (False, True) if product == "hadamard" else (False,):
        tops = nodes_of(region_graph, *widths, leaf_sums)
        storage = storage_of(tops, product)
        if with_leaf_products and not multiply_leaves_first(tops):
            continue
        orders: list[list[list[Node]]] = []
        for level in (late, early):
            groups = [storage.leaves, *ordered_groups(tops, product, level, storage)]
            order = [[*group, *_children_of(group)] for group in groups]
            if order in orders:
                continue
            orders.append(order)
            spec = SumSpec("", 0, rule, logspace)
            candidates.append(_steps_of(tops, groups, product, spec, storage))
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=_num_operations)


def _children_of(group: list[Node]) -> list[Node]:
    """What the nodes of a step read, in order."""
    return [child for node in group for child in node.children]


def _num_operations(folded: FoldedGraph) -> int:
    """About how many operations the upward pass of a folded graph is."""
    segments = [segment for step in folded.steps for segment in step.segments]
    return 12 * len(folded.steps) + sum(2 + len(factors) for factors in segments)


def _steps_of(
    tops: list[Node],
    groups: list[list[Node]],
    product: Product,
    spec: SumSpec,
    storage: Storage,
) -> FoldedGraph:
    """Turns groups of nodes into steps, children before their parents."""
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
    blocks, slices = storage.blocks(g for g in groups[1:] if g[0].has_sums)
    specs = iter(slices)
    for group in groups[1:]:
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
            name, start = next(specs)
            sums = dataclasses.replace(
                spec, parameter=name, num_outputs=group[0].width, start=start
            )
            step = dataclasses.replace(step, sums=sums)
        steps.append(step)
    scopes = tuple(node.scope for node in groups[0])
    return FoldedGraph(scopes, tuple(steps), gather([*tops]), blocks, storage)


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
    tops: list[Node],
    product: Product,
    level: Callable[[Node], int],
    storage: Storage,
) -> list[list[Node]]:
    """The nodes of each step, children before their parents.

    Args:
        tops: The roots.
        product: How the children of a partition are multiplied.
        level: Of nodes; those of higher levels are evaluated before those of lower.
        storage: Where their weights are kept.
    """
    nodes = all_nodes(tops)
    num_readers: Counter[int] = Counter()
    for node in sorted(nodes, key=lambda node: -node.height):
        num_readers.update(map(id, node.children))
        for child in node.children:
            child.depth = max(child.depth, node.depth + 1)
    keys = {id(node): _key_of(node, product, level) for node in nodes}

    def key_of(node: Node) -> tuple:
        return keys[id(node)]

    def reads(node: Node) -> list[tuple]:
        """Of which steps the factors are, the earliest last."""
        [partition] = node.partitions
        return [key_of(child) for child in partition]

    # A group is complete when all that stand above it have been expanded.
    uses = FirstUses(key_of)
    uses.request(tops)
    done: list[list[Node]] = []
    for at_level in sorted({key_of(node)[0] for node in nodes if node.partitions}):
        for key in sorted(key for key in uses.groups if key[0] == at_level):
            group = uses.groups[key]
            if group[0].has_sums and _are_shared(group, num_readers):
                group.sort(key=lambda node: storage.place_of[id(node)])
            if len(group[0].partitions) == 1 and product == "hadamard":
                for node in group:
                    node.partitions[0].sort(key=key_of)
                group.sort(key=lambda node: (-len(node.partitions[0]), reads(node)))
            partitions = [partition for node in group for partition in node.partitions]
            for a in range(max(map(len, partitions))):
                uses.request(p[a] for p in partitions if a < len(p))
            done.append(group)
    return done[::-1]


def _key_of(node: Node, product: Product, level: Callable[[Node], int]) -> tuple:
    """Nodes of equal keys are evaluated in one step."""
    if not node.partitions:
        return (_LEAVES,)
    widths = tuple(child.width for child in node.partitions[0])
    if product == "hadamard" and len(node.partitions) == 1:
        widths = widths[:1]  # of any number of factors
    return (level(node), node.has_sums, node.width, len(node.partitions), widths)


def _are_shared(group: list[Node], num_readers: Counter[int]) -> bool:
    """Whether most of the nodes are factors of several partitions."""
    return 2 * sum(num_readers[id(node)] > 1 for node in group) > len(group)
