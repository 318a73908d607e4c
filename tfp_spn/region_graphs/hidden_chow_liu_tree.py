"""Hidden Chow-Liu trees: a region graph learnt from pairwise dependence."""

from __future__ import annotations

from typing import Any

from tfp_spn.region_graphs.chow_liu_tree import chow_liu_tree
from tfp_spn.region_graphs.mutual_information import DataType
from tfp_spn.region_graphs.region_graph import RegionGraph


def hidden_chow_liu_tree(
    data: object,
    *,
    data_type: DataType = "auto",
    observed: Any | None = None,
    alpha: float = 0.01,
    num_bins: int | None = None,
) -> RegionGraph:
    """Turns the Chow-Liu tree of the data into a region graph.

    Each variable v of the Chow-Liu tree gets a hidden variable z[v], and the hidden
    variables form the tree that the variables did:

        p(x) = sum_z prod_v p(x[v] | z[v]) p(z[v] | z[parent(v)])

    The region of the subtree below v has one partition, into the leaf region of v and
    the regions of the subtrees of its children; a variable without children is a leaf
    region. The tree is rooted at its centre, which keeps the circuit shallow.

    Args:
      data: Array of shape [num_examples, num_variables].
      data_type: See `mutual_information`, as for all further arguments.
      observed: Boolean array of the shape of `data`; False means missing.
      alpha: The pseudocount of each pair of values.
      num_bins: If given, values are first grouped into at most so many intervals.

    Returns:
      A `RegionGraph` whose region 0 is the root.

    Raises:
      TypeError: If the data are not numbers.
      ValueError: If the data or arguments are not valid; see `mutual_information`.

    Example:
      >>> import numpy as np
      >>> steps = np.random.default_rng(0).normal(size=(500, 4))
      >>> graph = hidden_chow_liu_tree(np.cumsum(steps, axis=1))
      >>> [graph.scopes[region] for region in graph.partitions[0][0]]
      [(1,), (0,), (2, 3)]

    References:
      [1]: Liu and Van den Broeck. Tractable Regularization of Probabilistic Circuits.
        NeurIPS, 2021. https://arxiv.org/abs/2106.02264
      [2]: Chow and Liu. Approximating Discrete Probability Distributions with
        Dependence Trees. IEEE Transactions on Information Theory, 1968.
    """
    parents = chow_liu_tree(
        data, data_type=data_type, observed=observed, alpha=alpha, num_bins=num_bins
    )
    return _from_parents(parents.tolist())


def _from_parents(parents: list[int]) -> RegionGraph:
    """Makes the region graph of a tree of variables; the root has the parent -1."""
    children: list[list[int]] = [[] for _ in parents]
    for variable, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(variable)
    order = [parents.index(-1)]
    for variable in order:  # grows while it is walked: breadth first
        order += children[variable]
    region_of = {variable: region for region, variable in enumerate(order)}
    scopes = [[variable] for variable in order]
    for variable in reversed(order[1:]):
        scopes[region_of[parents[variable]]] += scopes[region_of[variable]]
    partitions = []
    for variable in order:
        if children[variable]:
            below = [region_of[child] for child in children[variable]]
            partitions.append((region_of[variable], [len(scopes), *below]))
            scopes.append([variable])
    return RegionGraph(scopes, partitions)
