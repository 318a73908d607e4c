"""Chow-Liu trees over some of the rows and columns of a table, as nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfp_spn.region_graphs.chow_liu_tree import tree_of_codes
from tfp_spn.structure.circuit_builder import CircuitBuilder
from tfp_spn.structure.columns import Columns
from tfp_spn.structure.dirichlet_score import pair_counts
from tfp_spn.structure.leaf_estimates import Estimate, estimate


class BinnedColumns:
    """A table and its columns as categories; reals and counts are cut into intervals.

    Args:
        columns: The table.
        num_bins: Intervals of a column at most.
    """

    def __init__(self, columns: Columns, num_bins: int = 8) -> None:
        self.columns = columns
        self.codes, self.sizes = columns.codes(num_bins)

    def state(
        self,
        builder: CircuitBuilder,
        variable: int,
        code: int,
        rows: npt.NDArray[np.int64],
    ) -> int:
        """The node of a variable within a category or an interval of some rows."""
        if self.columns.kinds[variable] == "categorical":
            return builder.indicator(variable, code)
        own = rows[self.codes[rows, variable] == code]
        if not len(own):
            own = np.flatnonzero(self.codes[:, variable] == code)
        return builder.leaf(variable, estimate(self.columns, variable, own))


def chow_liu_nodes(
    builder: CircuitBuilder,
    binned: BinnedColumns,
    rows: npt.NDArray[np.int64],
    scope: Sequence[int],
    alpha: float,
) -> int:
    """Adds the Chow-Liu tree of some rows and columns to a circuit.

        p(x) = prod_v p(x[v] | x[parent(v)])

    In place of a real or a count, its interval is the state that others depend on, and
    the value has a distribution of its own in each: ``p(x[v] | interval)``.

    Args:
        builder: Of the circuit.
        binned: The table.
        rows: The rows.
        scope: The columns.
        alpha: Pseudocount of each pair of states.

    Returns:
        The number of the node.
    """
    variables = np.asarray(scope)
    codes = binned.codes[np.ix_(rows, variables)]
    sizes = binned.sizes[variables]
    weights = binned.columns.weights[rows]
    parents = tree_of_codes(codes.astype(np.int32), sizes.tolist(), alpha, weights)
    order = [int(np.flatnonzero(parents < 0)[0])]
    children: list[list[int]] = [[] for _ in parents]
    for child, parent in enumerate(parents.tolist()):
        if parent >= 0:
            children[parent].append(child)
    for place in order:  # grows while it is walked: breadth first
        order += children[place]
    below: dict[tuple[int, int], int] = {}
    for place in reversed(order):
        variable, size = int(variables[place]), int(sizes[place])
        parent = int(parents[place])
        above = codes[:, parent] if parent >= 0 else np.zeros(len(codes), np.int64)
        num_above = int(sizes[parent]) if parent >= 0 else 1
        counts = pair_counts(codes[:, place], above, size, num_above, weights)
        counts += max(alpha, 1e-6)
        log_table = np.log(counts / counts.sum(1, keepdims=True))
        if not children[place]:
            for state in range(num_above):
                own = _terminal(binned, variable, log_table[state], rows, above, state)
                below[place, state] = builder.leaf(variable, own)
            continue
        factors = [
            builder.product(
                [
                    binned.state(builder, variable, code, rows),
                    *(below[child, code] for child in children[place]),
                ]
            )
            for code in range(size)
        ]
        for state in range(num_above):
            below[place, state] = builder.mixture(log_table[state], factors)
    return below[order[0], 0]


def _terminal(
    binned: BinnedColumns,
    variable: int,
    log_probs: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    above: npt.NDArray[np.int64],
    state: int,
) -> Estimate:
    """A variable that no other depends on, given the state of its parent."""
    if binned.columns.kinds[variable] == "categorical":
        return {"log_probs": log_probs}
    own = rows[above == state]
    return estimate(binned.columns, variable, own if len(own) else rows, 1.0)
