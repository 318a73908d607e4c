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


def tree_mixture_circuit(
    columns: Columns,
    parents: npt.NDArray[np.int64],
    log_weights: npt.NDArray[np.float64],
    log_tables: Mapping[int, npt.NDArray[np.float64]],
    others: Mapping[int, Estimate],
) -> RegionGraphCircuit:
    """Builds the circuit of a mixture of trees over categorical variables.

        p(x) = sum_m w[m] prod_v p(x[v] | x[parent(v)], m) prod_u p(x[u] | m)

    A region stands for the subtree below a variable in one component, and has a sum for
    each state of the variable's parent. Leaves tell the states of inner variables
    apart, and those of variables without children are their conditional tables.
    Variables beside the tree are one more factor of each component.

    Args:
        columns: The table.
        parents: ``[V]``: the parent of each variable of the tree, -1 for the root.
        log_weights: ``[M]``, normalised.
        log_tables: By variable of the tree, at least two, ``[M, S', S]``: component,
            state of the parent, state; -inf where there is no such state. Of the root
            the first state of the parent counts.
        others: By variable ``u`` beside the tree, its parameters, ``[M]`` each.
    """
    num_components = len(log_weights)
    num_above, num_states = next(iter(log_tables.values())).shape[1:]
    children: list[list[int]] = [[] for _ in parents]
    for variable, parent in enumerate(parents.tolist()):
        if parent >= 0:
            children[parent].append(variable)
    order = [next(v for v in log_tables if parents[v] < 0)]
    for variable in order:  # grows while it is walked: breadth first
        order += children[variable]
    below: dict[int, tuple[int, ...]] = {}
    for variable in reversed(order):
        nested = [below[child] for child in children[variable]]
        below[variable] = tuple(sorted(sum(nested, (variable,))))
    size = len(others) + sum(len(scope) for scope in below.values())
    total = num_components * size
    check_total(total, "The mixture is too large", "Ask for fewer components.")

    root = order[0]
    scopes: list[tuple[int, ...]] = [tuple(sorted((*below[root], *others)))]
    inner = {v: len(scopes) + i for i, v in enumerate(v for v in order if children[v])}
    scopes += [(v,) for v in inner]
    region: dict[tuple[int, int], int] = {}
    for m in range(num_components):
        for variable in order[1:]:
            region[m, variable] = len(scopes)
            scopes.append(below[variable])
    beside = len(scopes)  # the first of one for each component
    if others:
        scopes += [tuple(sorted(others))] * num_components
    partitions = []
    for m in range(num_components):
        for variable in inner:
            parts = [inner[variable], *(region[m, c] for c in children[variable])]
            if others and variable == root:
                parts.append(beside + m)
            partitions.append((region.get((m, variable), 0), parts))
    circuit = from_region_graph(
        RegionGraph(scopes, partitions),
        leaf_layer(columns, num_above, is_deterministic=True),
        num_sums=num_above,
        leaf_sums=False,
    )
    # An inner variable has no more states than there are sums: a sum for each.
    of_root = log_weights[:, np.newaxis] + log_tables[root][:, 0, :num_above]
    weights = {0: of_root[..., np.newaxis]}  # [M, S', 1]
    component_of = {number: key for key, number in region.items()}
    for number, (m, variable) in component_of.items():
        if children[variable]:
            weights[number] = log_tables[variable][m, :, :num_above].T[np.newaxis]
    assign_log_weights(circuit, weights)
    with np.errstate(divide="ignore"):
        identity = np.log(np.eye(num_above, num_states))

    def estimate_of(number: int, variable: int) -> Estimate:
        if number >= beside:
            return {k: own[number - beside] for k, own in others[variable].items()}
        if number not in component_of:
            return {"log_probs": identity}
        m, _ = component_of[number]
        return {"log_probs": log_tables[variable][m]}

    assign_leaves(circuit, estimate_of)
    return circuit
