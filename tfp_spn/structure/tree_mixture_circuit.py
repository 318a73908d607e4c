"""Mixtures of trees of observed variables, of one shape, as circuits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfp_spn.circuits import (
    RegionGraphCircuit,
    assign_log_weights,
    from_region_graph,
)
from tfp_spn.layers import CategoricalLeaf
from tfp_spn.region_graphs import RegionGraph
from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.structure.leaf_estimates import Estimate, assign_leaves


def tree_mixture_circuit(
    parents: npt.NDArray[np.int64],
    log_weights: npt.NDArray[np.float64],
    log_tables: npt.NDArray[np.float64],
) -> RegionGraphCircuit:
    """Builds the circuit of a mixture of trees over categorical variables.

        p(x) = sum_m w[m] prod_v p(x[v] | x[parent(v)], m)

    A region stands for the subtree below a variable in one component, and has a sum for
    each state of the variable's parent. Leaves tell the states of inner variables
    apart, and those of variables without children are their conditional tables.

    Args:
        parents: ``[V]``, at least two: the parent of each variable, -1 for the root.
        log_weights: ``[M]``, normalised.
        log_tables: ``[M, V, S, S]``: component, variable, state of the parent, state.
            Of the root the first state of the parent counts; others may be -inf
            throughout where the parent has fewer than ``S`` states.
    """
    num_components, num_variables, num_states = log_tables.shape[:3]
    children: list[list[int]] = [[] for _ in parents]
    for variable, parent in enumerate(parents.tolist()):
        if parent >= 0:
            children[parent].append(variable)
    order = [parents.tolist().index(-1)]
    for variable in order:  # grows while it is walked: breadth first
        order += children[variable]
    below: dict[int, tuple[int, ...]] = {}
    for variable in reversed(order):
        nested = [below[child] for child in children[variable]]
        below[variable] = tuple(sorted(sum(nested, (variable,))))
    total = num_components * sum(len(scope) for scope in below.values())
    check_total(total, "The mixture is too large", "Ask for fewer components.")

    root = order[0]
    scopes: list[tuple[int, ...]] = [below[root]]
    inner = {v: len(scopes) + i for i, v in enumerate(v for v in order if children[v])}
    scopes += [(v,) for v in inner]
    region: dict[tuple[int, int], int] = {}
    for m in range(num_components):
        for variable in order[1:]:
            region[m, variable] = len(scopes)
            scopes.append(below[variable])
    partitions = []
    for m in range(num_components):
        for variable in inner:
            parts = [inner[variable], *(region[m, c] for c in children[variable])]
            partitions.append((region.get((m, variable), 0), parts))
    circuit = from_region_graph(
        RegionGraph(scopes, partitions),
        CategoricalLeaf(num_states, num_states),
        num_sums=num_states,
        leaf_sums=False,
    )
    tables = np.where(np.isneginf(log_tables).all(-1, keepdims=True), 0.0, log_tables)
    weights = {0: log_weights[:, np.newaxis] + tables[:, root, 0]}
    weights[0] = weights[0][..., np.newaxis]  # [M, S, 1]
    component_of = {number: key for key, number in region.items()}
    for number, (m, variable) in component_of.items():
        if children[variable]:
            weights[number] = tables[m, variable].T[np.newaxis]
    assign_log_weights(circuit, weights)
    with np.errstate(divide="ignore"):
        identity = np.log(np.eye(num_states))

    def estimate_of(number: int, variable: int) -> Estimate:
        if number not in component_of:
            return {"log_probs": identity}
        m, _ = component_of[number]
        return {"log_probs": tables[m, variable]}

    assign_leaves(circuit, estimate_of)
    return circuit
