"""Mixtures of hidden Chow-Liu trees: several good trees under one root."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import a_count, a_rate, a_seed, reads
from tfp_spn.region_graphs.chow_liu_tree import maximum_spanning_tree, rooted_at_centre
from tfp_spn.region_graphs.hidden_chow_liu_tree import from_parents
from tfp_spn.region_graphs.mutual_information import DataType, mutual_information
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(
    num_trees=a_count(),
    num_candidates=a_count(),
    perturbation=a_rate(least=0, below=1),
    seed=a_seed(),
)
def mixture_of_hidden_chow_liu_trees(
    data: npt.ArrayLike,
    num_trees: int = 4,
    num_candidates: int = 20,
    perturbation: float = 0.4,
    *,
    data_type: DataType = "auto",
    observed: npt.ArrayLike | None = None,
    alpha: float = 0.01,
    num_bins: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
    seed: int = 0,
) -> RegionGraph:
    """Turns the best of several perturbed Chow-Liu trees into one region graph.

    Candidates are maximum spanning trees of the pairwise mutual information from which
    pairs are left out at random; the first candidate leaves out none. Those with the
    largest information are kept, each as a hidden Chow-Liu tree (see
    `hidden_chow_liu_tree`), and become the partitions of the root. Each has
    regions of its own.

    Args:
      data: Array of shape [num_examples, num_variables].
      num_trees: How many trees are kept; fewer if there are no more different ones.
      num_candidates: How many trees are made.
      perturbation: The probability that a pair is left out of a candidate, from 0 to
        below 1.
      data_type: See `mutual_information`, as for `alpha` and `num_bins`.
      observed: Boolean array of the shape of `data`; False means missing.
      alpha: The pseudocount of each pair of values.
      num_bins: If given, values are first grouped into at most so many intervals.
      sample_weight: How often each example counts, [num_examples]; once by default.
      seed: Of the pairs that are left out.

    Returns:
      A `RegionGraph` whose region 0 is the root.

    Raises:
      TypeError: If the data are not numbers.
      ValueError: If the data or arguments are not valid; see `mutual_information`.

    Example:
      >>> steps = np.random.default_rng(0).normal(size=(500, 5))
      >>> graph = mixture_of_hidden_chow_liu_trees(np.cumsum(steps, axis=1), 3)
      >>> len(graph.partitions[0])
      3

    References:
      [1]: Liu and Van den Broeck. Tractable Regularization of Probabilistic Circuits.
        NeurIPS, 2021. https://arxiv.org/abs/2106.02264
    """
    weights = mutual_information(
        data,
        data_type=data_type,
        observed=observed,
        alpha=alpha,
        num_bins=num_bins,
        sample_weight=sample_weight,
    )
    trees = _candidates(weights, num_candidates, perturbation, seed)
    ranked = sorted(trees, key=lambda tree: -trees[tree])[:num_trees]
    graphs = [from_parents(list(tree)) for tree in ranked]
    return _under_one_root(graphs)


def _candidates(
    weights: npt.NDArray[np.float64], number: int, perturbation: float, seed: int
) -> dict[tuple[int, ...], float]:
    """Different trees, each by its parents, and the information of their pairs."""
    rng = np.random.default_rng(seed)
    trees: dict[tuple[int, ...], float] = {}
    # What is left out loses to all else, but keeps a tree connected.
    far_below = -1.0 - weights.max()
    for candidate in range(number):
        left_out = np.triu(rng.random(weights.shape) < perturbation, 1)
        left_out = (left_out | left_out.T) & (candidate > 0)
        perturbed = np.where(left_out, weights + far_below, weights)
        parents = rooted_at_centre(maximum_spanning_tree(perturbed))
        children = np.flatnonzero(parents >= 0)
        total = float(weights[children, parents[children]].sum())
        trees.setdefault(tuple(parents.tolist()), total)
    return trees


def _under_one_root(graphs: list[RegionGraph]) -> RegionGraph:
    """The partitions of all roots in one."""
    scopes: list[tuple[int, ...]] = [graphs[0].scopes[0]]
    partitions = []
    for graph in graphs:
        offset = len(scopes) - 1  # region 0 of all is one
        scopes += graph.scopes[1:]
        for region, entries in enumerate(graph.partitions):
            for children in entries:
                parent = region + offset if region else 0
                partitions.append((parent, [child + offset for child in children]))
    return RegionGraph(scopes, partitions)
