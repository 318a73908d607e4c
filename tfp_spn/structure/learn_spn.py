"""LearnSPN: columns are split where independent, rows are clustered where not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import a_count, a_rate, a_seed, one_of, reads
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.structure.chow_liu_nodes import BinnedColumns, chow_liu_nodes
from tfp_spn.structure.circuit_builder import CircuitBuilder
from tfp_spn.structure.columns import Columns, Kind, Table, read_columns
from tfp_spn.structure.independence import Test, dependent_groups
from tfp_spn.structure.leaf_estimates import estimate
from tfp_spn.structure.row_clusters import RowClusters


@reads(
    independence=one_of("auto", "g_test", "rdc"),
    p_value=a_rate(least=0, most=1),
    threshold=a_rate(least=0, most=1),
    num_clusters=a_count(),
    min_rows=a_count(),
    leaf=one_of("independent", "chow_liu"),
    pseudocount=a_rate(least=0),
    seed=a_seed(),
)
def learn_spn(
    x: Table,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    kinds: Sequence[Kind] | None = None,
    independence: Test = "auto",
    p_value: float = 0.001,
    threshold: float = 0.3,
    num_clusters: int = 2,
    min_rows: int = 100,
    leaf: Literal["independent", "chow_liu"] = "independent",
    pseudocount: float = 0.1,
    seed: int = 0,
) -> RegionGraphCircuit:
    """Learns structure and parameters of a circuit from the top down.

    Columns that tests find independent become the factors of a product; where there are
    none, rows are clustered (k-means) and become the terms of a sum, weighted by their
    numbers; and so on within each part. Parts of fewer than `min_rows` rows are leaves.
    The circuit can be learned on by EM.

    Args:
        x: ``[N, V]``: binary, categorical (integers from 0 to 31), counts or reals.
            NaN means missing. Or a table of `split_table`.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        independence: ``"g_test"`` of pairs of categories, ``"rdc"``: the randomised
            dependence coefficient, which takes any columns; ``"auto"``: the former of
            parts that are categorical, else the latter.
        p_value: Of the G-test: lower values find more columns independent.
        threshold: Of the coefficient, from 0 to 1: higher values find more columns
            independent.
        num_clusters: Terms of a sum at most.
        min_rows: Rows of a part that is split.
        leaf: What small parts are: ``"independent"`` columns, or a ``"chow_liu"`` tree.
        pseudocount: Of leaves: rows of the whole table's distribution; of trees: of
            each pair of states.
        seed: Of clusters and coefficients.

    Raises:
        ImportError: scikit-learn is not installed.
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or an argument is out of range.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.random.default_rng(0).integers(0, 2, [500, 4])
        >>> x[:, 1] = x[:, 0]
        >>> circuit = tfp_spn.structure.learn_spn(x)
        >>> sorted(circuit.region_graph.scopes[r]
        ...        for r in circuit.region_graph.partitions[0][0])
        [(0, 1), (2,), (3,)]

    References:
        [1]: Gens and Domingos. Learning the Structure of Sum-Product Networks. ICML,
            2013.
        [2]: Molina et al. Mixed Sum-Product Networks. AAAI, 2018.
        [3]: Lopez-Paz, Hennig and Schoelkopf. The Randomized Dependence Coefficient.
            NeurIPS, 2013.
    """
    columns = read_columns(x, observed, "learn_spn", kinds, sample_weight)
    _check(independence, columns)
    learner = _Learner(
        columns,
        independence,
        p_value,
        threshold,
        num_clusters,
        min_rows,
        leaf == "chow_liu",
        pseudocount,
        np.random.default_rng(seed),
    )
    return learner.learn()


class _Learner:
    """Parts of the table that wait to be split, and nodes of those that are done."""

    def __init__(
        self,
        columns: Columns,
        test: Test,
        p_value: float,
        threshold: float,
        num_clusters: int,
        min_rows: int,
        has_trees: bool,
        pseudocount: float,
        rng: np.random.Generator,
    ) -> None:
        self.columns, self.test = columns, test
        self.p_value, self.threshold = p_value, threshold
        self.num_clusters, self.min_rows = num_clusters, min_rows
        self.pseudocount, self.rng = pseudocount, rng
        self.builder = CircuitBuilder(columns)
        self.binned = BinnedColumns(columns) if has_trees else None
        self.clusters = RowClusters(columns, "learn_spn")

    def learn(self) -> RegionGraphCircuit:
        """The circuit of the whole table."""
        rows = np.arange(len(self.columns.values))
        scope = np.arange(self.columns.num_variables)
        return self.builder.build(self._part(rows, scope))

    def _part(self, rows: npt.NDArray[np.int64], scope: npt.NDArray[np.int64]) -> int:
        """Adds the node of a part; each clustering leaves fewer rows."""
        if len(scope) == 1:
            return self._leaf(int(scope[0]), rows)
        if self.columns.weights[rows].sum() < self.min_rows:
            return self._end(rows, scope)
        groups = dependent_groups(
            self.columns,
            rows,
            scope,
            self.test,
            self.p_value,
            self.threshold,
            self.rng,
        )
        return self.builder.product([self._clusters(rows, group) for group in groups])

    def _clusters(
        self, rows: npt.NDArray[np.int64], scope: npt.NDArray[np.int64]
    ) -> int:
        if len(scope) == 1:
            return self._leaf(int(scope[0]), rows)
        parts, log_weights = self.clusters.parts(
            rows, scope, self.num_clusters, self.rng
        )
        if len(parts) == 1:
            return self._end(rows, scope)
        children = [self._part(part, scope) for part in parts]
        return self.builder.mixture(log_weights, children)

    def _end(self, rows: npt.NDArray[np.int64], scope: npt.NDArray[np.int64]) -> int:
        if self.binned is None:
            return self.builder.product([self._leaf(int(v), rows) for v in scope])
        return chow_liu_nodes(
            self.builder, self.binned, rows, scope.tolist(), self.pseudocount
        )

    def _leaf(self, variable: int, rows: npt.NDArray[np.int64]) -> int:
        found = estimate(self.columns, variable, rows, self.pseudocount)
        return self.builder.leaf(variable, found)


def _check(independence: str, columns: Columns) -> None:
    if independence == "g_test" and not columns.is_categorical:
        raise ValueError(
            "learn_spn: independence='g_test' needs categorical columns, received "
            f"kinds {sorted(set(columns.kinds))}. Pass independence='rdc' or 'auto'."
        )
