"""Every node of a circuit with a place on the page, and the edges between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from tfp_spn.circuits.from_layers import from_layers
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.steps import MARGINALIZED, Gather, Step

MAX_NODES = 5_000
LEAF, PRODUCT, SUM, ROOT, PADDING = "leaf", "product", "sum", "root", "padding"


@dataclass
class Drawing:
    """Nodes by number.

    Attributes:
        kinds: ``"leaf"``, ``"product"``, ``"sum"``, ``"root"`` or ``"padding"``.
        levels: Rows from the bottom.
        scopes: The variables below each node.
        groups: Nodes of one region and level have the same number.
        units: The number of the node within its region.
        edges: Pairs of parent and child.
        x: Places from 0 to 1.
    """

    kinds: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    scopes: list[frozenset[int]] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    x: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def num_levels(self) -> int:
        """Number of rows."""
        return max(self.levels) + 1

    def add_region(
        self, kind: str, level: int, scope: frozenset[int], count: int
    ) -> list[int]:
        """Adds the nodes of a region at one level."""
        first, group = len(self.kinds), len(set(self.groups))
        if first + count > MAX_NODES:
            raise ValueError(
                f"The circuit has more than {MAX_NODES} nodes, too many to draw one by "
                "one. Draw a smaller circuit of the same structure, or its region "
                "graph with plot_region_graph."
            )
        self.kinds += [kind] * count
        self.levels += [level] * count
        self.scopes += [scope] * count
        self.groups += [group] * count
        self.units += range(count)
        return list(range(first, first + count))

    def of_kind(self, kind: str) -> list[int]:
        """The nodes of a kind."""
        return [node for node, own in enumerate(self.kinds) if own == kind]


def draw(circuit: object) -> Drawing:
    """The nodes of a circuit, a stack of layers or a distribution over one.

    Raises:
        TypeError: There is no circuit.
        ValueError: The circuit has too many nodes.
    """
    if isinstance(circuit, keras.Sequential):
        circuit = from_layers(circuit)
    program = getattr(circuit, "program", None)
    if not isinstance(program, FoldedProgram):
        raise TypeError(
            f"There is nothing to draw in an object of type {type(circuit).__name__}. "
            "Pass a circuit, a keras.Sequential of tfp_spn.layers, or a distribution."
        )
    drawing = Drawing()
    _add_nodes(drawing, program)
    drawing.x = _places(drawing)
    return drawing


def _add_nodes(drawing: Drawing, program: FoldedProgram) -> None:
    width = program.leaf.num_components
    values = [
        [
            drawing.add_region(LEAF, 0, frozenset(scope), width)
            for scope in program.layout.scopes
        ]
    ]
    level = 0
    for step in program.steps:
        below = [level_of(drawing, values, gather) for gather in step.factors]
        level = 1 + max(below)
        values.append(_add_step(drawing, step, values, level))
    roots = [
        unit
        for region in _gathered(drawing, program.root, values, 0)
        for unit in region
    ]
    top = max(drawing.levels)
    if program.prior is not None:
        scope = frozenset().union(*(drawing.scopes[root] for root in roots))
        (root,) = drawing.add_region(ROOT, top + 1, scope, 1)
        drawing.edges += [(root, child) for child in roots]
    else:
        for root in roots:
            drawing.kinds[root] = ROOT


def level_of(drawing: Drawing, values: list[list[list[int]]], gather: Gather) -> int:
    """The highest level of what is gathered."""
    nodes = [
        values[source][place][0]
        for source, size, offset in zip(
            gather.sources, gather.sizes, gather.offsets, strict=True
        )
        for place in gather.index - offset
        if 0 <= place < size
    ]
    return max((drawing.levels[node] for node in nodes), default=0)


def _add_step(
    drawing: Drawing, step: Step, values: list[list[list[int]]], level: int
) -> list[list[int]]:
    """Nodes of all regions of a step."""
    factors = [
        _gathered(drawing, gather, values, level - 1, width)
        for gather, width in zip(step.factors, step.widths, strict=True)
    ]
    regions = []
    for region in range(step.num_regions):
        inputs: list[int] = []
        for partition in range(step.num_partitions):
            place = region * step.num_partitions + partition
            children = [factor[place] for factor in factors]
            inputs += _add_products(drawing, step, children, level)
        if step.sums is None:
            regions.append(inputs)
            continue
        above = 1 + max(drawing.levels[node] for node in inputs)
        scope = drawing.scopes[inputs[0]]
        outputs = drawing.add_region(SUM, above, scope, step.sums.num_outputs)
        drawing.edges += [(parent, child) for parent in outputs for child in inputs]
        regions.append(outputs)
    return regions


def _add_products(
    drawing: Drawing, step: Step, children: Sequence[list[int]], level: int
) -> list[int]:
    """The products of one partition; a single factor needs none."""
    if len(children) == 1:
        return children[0]
    scope = frozenset().union(*(drawing.scopes[child[0]] for child in children))
    products = drawing.add_region(PRODUCT, level, scope, step.num_products)
    for unit, product in enumerate(products):
        chosen = getattr(step, "factor_units", None)  # [factors, products]
        if chosen is not None:
            digits = chosen[:, unit].tolist()
        elif step.product == "hadamard":
            digits = [unit] * len(children)
        else:
            digits = [int(digit) for digit in np.unravel_index(unit, step.widths)]
        drawing.edges += [
            (product, child[digit])
            for child, digit in zip(children, digits, strict=True)
        ]
    return products


def _gathered(
    drawing: Drawing,
    gather: Gather,
    values: list[list[list[int]]],
    level: int,
    width: int = 1,
) -> list[list[int]]:
    """The nodes of gathered regions, padding added where there is none."""
    found: dict[int, list[int]] = {}
    for source, size, offset in zip(
        gather.sources, gather.sizes, gather.offsets, strict=True
    ):
        for place in range(size):
            found[offset + place] = values[source][place]
    return [
        drawing.add_region(PADDING, level, frozenset(), width)
        if place == MARGINALIZED
        else found[place]
        for place in gather.index.tolist()
    ]


def _places(drawing: Drawing) -> np.ndarray:
    """Rows in the order of what is below, wide ones as wide as the page."""
    order = _leaf_order(drawing)
    x = np.zeros(len(drawing.kinds))
    children: dict[int, list[int]] = {}
    parents: dict[int, list[int]] = {}
    for parent, child in drawing.edges:
        children.setdefault(parent, []).append(child)
        parents.setdefault(child, []).append(parent)
    levels = np.array(drawing.levels)
    widest = int(np.bincount(levels).max())
    for level in range(drawing.num_levels):
        nodes = np.flatnonzero(levels == level).tolist()
        groups: dict[int, list[int]] = {}
        for node in nodes:
            groups.setdefault(drawing.groups[node], []).append(node)

        def center(group: list[int]) -> float:
            below = [c for node in group for c in children.get(node, ())]
            if not below:  # padding: beside the factors that it is multiplied with
                products = [p for node in group for p in parents.get(node, ())]
                factors = [factor for p in products for factor in children[p]]
                below = [c for factor in factors for c in children.get(factor, ())]
            if below:
                return float(np.mean([x[child] for child in below]))
            return float(np.mean([order[node] for node in group]))

        place, places = 0.0, {}
        for group in sorted(groups.values(), key=center):
            for node in group:
                places[node] = place
                place += 1.0
            place += 0.7  # between regions
        span = max(place - 1.7, 1.0)
        share = min(1.0, max(0.3, 2.0 * len(nodes) / widest))  # of the page
        for node, position in places.items():
            along = 0.5 if len(nodes) == 1 else position / span
            x[node] = 0.5 + share * (along - 0.5)
    return x


def _leaf_order(drawing: Drawing) -> dict[int, float]:
    """Where leaves and padding come from left to right, depth first from the root."""
    children: dict[int, list[int]] = {}
    parents = set()
    for parent, child in drawing.edges:
        children.setdefault(parent, []).append(child)
        parents.add(child)
    order: dict[int, float] = {}
    group_seen: set[int] = set()
    waiting = [n for n in reversed(range(len(drawing.kinds))) if n not in parents]
    while waiting:
        node = waiting.pop()
        if node in order:
            continue
        order[node] = float(len(order))
        if drawing.groups[node] in group_seen:
            continue  # the other nodes of a region are above the same leaves
        group_seen.add(drawing.groups[node])
        waiting.extend(reversed(children.get(node, [])))
    for node in range(len(drawing.kinds)):
        order.setdefault(node, float(len(order)))
    last = float(max(len(order), 2) - 1)
    return {node: place / last for node, place in order.items()}
