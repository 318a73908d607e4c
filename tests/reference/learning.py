"""Expected counts, EM steps, and winner-takes-all counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .family import Family, Value
from .nodes import Leaf, Node, Product, Sum, leaves_of, nodes_of, rebuild, sums_of
from .passes import (
    Edge,
    Example,
    Mask,
    gradient,
    is_observed,
    log_weight,
    mask_row,
    values,
)


class TieError(ValueError):
    """Several children of a sum win, and nothing says which to take."""


@dataclass
class EmCounts:
    """Sums over the data.

    `edges`: (id of sum, child index) -> expected count.  `leaves`: id of leaf
    -> one (value, responsibility) pair for each example that observes its
    variable.  `log_likelihood`: weighted sum of the log probabilities.
    """

    edges: dict[Edge, float]
    leaves: dict[int, list[tuple[Value, float]]]
    log_likelihood: float

    def leaf_total(self, leaf: Leaf) -> float:
        """Sum of the responsibilities of a leaf where it is observed."""
        return sum(weight for _, weight in self.leaves[id(leaf)])


def em_counts(
    root: Node, data: Any, observed: Any = None, weights: Any = None
) -> EmCounts:
    """Expected counts under the posterior; impossible examples count nothing.

    `observed`: None, one mask for all examples, or a mask for each.
    `weights`: how often each example counts, one by default.
    """
    edges = {
        (id(node), index): 0.0
        for node in sums_of(root)
        for index in range(len(node.children))
    }
    leaves: dict[int, list[tuple[Value, float]]]
    leaves = {id(leaf): [] for leaf in leaves_of(root)}
    likelihood = 0.0
    for row, x in enumerate(data):
        mask = mask_row(observed, row)
        times = 1.0 if weights is None else float(weights[row])
        if times == 0.0:
            continue
        likelihood += times * values(root, x, mask)[id(root)]
        node_flow, edge_flow = gradient(root, x, mask)
        for edge, flow in edge_flow.items():
            edges[edge] += times * flow
        for leaf in leaves_of(root):
            if is_observed(leaf.variable, x, mask):
                pair = (x[leaf.variable], times * node_flow[id(leaf)])
                leaves[id(leaf)].append(pair)
    return EmCounts(edges, leaves, likelihood)


def em_step(
    root: Node,
    data: Any,
    observed: Any = None,
    weights: Any = None,
    variance_floor: float = 1e-6,
    update_weights: bool = True,
    update_leaves: bool = True,
) -> Node:
    """A new circuit after one full EM step on the data.

    Sums and leaves that receive no count stay as they are.  The new circuit
    has the shape of the old one, so `nodes_of` lists both in the same order.
    """
    counts = em_counts(root, data, observed, weights)

    def new_weights(node: Sum) -> np.ndarray:
        received = [counts.edges[id(node), i] for i in range(len(node.children))]
        total = math.fsum(received)
        if not update_weights or total == 0.0:
            return node.weights
        return np.array(received) / total

    def new_family(leaf: Leaf) -> Family:
        if not update_leaves:
            return leaf.family
        return leaf.family.fit(counts.leaves[id(leaf)], variance_floor)

    return rebuild(root, new_family, new_weights)


def winners(
    root: Node,
    x: Example,
    observed: Mask,
    rule: str,
    tolerance: float = 1e-12,
) -> dict[int, set[int]]:
    """The winning child indices of every sum, several where they tie.

    "hard" ranks log weight + child value, "unweighted" the child value alone,
    so sums over the same children share their winner whatever their weights
    (zero weights included).  Child values are those of the ordinary upward
    pass.  Scores within `tolerance` (relative to their size, and absolute
    below one) of the best tie.  A sum whose children are all impossible has
    no winner.
    """
    if rule not in ("hard", "unweighted"):
        raise ValueError(f"no rule {rule!r}")
    value = values(root, x, observed)
    found: dict[int, set[int]] = {}
    for node in sums_of(root):
        scores = []
        for index, child in enumerate(node.children):
            score = value[id(child)]
            if rule == "hard":
                score = log_weight(node, index) + score
            scores.append(score)
        best = max(scores)
        if best == -math.inf:
            found[id(node)] = set()
            continue
        slack = tolerance * max(1.0, abs(best))
        found[id(node)] = {i for i, s in enumerate(scores) if s >= best - slack}
    return found


def hard_counts(
    root: Node,
    x: Example,
    observed: Mask,
    rule: str,
    choose: Callable[[set[int]], int] | None = None,
    tolerance: float = 1e-12,
) -> tuple[dict[Edge, float], dict[int, float]]:
    """Edge counts and node flows when each sum passes its flow to its winner.

    Flow 1 enters at the root; a node with several parents adds up what it
    gets.  Where a sum with flow has tied winners, `choose` (say `min`) picks
    one; without it that is a TieError.  Impossible evidence gives zeros.
    """
    winning = winners(root, x, observed, rule, tolerance)
    order = nodes_of(root)
    flows = {id(node): 0.0 for node in order}
    edges = {
        (id(node), index): 0.0
        for node in sums_of(root)
        for index in range(len(node.children))
    }
    if values(root, x, observed)[id(root)] == -math.inf:
        return edges, flows
    flows[id(root)] = 1.0
    for node in reversed(order):
        flow = flows[id(node)]
        if flow == 0.0:
            continue
        if isinstance(node, Product):
            for child in node.children:
                flows[id(child)] += flow
        elif isinstance(node, Sum):
            best = winning[id(node)]
            if len(best) > 1 and choose is None:
                raise TieError(f"children {sorted(best)} of {node!r} tie")
            index = next(iter(best)) if len(best) == 1 else choose(best)
            edges[id(node), index] += flow
            flows[id(node.children[index])] += flow
    return edges, flows
