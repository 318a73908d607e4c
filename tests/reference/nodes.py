"""Circuits as plain nodes.

Nodes are told apart by identity, and a node may have several parents.  The
node constructors refuse circuits that are not smooth or not decomposable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .family import Family


class Node:
    """A node over the variables `scope`, which is sorted and never empty."""

    scope: tuple[int, ...]
    children: tuple[Node, ...] = ()


class Leaf(Node):
    """One variable under one family."""

    def __init__(self, variable: int, family: Family) -> None:
        if int(variable) != variable or variable < 0:
            raise ValueError(f"not a variable index: {variable}")
        self.variable = int(variable)
        self.family = family
        self.scope = (self.variable,)

    def __repr__(self) -> str:
        return f"Leaf({self.variable}, {type(self.family).__name__})"


class Product(Node):
    """Independent parts: the scopes of the children do not meet."""

    def __init__(self, children: Sequence[Node]) -> None:
        if len(children) == 0:
            raise ValueError("a product needs a child")
        variables = [v for child in children for v in child.scope]
        if len(set(variables)) != len(variables):
            raise ValueError("not decomposable: the children share a variable")
        self.children = tuple(children)
        self.scope = tuple(sorted(variables))

    def __repr__(self) -> str:
        return f"Product(scope={self.scope}, children={len(self.children)})"


class Sum(Node):
    """A mixture: all children have the same scope.

    Weights are taken as they come (float32 weights sum to one only to about
    1e-7), never renormalised.
    """

    def __init__(
        self, children: Sequence[Node], weights: Sequence[float] | np.ndarray
    ) -> None:
        if len(children) == 0:
            raise ValueError("a sum needs a child")
        for child in children:
            if child.scope != children[0].scope:
                raise ValueError("not smooth: the children differ in scope")
        self.weights = np.array(weights, dtype=np.float64)
        if self.weights.shape != (len(children),):
            raise ValueError("one weight for each child")
        if not np.all(self.weights >= 0.0):
            raise ValueError("weights must be >= 0")
        if not abs(self.weights.sum() - 1.0) < 1e-6:
            raise ValueError("weights must sum to one")
        self.children = tuple(children)
        self.scope = children[0].scope

    def __repr__(self) -> str:
        return f"Sum(scope={self.scope}, children={len(self.children)})"


def nodes_of(root: Node) -> list[Node]:
    """Every node once, children before parents.

    The order depends only on the shape of the circuit, so two circuits of the
    same shape can be walked side by side.
    """
    seen: set[int] = set()
    order: list[Node] = []

    def visit(node: Node) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for child in node.children:
            visit(child)
        order.append(node)

    visit(root)
    return order


def leaves_of(root: Node) -> list[Leaf]:
    """Every leaf once."""
    return [node for node in nodes_of(root) if isinstance(node, Leaf)]


def sums_of(root: Node) -> list[Sum]:
    """Every sum once, children before parents."""
    return [node for node in nodes_of(root) if isinstance(node, Sum)]


def rebuild(
    root: Node,
    family: Callable[[Leaf], Family],
    weights: Callable[[Sum], np.ndarray],
) -> Node:
    """A new circuit of the same shape; shared nodes stay shared."""
    new: dict[int, Node] = {}
    for node in nodes_of(root):
        children = [new[id(child)] for child in node.children]
        if isinstance(node, Leaf):
            new[id(node)] = Leaf(node.variable, family(node))
        elif isinstance(node, Product):
            new[id(node)] = Product(children)
        elif isinstance(node, Sum):
            new[id(node)] = Sum(children, weights(node))
        else:
            raise TypeError(f"unknown node: {node!r}")
    return new[id(root)]
