"""Chow-Liu trees: the tree of variables that best explains pairwise dependence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfp_spn.region_graphs.mutual_information import (
    DataType,
    discrete_information,
    mutual_information,
)

if TYPE_CHECKING:
    from scipy import sparse


def chow_liu_tree(
    data: npt.ArrayLike,
    *,
    data_type: DataType = "auto",
    observed: npt.ArrayLike | None = None,
    alpha: float = 0.01,
    num_bins: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
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
      sample_weight: How often each example counts, [num_examples]; once by default.

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
        data,
        data_type=data_type,
        observed=observed,
        alpha=alpha,
        num_bins=num_bins,
        sample_weight=sample_weight,
    )
    return rooted_at_centre(maximum_spanning_tree(weights))


def tree_of_codes(
    codes: npt.NDArray[np.int32],
    sizes: list[int],
    alpha: float,
    sample_weight: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.int64]:
    """The tree of columns that are categories from 0 on, -1 where missing."""
    weights = discrete_information(codes, sizes, alpha, sample_weight)
    return rooted_at_centre(maximum_spanning_tree(weights))


def rooted_at_centre(tree: sparse.csr_array) -> npt.NDArray[np.int64]:
    """Parents, given a sparse matrix that has an entry for each edge of a tree."""
    from scipy.sparse.csgraph import breadth_first_order

    def walk(start: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        order, parents = breadth_first_order(tree, start, directed=False)
        return order, parents

    # The middle of a longest path: from the variable that is farthest from any other.
    order, _ = walk(0)
    order, before = walk(order[-1])
    path = [int(order[-1])]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    middle = path[(len(path) - 1) // 2 : len(path) // 2 + 1]
    _, parents = walk(min(middle))
    return np.where(parents < 0, -1, parents).astype(np.int64)


def maximum_spanning_tree(weights: npt.NDArray[np.float64]) -> sparse.csr_array:
    """The tree as a sparse matrix that has an entry for each edge."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    # A weight of zero is an edge too, but SciPy takes a zero cost for "no edge".
    costs = np.max(weights) + 1.0 - weights
    np.fill_diagonal(costs, 0.0)
    return minimum_spanning_tree(costs)
