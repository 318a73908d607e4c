"""Posterior mean, variance and covariance by upward recursion alone.

A coordinate is (variable, dimension), the dimension being 0 for scalars.
Every node tells the expectation, under its own distribution given the
evidence in its scope, of the product of a few centred coordinates.
"""

from __future__ import annotations

import math

import numpy as np

from .families import Vector
from .nodes import Leaf, Node, Product, Sum, leaves_of
from .passes import Example, Mask, is_observed, log_weight, values

Coordinate = tuple[int, int]


def dims_of(root: Node) -> dict[int, int | None]:
    """The dimensions of each variable, None for scalars."""
    dims: dict[int, int | None] = {}
    for leaf in leaves_of(root):
        if dims.setdefault(leaf.variable, leaf.family.dims) != leaf.family.dims:
            raise ValueError(f"leaves of {leaf.variable} differ in dimensions")
    return dims


def coordinates(root: Node) -> list[Coordinate]:
    """Every coordinate of every variable, variables in order."""
    dims = dims_of(root)
    return [(v, d) for v in root.scope for d in range(dims[v] or 1)]


def shaped(root: Node, flat: np.ndarray) -> np.ndarray:
    """[variables] for scalars, [variables, dims] for vectors, flat if mixed."""
    dims = set(dims_of(root).values())
    if len(dims) == 1 and None not in dims:
        return flat.reshape(len(root.scope), dims.pop())
    return flat


def expectation(
    root: Node,
    factors: list[Coordinate],
    x: Example = None,
    observed: Mask = None,
    centre: dict[Coordinate, float] | None = None,
) -> float:
    """E[product over factors of (X - centre) | evidence]; nan if impossible.

    A coordinate may stand twice among the factors, not more often.
    """
    centre = centre or {}
    value = values(root, x, observed)
    if value[id(root)] == -math.inf:
        return math.nan
    memo: dict[tuple[int, tuple[Coordinate, ...]], float] = {}

    def of_leaf(leaf: Leaf, wanted: tuple[Coordinate, ...]) -> float:
        family = leaf.family
        parts = family.families if isinstance(family, Vector) else [family]
        seen = is_observed(leaf.variable, x, observed)
        answer = 1.0
        for dim, part in enumerate(parts):
            coordinate = (leaf.variable, dim)
            power = wanted.count(coordinate)
            if power == 0:
                continue
            shift = centre.get(coordinate, 0.0)
            if seen:
                entry = x[leaf.variable]
                number = entry[dim] if isinstance(family, Vector) else entry
                answer *= (float(number) - shift) ** power
            elif power == 1:
                answer *= part.mean() - shift
            elif power == 2:
                answer *= part.variance() + (part.mean() - shift) ** 2
            else:
                raise ValueError("moments above the second are not there")
        return answer

    def of(node: Node, wanted: tuple[Coordinate, ...]) -> float:
        if not wanted:
            return 1.0
        key = (id(node), wanted)
        if key not in memo:
            memo[key] = fresh(node, wanted)
        return memo[key]

    def fresh(node: Node, wanted: tuple[Coordinate, ...]) -> float:
        if isinstance(node, Leaf):
            return of_leaf(node, wanted)
        if isinstance(node, Product):
            answer = 1.0
            for child in node.children:
                answer *= of(child, tuple(c for c in wanted if c[0] in child.scope))
            return answer
        assert isinstance(node, Sum)
        answer = 0.0
        for index, child in enumerate(node.children):
            term = log_weight(node, index) + value[id(child)]
            if term > -math.inf:
                answer += math.exp(term - value[id(node)]) * of(child, wanted)
        return answer

    return of(root, tuple(factors))


def mean(root: Node, x: Example = None, observed: Mask = None) -> np.ndarray:
    """E[X | evidence]: [variables], or [variables, dims] for vectors."""
    flat = [expectation(root, [c], x, observed) for c in coordinates(root)]
    return shaped(root, np.array(flat))


def covariance(root: Node, x: Example = None, observed: Mask = None) -> np.ndarray:
    """Posterior covariance of all coordinates, variables before dimensions."""
    every = coordinates(root)
    flat = np.ravel(mean(root, x, observed))
    centre = {c: float(m) for c, m in zip(every, flat, strict=True)}
    answer = np.empty((len(every), len(every)))
    for i, first in enumerate(every):
        for j, second in enumerate(every):
            answer[i, j] = expectation(root, [first, second], x, observed, centre)
    return answer


def variance(root: Node, x: Example = None, observed: Mask = None) -> np.ndarray:
    """Var[X | evidence], shaped as the mean."""
    every = coordinates(root)
    flat = np.ravel(mean(root, x, observed))
    answer = []
    for c, m in zip(every, flat, strict=True):
        centre = {c: float(m)}
        answer.append(expectation(root, [c, c], x, observed, centre))
    return shaped(root, np.array(answer))
