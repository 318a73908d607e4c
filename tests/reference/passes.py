"""Log values upward, responsibilities downward, queries and samples.

Throughout, `x` is one example, indexed by variable, and `observed` says which
variables count as evidence: None for all of them.  With `x` None nothing is
observed.  Entries of `x` that are not observed are never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .family import Value
from .nodes import Leaf, Node, Product, Sum, leaves_of, nodes_of

Example = Sequence[Value] | np.ndarray | None
Mask = Sequence[bool] | np.ndarray | None
Edge = tuple[int, int]  # (id of a sum, index of the child)


def is_observed(variable: int, x: Example, observed: Mask) -> bool:
    """Whether the variable is part of the evidence."""
    if x is None:
        return False
    return True if observed is None else bool(observed[variable])


def log_sum_exp(terms: Sequence[float]) -> float:
    """log(sum(exp(terms))), -inf for no mass."""
    top = max(terms, default=-math.inf)
    if top == -math.inf:
        return -math.inf
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def log_weight(node: Sum, index: int) -> float:
    """Log of a weight, -inf for zero."""
    weight = float(node.weights[index])
    return math.log(weight) if weight > 0.0 else -math.inf


def log_prob(root: Node, x: Example, observed: Mask = None) -> float:
    """Log probability of the evidence, by plain recursion."""
    memo: dict[int, float] = {}

    def value(node: Node) -> float:
        if id(node) not in memo:
            memo[id(node)] = fresh(node)
        return memo[id(node)]

    def fresh(node: Node) -> float:
        if isinstance(node, Leaf):
            if not is_observed(node.variable, x, observed):
                return 0.0
            return node.family.log_prob(x[node.variable])
        if isinstance(node, Product):
            return math.fsum(value(child) for child in node.children)
        assert isinstance(node, Sum)
        terms = []
        for index, child in enumerate(node.children):
            if node.weights[index] > 0.0:
                terms.append(log_weight(node, index) + value(child))
        return log_sum_exp(terms)

    return value(root)


def values(
    root: Node,
    x: Example,
    observed: Mask = None,
    shift: Mapping[int, float] | None = None,
) -> dict[int, float]:
    """Log value of every node, by id.

    `shift` adds to the log value of chosen nodes before their parents see it,
    for finite differences.
    """
    shift = shift or {}
    found: dict[int, float] = {}
    for node in nodes_of(root):
        if isinstance(node, Leaf):
            if is_observed(node.variable, x, observed):
                value = node.family.log_prob(x[node.variable])
            else:
                value = 0.0
        elif isinstance(node, Product):
            value = sum(found[id(child)] for child in node.children)
        else:
            assert isinstance(node, Sum)
            value = log_sum_exp(
                [
                    log_weight(node, index) + found[id(child)]
                    for index, child in enumerate(node.children)
                    if node.weights[index] > 0.0
                ]
            )
        found[id(node)] = value + shift.get(id(node), 0.0)
    return found


def gradient(
    root: Node, x: Example, observed: Mask = None
) -> tuple[dict[int, float], dict[Edge, float]]:
    """Responsibilities of the nodes and flows of the sum edges.

    The first dict holds d log root / d log value of each node, which is the
    posterior probability that the induced tree holds the node; the second the
    expected count of each edge (id of sum, child index).  Impossible evidence
    gives zeros everywhere.
    """
    value = values(root, x, observed)
    order = nodes_of(root)
    nodes = {id(node): 0.0 for node in order}
    edges = {
        (id(node), index): 0.0
        for node in order
        if isinstance(node, Sum)
        for index in range(len(node.children))
    }
    if value[id(root)] == -math.inf:
        return nodes, edges
    nodes[id(root)] = 1.0
    for node in reversed(order):
        flow = nodes[id(node)]
        if flow == 0.0:
            continue
        for index, child in enumerate(node.children):
            part = flow
            if isinstance(node, Sum):
                term = log_weight(node, index) + value[id(child)]
                part = flow * math.exp(term - value[id(node)])
                edges[id(node), index] = part
            nodes[id(child)] += part
    return nodes, edges


def mask_row(observed: Any, index: int) -> Mask:
    """The mask of one example, from None, one mask for all, or a mask each."""
    if observed is None:
        return None
    mask = np.asarray(observed, dtype=bool)
    return mask if mask.ndim == 1 else mask[index]


def batch(
    function: Callable[..., Any],
    root: Node,
    data: Any,
    observed: Any = None,
    **options: Any,
) -> Any:
    """`function(root, x, mask, **options)` of each example.

    Numbers and arrays are stacked into an array, anything else is a list.
    """
    results = [
        function(root, x, mask_row(observed, index), **options)
        for index, x in enumerate(data)
    ]
    if all(isinstance(result, (float, int, np.ndarray)) for result in results):
        return np.array(results)
    return results


def support_of(root: Node, variable: int) -> list[Value]:
    """All values of a finite variable, over all its leaves, in order."""
    found: set[Value] = set()
    for leaf in leaves_of(root):
        if leaf.variable == variable:
            support = leaf.family.support()
            if support is None:
                raise ValueError(f"variable {variable} is not finite")
            found.update(support)
    return sorted(found)


def same_value(a: Value, b: Value) -> bool:
    """Equality of scalar or vector values."""
    return bool(np.all(np.asarray(a) == np.asarray(b)))


def posterior_marginals(
    root: Node, x: Example, observed: Mask, variable: int
) -> tuple[list[Value], np.ndarray]:
    """The values of a finite variable and p(value | evidence).

    An observed variable gives a one-hot answer, impossible evidence nan.
    """
    total = log_prob(root, x, observed)
    support = support_of(root, variable)
    if total == -math.inf:
        return support, np.full(len(support), math.nan)
    size = max(root.scope) + 1
    row: list[Value] = [None] * size if x is None else list(x)
    mask = [is_observed(v, x, observed) for v in range(size)]
    answer = []
    for value in support:
        if mask[variable] and not same_value(row[variable], value):
            answer.append(0.0)
            continue
        joint_row, joint_mask = list(row), list(mask)
        joint_row[variable], joint_mask[variable] = value, True
        answer.append(math.exp(log_prob(root, joint_row, joint_mask) - total))
    return support, np.array(answer)


def sample(root: Node, rng: np.random.Generator) -> list[Value]:
    """One ancestral sample, indexed by variable."""
    row: list[Value] = [None] * (max(root.scope) + 1)

    def descend(node: Node) -> None:
        if isinstance(node, Leaf):
            row[node.variable] = node.family.sample(rng)
        elif isinstance(node, Product):
            for child in node.children:
                descend(child)
        else:
            assert isinstance(node, Sum)
            chances = node.weights / node.weights.sum()
            descend(node.children[rng.choice(len(chances), p=chances)])

    descend(root)
    return row
