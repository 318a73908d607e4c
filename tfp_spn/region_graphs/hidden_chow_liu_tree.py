"""Hidden Chow-Liu trees: a region graph learnt from pairwise dependence."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy.typing as npt

from tfp_spn._arguments import a_flag, reads
from tfp_spn.region_graphs.chow_liu_tree import chow_liu_tree
from tfp_spn.region_graphs.from_nested_lists import from_nested_lists
from tfp_spn.region_graphs.mutual_information import DataType
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(balanced=a_flag())
def hidden_chow_liu_tree(
    data: npt.ArrayLike,
    *,
    data_type: DataType = "auto",
    observed: npt.ArrayLike | None = None,
    alpha: float = 0.01,
    num_bins: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
    balanced: bool = False,
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
      sample_weight: How often each example counts, [num_examples]; once by default.
      balanced: Whether to give each long path of the tree a balanced tree of hidden
        variables, one for each stretch of the path, in place of the path itself: the
        depth grows with the logarithm of the number of variables rather than with the
        length of the path, and what is close in the tree stays close. It is another
        model: quicker where paths are long, and often a little worse.

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
        data,
        data_type=data_type,
        observed=observed,
        alpha=alpha,
        num_bins=num_bins,
        sample_weight=sample_weight,
    )
    if balanced and len(parents) > 1:
        return _balanced(parents.tolist())
    return from_parents(parents.tolist())


def from_parents(parents: list[int]) -> RegionGraph:
    """Makes the region graph of a tree of variables; the root has the parent -1."""
    children, order = _breadth_first(parents)
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


_Nested: TypeAlias = "int | list[_Nested]"
"""A variable, or lists of such parts, as `from_nested_lists` takes them."""


def _balanced(parents: list[int]) -> RegionGraph:
    """Paths to the largest subtree, each cut into halves of about equal size.

    A variable of a path stands for itself and the subtrees beside the path, which are
    at most half as large: hence the logarithm.
    """
    children, order = _breadth_first(parents)
    size = [1] * len(parents)
    for variable in reversed(order[1:]):
        size[parents[variable]] += size[variable]

    def nested(top: int) -> _Nested:
        items, weights = [], []
        while True:
            heavy = max(children[top], key=lambda child: size[child], default=-1)
            beside = [nested(child) for child in children[top] if child != heavy]
            items.append([top, *beside] if beside else top)
            weights.append(size[top] - (size[heavy] if heavy >= 0 else 0))
            if heavy < 0:
                return halved(items, weights)
            top = heavy

    def halved(items: list[_Nested], weights: list[int]) -> _Nested:
        if len(items) == 1:
            return items[0]
        before = list(itertools.accumulate(weights))
        cuts = range(1, len(items))
        cut = min(cuts, key=lambda number: abs(2 * before[number - 1] - before[-1]))
        halves = (items[:cut], weights[:cut]), (items[cut:], weights[cut:])
        return [halved(*half) for half in halves]

    return from_nested_lists(nested(order[0]))


def _breadth_first(parents: list[int]) -> tuple[list[list[int]], list[int]]:
    """The children of each variable, and all variables, parents first."""
    children: list[list[int]] = [[] for _ in parents]
    for variable, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(variable)
    order = [parents.index(-1)]
    for variable in order:  # grows while it is walked
        order += children[variable]
    return children, order
