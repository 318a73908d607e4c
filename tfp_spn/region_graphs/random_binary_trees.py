"""Random binary trees: the structure of RAT-SPNs."""

from __future__ import annotations

import numpy as np

from tfp_spn._arguments import a_count, a_seed, reads
from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(
    num_variables=a_count(), depth=a_count(), num_repetitions=a_count(), seed=a_seed()
)
def random_binary_trees(
    num_variables: int, depth: int, num_repetitions: int, seed: int = 0
) -> RegionGraph:
    """Splits the variables at random into halves, several times over.

    Each repetition is a random balanced binary tree over all variables: a region is
    split into two halves whose sizes differ by at most one, `depth` times in a row. The
    root, region 0, has one partition per repetition and is all that repetitions share:
    regions of different repetitions are different even where their scopes agree. The
    root of the circuit is then a mixture over the repetitions.

    Args:
      num_variables: The number of variables.
      depth: The number of splits from the root to the leaves.
      num_repetitions: The number of trees.
      seed: The seed of `numpy.random.default_rng`. Equal seeds give equal graphs.

    Returns:
      A `RegionGraph` whose regions are listed tree by tree, parents before children.

    Raises:
      ValueError: If a count is below one or `2**depth` exceeds `num_variables`,
        or the graph is too large for memory.

    Example:
      >>> random_binary_trees(64, depth=4, num_repetitions=8)
      RegionGraph(num_variables=64, num_regions=241, num_partitions=120, depth=4)

    References:
      [1]: Peharz et al. Random Sum-Product Networks: A Simple and Effective Approach to
        Probabilistic Deep Learning. UAI, 2019. https://proceedings.mlr.press/v115/peharz20a
    """
    largest = num_variables.bit_length() - 1
    if depth > largest:
        raise ValueError(
            f"A tree of depth {depth} needs at least 2**depth variables. Received "
            f"num_variables={num_variables}, depth={depth}; the largest depth possible "
            f"is {largest}. Pass a smaller depth."
        )
    check_total(
        num_variables * (1 + depth * num_repetitions),
        f"num_variables={num_variables} of depth={depth} and "
        f"num_repetitions={num_repetitions} is too large",
        "Pass fewer of them.",
    )
    rng = np.random.default_rng(seed)
    scopes: list[list[int]] = [list(range(num_variables))]
    partitions: list[tuple[int, tuple[int, int]]] = []
    for _ in range(num_repetitions):
        level = [0]
        for _ in range(depth):
            level = [
                child
                for region in level
                for child in _split(region, scopes, partitions, rng)
            ]
    return RegionGraph(scopes, partitions)


def _split(
    region: int,
    scopes: list[list[int]],
    partitions: list[tuple[int, tuple[int, int]]],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Adds two random halves of a region and returns their ids."""
    scope = scopes[region]
    shuffled = rng.permutation(scope).tolist()
    middle = len(scope) // 2
    children = (len(scopes), len(scopes) + 1)
    scopes += [shuffled[:middle], shuffled[middle:]]
    partitions.append((region, children))
    return children
