"""Brute force: all joint states, or all induced trees, of a tiny circuit."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .family import Value
from .nodes import Leaf, Node, Product, Sum, nodes_of
from .passes import (
    Edge,
    Example,
    Mask,
    is_observed,
    log_prob,
    log_sum_exp,
    log_weight,
    same_value,
    support_of,
)

State = tuple[Value, ...]  # one value for each variable of root.scope, in order


def all_states(root: Node) -> list[State]:
    """Every joint state, the last variable running fastest."""
    return list(itertools.product(*(support_of(root, v) for v in root.scope)))


def example_of(root: Node, state: State) -> list[Value]:
    """The state as an example, indexed by variable."""
    row: list[Value] = [None] * (max(root.scope) + 1)
    for variable, value in zip(root.scope, state, strict=True):
        row[variable] = value
    return row


def log_prob_table(root: Node) -> np.ndarray:
    """Log probability of every state, one axis for each variable."""
    shape = [len(support_of(root, v)) for v in root.scope]
    flat = [log_prob(root, example_of(root, state)) for state in all_states(root)]
    return np.array(flat).reshape(shape)


def total_mass(root: Node) -> float:
    """Sum of the table: one."""
    return math.fsum(np.exp(log_prob_table(root)).ravel())


def agrees(root: Node, state: State, x: Example, observed: Mask) -> bool:
    """Whether the state has the observed values."""
    return all(
        same_value(value, x[variable])
        for variable, value in zip(root.scope, state, strict=True)
        if is_observed(variable, x, observed)
    )


def _evidence_table(root: Node, x: Example, observed: Mask) -> np.ndarray:
    """Joint probability of every state and the evidence."""
    table = np.exp(log_prob_table(root))
    kept = [agrees(root, state, x, observed) for state in all_states(root)]
    return np.where(np.array(kept).reshape(table.shape), table, 0.0)


def brute_marginal(root: Node, x: Example, observed: Mask = None) -> float:
    """Log probability of the evidence, summed over the table."""
    mass = math.fsum(_evidence_table(root, x, observed).ravel())
    return math.log(mass) if mass > 0.0 else -math.inf


def brute_conditional(root: Node, x: Example, observed: Mask = None) -> np.ndarray:
    """p(state | evidence), one axis for each variable; nan if impossible."""
    table = _evidence_table(root, x, observed)
    mass = math.fsum(table.ravel())
    return table / mass if mass > 0.0 else np.full_like(table, math.nan)


def brute_posterior_marginal(
    root: Node, x: Example, observed: Mask, variable: int
) -> np.ndarray:
    """p(variable = value | evidence) for each value of its support."""
    axis = root.scope.index(variable)
    others = tuple(i for i in range(len(root.scope)) if i != axis)
    return brute_conditional(root, x, observed).sum(axis=others)


def brute_mode(
    root: Node, x: Example = None, observed: Mask = None
) -> tuple[float, list[State]]:
    """Highest joint log probability given the evidence, and all states there.

    This is the true mode (MAP), which max-product only bounds from below.
    """
    found = [
        (log_prob(root, example_of(root, state)), state)
        for state in all_states(root)
        if agrees(root, state, x, observed)
    ]
    best = max((value for value, _ in found), default=-math.inf)
    if best == -math.inf:
        return best, []
    return best, [state for value, state in found if value >= best - 1e-12]


def brute_moments(
    root: Node, x: Example = None, observed: Mask = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [n] and covariance [n, n] of the flattened states given evidence."""
    chances = brute_conditional(root, x, observed).ravel()
    points = np.array([np.ravel(state) for state in all_states(root)], np.float64)
    mean = sum(p * point for p, point in zip(chances, points, strict=True))
    covariance = sum(
        p * np.outer(point - mean, point - mean)
        for p, point in zip(chances, points, strict=True)
    )
    return mean, covariance


@dataclass(frozen=True, eq=False)
class Tree:
    """An induced tree: one child at every sum, all children at products."""

    log_weight: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def log_prob(self, x: Example, observed: Mask = None) -> float:
        """Weights times leaf densities, unobserved leaves counting one."""
        total = self.log_weight
        for node in self.nodes:
            if isinstance(node, Leaf) and is_observed(node.variable, x, observed):
                total += node.family.log_prob(x[node.variable])
        return total

    def max_log_prob(self, x: Example, observed: Mask = None) -> float:
        """The same with unobserved leaves at their highest density."""
        total = self.log_prob(x, observed)
        for node in self.nodes:
            if isinstance(node, Leaf) and not is_observed(node.variable, x, observed):
                total += node.family.log_prob(node.family.mode())
        return total


def induced_trees(node: Node) -> list[Tree]:
    """Every induced tree, zero weights included; exponentially many."""
    if isinstance(node, Leaf):
        return [Tree(0.0, (node,), ())]
    found = []
    if isinstance(node, Product):
        for parts in itertools.product(*(induced_trees(c) for c in node.children)):
            below = tuple(n for part in parts for n in part.nodes)
            edges = tuple(e for part in parts for e in part.edges)
            weight = sum(part.log_weight for part in parts)
            found.append(Tree(weight, (node, *below), edges))
        return found
    assert isinstance(node, Sum)
    for index, child in enumerate(node.children):
        for part in induced_trees(child):
            weight = log_weight(node, index) + part.log_weight
            edges = ((id(node), index), *part.edges)
            found.append(Tree(weight, (node, *part.nodes), edges))
    return found


def brute_gradient(
    root: Node, x: Example, observed: Mask = None
) -> tuple[dict[int, float], dict[Edge, float]]:
    """Posterior probability of each node and edge, by listing the trees."""
    nodes = {id(node): 0.0 for node in nodes_of(root)}
    edges = {
        (id(node), index): 0.0
        for node in nodes_of(root)
        if isinstance(node, Sum)
        for index in range(len(node.children))
    }
    trees = induced_trees(root)
    total = log_sum_exp([tree.log_prob(x, observed) for tree in trees])
    if total == -math.inf:
        return nodes, edges
    for tree in trees:
        chance = math.exp(tree.log_prob(x, observed) - total)
        for node in tree.nodes:
            nodes[id(node)] += chance
        for edge in tree.edges:
            edges[edge] += chance
    return nodes, edges
