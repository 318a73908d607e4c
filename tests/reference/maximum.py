"""Max-product: the best induced tree and the example it stands for."""

from __future__ import annotations

import math

from .family import Value
from .nodes import Leaf, Node, Product, Sum, nodes_of
from .passes import Example, Mask, is_observed, log_weight


def max_values(root: Node, x: Example, observed: Mask = None) -> dict[int, float]:
    """Log of the best induced tree below every node, by id.

    A tree is worth its weights times its leaf densities; a leaf that is not
    observed counts with its highest density.
    """
    best: dict[int, float] = {}
    for node in nodes_of(root):
        if isinstance(node, Leaf):
            if is_observed(node.variable, x, observed):
                value = node.family.log_prob(x[node.variable])
            else:
                value = node.family.log_prob(node.family.mode())
        elif isinstance(node, Product):
            value = sum(best[id(child)] for child in node.children)
        else:
            assert isinstance(node, Sum)
            value = max(edge_scores(node, best))
        best[id(node)] = value
    return best


def edge_scores(node: Sum, best: dict[int, float]) -> list[float]:
    """Log weight + best tree below, for each child of a sum."""
    scores = []
    for index, child in enumerate(node.children):
        weight = log_weight(node, index)
        scores.append(-math.inf if weight == -math.inf else weight + best[id(child)])
    return scores


def max_product(
    root: Node, x: Example, observed: Mask = None
) -> tuple[float, list[Value]]:
    """Log value of the best induced tree, and the example completed from it.

    Observed entries of the example are kept, the others take the modes of the
    tree's leaves.  Ties go to the first child.  Under impossible evidence the
    value is -inf and the completion means nothing.
    """
    best = max_values(root, x, observed)
    row: list[Value] = [None] * (max(root.scope) + 1)

    def trace(node: Node) -> None:
        if isinstance(node, Leaf):
            if is_observed(node.variable, x, observed):
                row[node.variable] = x[node.variable]
            else:
                row[node.variable] = node.family.mode()
        elif isinstance(node, Product):
            for child in node.children:
                trace(child)
        else:
            assert isinstance(node, Sum)
            scores = edge_scores(node, best)
            trace(node.children[scores.index(max(scores))])

    trace(root)
    return best[id(root)], row
