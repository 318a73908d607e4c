"""Small random circuits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .families import Categorical
from .family import Family
from .nodes import Leaf, Node, Product, Sum

MakeFamily = Callable[[np.random.Generator, int], Family]


def random_weights(
    rng: np.random.Generator, num: int, zeros: float = 0.0
) -> np.ndarray:
    """Random weights, each zero with chance `zeros`, never all of them."""
    weights = rng.dirichlet(np.ones(num)) + 0.01
    dropped = rng.random(num) < zeros
    dropped[rng.integers(num)] = False
    weights[dropped] = 0.0
    return weights / weights.sum()


def random_circuit(
    rng: np.random.Generator,
    num_variables: int,
    num_categories: int,
    depth: int,
    num_sums: int,
    sharing: bool = True,
    zeros: float = 0.0,
    make_family: MakeFamily | None = None,
) -> Sum:
    """A random circuit over variables 0, ..., num_variables - 1.

    Sums over random two-way splits of their scope, `depth` levels deep, then
    fully factorised.  With `sharing`, every scope met has one set of
    `num_sums` sums over common children, and all the products over it draw on
    that set; without, the circuit is a tree.  Weights are zero with chance
    `zeros`.  `make_family(rng, variable)` replaces the categorical leaves.
    """
    groups: dict[tuple[tuple[int, ...], int], list[Node]] = {}

    def family(variable: int) -> Family:
        if make_family is not None:
            return make_family(rng, variable)
        return Categorical(random_weights(rng, num_categories))

    def split(scope: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        order = [int(v) for v in rng.permutation(scope)]
        cut = int(rng.integers(1, len(order)))
        return tuple(sorted(order[:cut])), tuple(sorted(order[cut:]))

    def factorised(scope: tuple[int, ...]) -> Node:
        leaves = [Leaf(v, family(v)) for v in scope]
        return leaves[0] if len(leaves) == 1 else Product(leaves)

    def mixture(children: list[Node]) -> Sum:
        return Sum(children, random_weights(rng, len(children), zeros))

    def grow(scope: tuple[int, ...], level: int) -> Node:
        if level == 0 or len(scope) == 1:
            return mixture([factorised(scope) for _ in range(num_sums)])
        children: list[Node] = []
        for _ in range(num_sums):
            left, right = split(scope)
            children.append(Product([grow(left, level - 1), grow(right, level - 1)]))
        return mixture(children)

    def products(scope: tuple[int, ...], level: int, splits: int = 1) -> list[Node]:
        if level == 0 or len(scope) == 1:
            return [factorised(scope) for _ in range(num_sums)]
        drawn = {tuple(sorted(split(scope))) for _ in range(splits)}
        return [
            Product([a, b])
            for left, right in sorted(drawn)
            for a in group(left, level - 1)
            for b in group(right, level - 1)
        ]

    def group(scope: tuple[int, ...], level: int) -> list[Node]:
        key = (scope, level)
        if key not in groups:
            children = products(scope, level)
            groups[key] = [mixture(children) for _ in range(num_sums)]
        return groups[key]

    every = tuple(range(num_variables))
    if not sharing:
        root = grow(every, depth)
        assert isinstance(root, Sum)
        return root
    return mixture(products(every, depth, splits=2))
