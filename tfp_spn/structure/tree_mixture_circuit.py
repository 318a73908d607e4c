"""Mixtures of trees of observed variables, of one shape, as circuits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tfp_spn.circuits import (
    RegionGraphCircuit,
    assign_log_weights,
    from_region_graph,
)
from tfp_spn.region_graphs import RegionGraph
from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.structure.columns import Columns
from tfp_spn.structure.leaf_estimates import Estimate, assign_leaves, leaf_layer

_WIDTH = 16
"""Sums of a region, about: wider ones waste more, narrower ones are more regions."""


def tree_mixture_circuit(
    columns: Columns,
    parents: npt.NDArray[np.int64],
    log_weights: npt.NDArray[np.float64],
    log_tables: Mapping[int, npt.NDArray[np.float64]],
    others: Mapping[int, Estimate],
) -> RegionGraphCircuit:
    """Builds the circuit of a mixture of trees over categorical variables.

        p(x) = sum_m w[m] prod_v p(x[v] | x[parent(v)], m) prod_u p(x[u] | m)

    A region stands for the subtree below a variable in a group of components, and has
    a sum for each component and each state of the variable's parent. Its weights are
    zero between different components: that wastes some of a matrix product, and is
    several times faster than a region for each component. Leaves tell the states of
    inner variables apart, and those of variables without children are their
    conditional tables. Variables beside the tree are one more factor.

    Args:
        columns: The table.
        parents: ``[V]``: the parent of each variable of the tree, -1 for the root.
        log_weights: ``[M]``, normalised.
        log_tables: By variable of the tree, at least two, ``[M, S', S]``: component,
            state of the parent, state; -inf where there is no such state. Of the root
            the first state of the parent counts.
        others: By variable ``u`` beside the tree, its parameters, ``[M]`` each.
    """
    num_above, num_states = next(iter(log_tables.values())).shape[1:]
    size_of_group = min(len(log_weights), max(1, _WIDTH // num_above))
    num_groups = -(-len(log_weights) // size_of_group)
    width = size_of_group * num_above
    missing = num_groups * size_of_group - len(log_weights)

    def grouped(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Of ``[M, ...]``, ``[groups, components of each, ...]``."""
        padding = [(0, missing)] + [(0, 0)] * (values.ndim - 1)
        padded = np.pad(values, padding, mode="edge")
        return padded.reshape([num_groups, size_of_group, *values.shape[1:]])

    tables = {v: grouped(table) for v, table in log_tables.items()}
    log_weights = np.pad(log_weights, [0, missing], constant_values=-np.inf)
    order, children = _from_the_root(parents, list(log_tables))
    below: dict[int, tuple[int, ...]] = {}
    for variable in reversed(order):
        nested = [below[child] for child in children[variable]]
        below[variable] = tuple(sorted(sum(nested, (variable,))))
    size = len(others) + sum(len(scope) for scope in below.values())
    total = num_groups * size
    check_total(total, "The mixture is too large", "Ask for fewer components.")

    root = order[0]
    scopes: list[tuple[int, ...]] = [tuple(sorted((*below[root], *others)))]
    inner = {v: len(scopes) + i for i, v in enumerate(v for v in order if children[v])}
    scopes += [(v,) for v in inner]
    region: dict[tuple[int, int], int] = {}
    for group in range(num_groups):
        for variable in order[1:]:
            region[group, variable] = len(scopes)
            scopes.append(below[variable])
    beside = len(scopes)  # the first of one for each group
    if others:
        scopes += [tuple(sorted(others))] * num_groups
    partitions = []
    for group in range(num_groups):
        for variable in inner:
            parts = [inner[variable], *(region[group, c] for c in children[variable])]
            if others and variable == root:
                parts.append(beside + group)
            partitions.append((region.get((group, variable), 0), parts))
    circuit = from_region_graph(
        RegionGraph(scopes, partitions),
        leaf_layer(columns, width, is_deterministic=True),
        num_sums=width,
        leaf_sums=False,
    )
    # An inner variable has no more states than there are sums: a sum for each.
    of_root = (
        log_weights.reshape([num_groups, -1, 1]) + tables[root][:, :, 0, :num_above]
    )
    weights = {0: of_root.reshape([num_groups, width, 1])}
    component_of = {number: key for key, number in region.items()}
    for number, (group, variable) in component_of.items():
        if children[variable]:
            own = tables[variable][group, :, :, :num_above].swapaxes(1, 2)
            weights[number] = _block_diagonal(own)[np.newaxis]
    assign_log_weights(circuit, weights)
    with np.errstate(divide="ignore"):
        identity = np.log(np.eye(num_above, num_states))
    others = {
        v: {name: np.repeat(grouped(own), num_above, axis=1) for name, own in e.items()}
        for v, e in others.items()
    }

    def estimate_of(number: int, variable: int) -> Estimate:
        if number >= beside:
            return {k: own[number - beside] for k, own in others[variable].items()}
        if number not in component_of:
            return {"log_probs": np.tile(identity, [size_of_group, 1])}
        group, _ = component_of[number]
        return {"log_probs": tables[variable][group].reshape([width, num_states])}

    assign_leaves(circuit, estimate_of)
    return circuit


def _from_the_root(
    parents: npt.NDArray[np.int64], variables: list[int]
) -> tuple[list[int], list[list[int]]]:
    """Variables of a tree, breadth first, and the children of each."""
    children: list[list[int]] = [[] for _ in parents]
    for variable, parent in enumerate(parents.tolist()):
        if parent >= 0:
            children[parent].append(variable)
    order = [next(v for v in variables if parents[v] < 0)]
    for variable in order:  # grows while it is walked
        order += children[variable]
    return order, children


def _block_diagonal(blocks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``[G S, G S']`` of ``[G, S, S']``, -inf elsewhere."""
    size, rows, columns = blocks.shape
    found = np.full([size, rows, size, columns], -np.inf)
    own = np.arange(size)
    found[own, :, own, :] = blocks
    return found.reshape([size * rows, size * columns])
