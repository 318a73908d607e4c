"""Chow-Liu trees: the tree of variables that best explains pairwise dependence."""

from __future__ import annotations

from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import minimum_spanning_tree

from tfp_spn.region_graphs.mutual_information import DataType, mutual_information


def chow_liu_tree(
    data: object,
    *,
    data_type: DataType = "auto",
    observed: Any | None = None,
    alpha: float = 0.01,
    num_bins: int | None = None,
) -> npt.NDArray[np.int64]:
    """Returns the maximum spanning tree of the pairwise mutual information.

    Among all distributions that factorize over a tree,
    `p(x) = prod_v p(x[v] | x[parent(v)])`, this tree has the largest likelihood. It is
    rooted at its centre (the variable that is nearest to the farthest one). Ties are
    broken by the order of the variables.

    Args:
      data: Array of shape [num_examples, num_variables].
      data_type: See `mutual_information`, as for all further arguments.
      observed: Boolean array of the shape of `data`; False means missing.
      alpha: The pseudocount of each pair of values.
      num_bins: If given, values are first grouped into at most so many intervals.

    Returns:
      The parent of each variable, -1 for the root, as an integer array.

    Raises:
      TypeError: If the data are not numbers.
      ValueError: If the data or arguments are not valid; see `mutual_information`.

    Example:
      >>> steps = np.random.default_rng(0).normal(size=(500, 5))
      >>> chow_liu_tree(np.cumsum(steps, axis=1))
      array([ 1,  2, -1,  2,  3])

    References:
      [1]: Chow and Liu. Approximating Discrete Probability Distributions with
        Dependence Trees. IEEE Transactions on Information Theory, 1968.
    """
    weights = mutual_information(
        data, data_type=data_type, observed=observed, alpha=alpha, num_bins=num_bins
    )
    tree = _maximum_spanning_tree(weights)
    root = min(networkx.center(tree))
    parents = np.full(len(weights), -1, np.int64)
    for child, parent in networkx.bfs_predecessors(tree, root, sort_neighbors=sorted):
        parents[child] = parent
    return parents


def _maximum_spanning_tree(weights: npt.NDArray[np.float64]) -> Any:
    # A weight of zero is an edge too, but SciPy takes a zero cost for "no edge".
    costs = np.max(weights) + 1.0 - weights
    np.fill_diagonal(costs, 0.0)
    rows, columns = minimum_spanning_tree(costs).nonzero()
    tree = networkx.Graph()
    tree.add_nodes_from(range(len(weights)))
    tree.add_edges_from(zip(rows.tolist(), columns.tolist(), strict=True))
    return tree
