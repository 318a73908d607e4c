"""Linear trees: one variable is split off at a time."""

from __future__ import annotations

import numpy as np

from tfp_spn._arguments import a_count, a_flag, a_seed, reads
from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(
    num_variables=a_count(),
    num_repetitions=a_count(),
    randomize=a_flag(),
    seed=a_seed(),
)
def linear_tree(
    num_variables: int,
    num_repetitions: int = 1,
    *,
    randomize: bool = False,
    seed: int = 0,
) -> RegionGraph:
    """Splits off the first variable, then the next, down to the last: a chain.

    The circuit over one chain is a hidden Markov model over the variables in their
    order (a tensor train). Repetitions are several chains that share the root, region
    0; they differ only with `randomize`, which gives each its own random order.

    Args:
      num_variables: The number of variables.
      num_repetitions: The number of chains.
      randomize: Whether each chain takes the variables in a random order.
      seed: The seed of `numpy.random.default_rng`, used if `randomize`.

    Returns:
      A `RegionGraph` with partitions `(variable, rest)`. With one variable it is a
      single region.

    Raises:
      ValueError: If a count is below one, or the graph is too large for memory.

    Example:
      >>> linear_tree(4).scopes
      ((0, 1, 2, 3), (0,), (1, 2, 3), (1,), (2, 3), (2,), (3,))

    References:
      [1]: Loconte et al. What is the Relationship between Tensor Factorizations and
        Circuits (and How Can We Exploit it)? TMLR, 2025.
    """
    check_total(
        num_variables
        + num_repetitions * (num_variables - 1) * (num_variables + 2) // 2,
        f"num_variables={num_variables} of num_repetitions={num_repetitions} is too "
        "large",
        "Pass fewer of them: a chain of n variables has n**2 / 2. For sequences see "
        "tfp_spn.circuits.DynamicCircuit.",
    )
    rng = np.random.default_rng(seed)
    scopes: list[list[int]] = [list(range(num_variables))]
    partitions: list[tuple[int, tuple[int, int]]] = []
    for _ in range(num_repetitions):
        order = list(range(num_variables))
        if randomize:
            order = rng.permutation(num_variables).tolist()
        region = 0
        for position in range(num_variables - 1):
            split = (len(scopes), len(scopes) + 1)
            scopes += [[order[position]], order[position + 1 :]]
            partitions.append((region, split))
            region = split[1]
    return RegionGraph(scopes, partitions)
