"""One registry of region graphs that the tests of this folder share."""

import numpy as np

from tfp_spn import region_graphs

_RNG = np.random.default_rng(0)
_WALKS = np.cumsum(_RNG.normal(size=(200, 7)), axis=1)

EXAMPLES = {
    "single_region": region_graphs.RegionGraph([(0, 1, 2)], []),
    "two_roots": region_graphs.RegionGraph(
        [(0, 1), (0, 1), (0,), (1,)], [(0, (2, 3)), (1, (3, 2))], roots=(1, 0)
    ),
    "random_binary_trees": region_graphs.random_binary_trees(
        11, depth=3, num_repetitions=4, seed=1
    ),
    "quad_tree_2": region_graphs.quad_tree((5, 3)),
    "quad_tree_4": region_graphs.quad_tree((5, 3), num_splits=4),
    "random_quad_tree": region_graphs.random_quad_tree((5, 3), seed=1),
    "random_quad_trees_4": region_graphs.random_quad_tree((5, 6), 4, 3, seed=2),
    "quad_graph": region_graphs.quad_graph((6, 7)),
    "poon_domingos": region_graphs.poon_domingos((4, 5), delta=[3, 1]),
    "poon_domingos_shallow": region_graphs.poon_domingos((4, 5), 1, max_depth=2),
    "linear_tree": region_graphs.linear_tree(6),
    "linear_tree_random": region_graphs.linear_tree(
        6, num_repetitions=3, randomize=True, seed=2
    ),
    "fully_factorized": region_graphs.fully_factorized(5),
    "fully_factorized_1": region_graphs.fully_factorized(1),
    "hidden_chow_liu_tree": region_graphs.hidden_chow_liu_tree(_WALKS),
    "hidden_chow_liu_tree_bins": region_graphs.hidden_chow_liu_tree(_WALKS, num_bins=4),
    "mixture_of_hidden_chow_liu_trees": (
        region_graphs.mixture_of_hidden_chow_liu_trees(_WALKS, 3)
    ),
    "from_nested_lists": region_graphs.from_nested_lists(
        {"partitions": [[0, (1, 2), [3, 4]], [[0, 3], (1, 2, 4)]]}
    ),
}
