"""Chow-Liu trees: the tree of variables that best explains pairwise dependence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tfp_spn.region_graphs.mutual_information import DataType, mutual_information


def chow_liu_tree(
    data: Any,
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
    neighbours = _maximum_spanning_tree(weights)
    parents = np.full(len(weights), -1, np.int64)
    order = [_centre(neighbours)]
    for variable in order:  # grows while it is walked: breadth first
        for other in neighbours[variable]:
            if other != parents[variable]:
                parents[other] = variable
                order.append(other)
    return parents


def _maximum_spanning_tree(weights: npt.NDArray[np.float64]) -> list[list[int]]:
    """Prim's algorithm on a dense matrix, where a weight of zero is an edge too."""
    neighbours: list[list[int]] = [[] for _ in weights]
    best = weights[0].copy()  # the heaviest edge from the tree to each variable
    source = np.zeros(len(weights), np.int64)
    best[0] = -np.inf
    for _ in range(len(weights) - 1):
        new = int(np.argmax(best))
        neighbours[new].append(int(source[new]))
        neighbours[int(source[new])].append(new)
        inside = np.isneginf(best)
        better = ~inside & (weights[new] > best)
        best[better] = weights[new][better]
        source[better] = new
        best[new] = -np.inf
    return [sorted(entry) for entry in neighbours]


def _centre(neighbours: list[list[int]]) -> int:
    """The centre of a tree, by peeling its leaves; the smaller of two centres."""
    degree = [len(entry) for entry in neighbours]
    layer = [variable for variable, count in enumerate(degree) if count <= 1]
    left = len(neighbours)
    while left > 2:
        left -= len(layer)
        inner = []
        for variable in layer:
            degree[variable] = 0
            for other in neighbours[variable]:
                degree[other] -= 1
                if degree[other] == 1:
                    inner.append(other)
        layer = inner
    return min(layer)
