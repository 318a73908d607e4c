"""Chow-Liu trees of observed variables, one or a mixture of several, as circuits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import a_count, a_rate, a_seed, reads
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.structure.chow_liu_nodes import BinnedColumns, chow_liu_nodes
from tfp_spn.structure.circuit_builder import CircuitBuilder
from tfp_spn.structure.columns import Kind, Table, read_columns
from tfp_spn.structure.row_clusters import RowClusters


@reads(num_trees=a_count(), alpha=a_rate(least=0), seed=a_seed())
def chow_liu_trees(
    x: Table,
    num_trees: int = 1,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    kinds: Sequence[Kind] | None = None,
    alpha: float = 0.01,
    seed: int = 0,
) -> RegionGraphCircuit:
    """Learns a Chow-Liu tree, or a mixture of several.

        p(x) = sum_k w[k] prod_v p_k(x[v] | x[parent_k(v)])

    One tree is the most likely of all trees, with `alpha` added to each pair of states.
    Of several, each is that of a cluster of rows (k-means), with a shape of its own;
    EM then makes them fit together: ``tfp_spn.learning.fit(circuit, x)``. With
    ``pseudocount=0`` they stay trees of observed variables (impossible states become as
    likely as 1e-12); otherwise states of their inner variables become a little
    uncertain, as in a hidden Chow-Liu tree.

    Trees are circuits, and no leaf layer: what makes a leaf region answer any query is
    that its variables are independent given a component, and those of a tree are not.
    As a circuit (a sum over the states of each inner variable, of which one is possible
    at a time) a tree answers them all by the means that are there. `cutset_network`,
    `random_partition_circuit` and ``learn_spn(leaf="chow_liu")`` end in such trees.

    Reals and counts are cut at quantiles into at most eight intervals, within which
    they have a distribution of their own.

    Args:
        x: ``[N, V]``: binary, categorical (integers from 0 to 31), counts or reals.
            NaN means missing. Or a table of `split_table`.
        num_trees: Components of the mixture; fewer if there are fewer clusters.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        alpha: Pseudocount of each pair of states.
        seed: Of the clusters.

    Raises:
        ImportError: `num_trees` is above one and scikit-learn is not installed.
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or an argument is out of range.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.random.default_rng(0).integers(0, 2, [500, 4])
        >>> x[:, 1] = x[:, 0]
        >>> spn = tfp_spn.distributions.SumProductNetwork(
        ...     tfp_spn.structure.chow_liu_trees(x))
        >>> bool(spn.prob([1, 1, 0, 0]) > 100 * spn.prob([0, 1, 0, 0]))
        True

    References:
        [1]: Chow and Liu. Approximating Discrete Probability Distributions with
            Dependence Trees. IEEE Transactions on Information Theory, 1968.
        [2]: Meila and Jordan. Learning with Mixtures of Trees. JMLR, 2000.
    """
    columns = read_columns(x, observed, "chow_liu_trees", kinds, sample_weight)
    builder, binned = CircuitBuilder(columns), BinnedColumns(columns)
    rows, scope = np.arange(len(columns.values)), np.arange(columns.num_variables)
    parts, log_weights = [rows], np.zeros([1])
    if num_trees > 1:  # k-means is scikit-learn's
        clusters = RowClusters(columns, "chow_liu_trees")
        rng = np.random.default_rng(seed)
        parts, log_weights = clusters.parts(rows, scope, num_trees, rng)
    trees = [
        chow_liu_nodes(builder, binned, part, scope.tolist(), alpha) for part in parts
    ]
    return builder.build(builder.mixture(log_weights, trees))
