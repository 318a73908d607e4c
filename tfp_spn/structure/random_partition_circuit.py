"""Random partitions of rows with Chow-Liu trees, and unions of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import a_count, a_rate, a_seed, reads
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.structure.chow_liu_nodes import BinnedColumns, chow_liu_nodes
from tfp_spn.structure.circuit_builder import CircuitBuilder
from tfp_spn.structure.columns import Kind, Table, read_columns


@reads(
    num_members=a_count(),
    num_literals=a_count(),
    max_children=a_count(),
    min_rows=a_count(),
    max_partitions=a_count(),
    alpha=a_rate(least=0),
    seed=a_seed(),
)
def random_partition_circuit(
    x: Table,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    kinds: Sequence[Kind] | None = None,
    num_members: int = 1,
    num_literals: int = 3,
    max_children: int = 8,
    min_rows: int = 256,
    max_partitions: int = 200,
    alpha: float = 0.01,
    seed: int = 0,
) -> RegionGraphCircuit:
    """Partitions rows at random and puts a Chow-Liu tree on each part (XPC).

    Rows are split by which states some randomly chosen variables take together: the
    most frequent combinations become terms of a sum, each a product of these states and
    of a circuit for the other variables; all other rows make one more term. Seconds of
    learning make weak models, of which `num_members` are mixed in one circuit; EM over
    that union makes a strong one. Reals and counts are cut at quantiles into at most
    eight intervals, within which they have a distribution of their own.

    Args:
        x: ``[N, V]``: binary, categorical (integers from 0 to 31), counts or reals.
            NaN means missing. Or a table of `split_table`.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        num_members: Independent partitions, mixed with equal weights.
        num_literals: Variables that rows are split by.
        max_children: Terms of a sum at most.
        min_rows: Rows of a combination at least.
        max_partitions: Trees of a member, about.
        alpha: Pseudocount of the trees.
        seed: Of the choice of variables.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, an argument is out of range, or the circuit
            would be too large.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.random.default_rng(0).integers(0, 2, [500, 6])
        >>> circuit = tfp_spn.structure.random_partition_circuit(
        ...     x, num_members=2, min_rows=50)
        >>> circuit(x).shape
        TensorShape([500, 1])

    References:
        [1]: Di Mauro, Gala, Iannotta and Basile. Random Probabilistic Circuits. UAI,
            2021.
    """
    columns = read_columns(
        x, observed, "random_partition_circuit", kinds, sample_weight
    )
    builder = CircuitBuilder(columns)
    learner = _Learner(
        BinnedColumns(columns),
        builder,
        num_literals,
        max_children,
        min_rows,
        max_partitions,
        alpha,
        np.random.default_rng(seed),
    )
    members = [learner.member() for _ in range(num_members)]
    weights = np.full([num_members], -np.log(num_members))
    return builder.build(builder.mixture(weights, members))


class _Learner:
    """Splits of parts of a table."""

    def __init__(
        self,
        binned: BinnedColumns,
        builder: CircuitBuilder,
        num_literals: int,
        max_children: int,
        min_rows: int,
        max_partitions: int,
        alpha: float,
        rng: np.random.Generator,
    ) -> None:
        self.binned, self.builder = binned, builder
        self.weights = binned.columns.weights
        self.num_literals, self.max_children = num_literals, max_children
        self.min_rows, self.max_partitions = min_rows, max_partitions
        self.alpha, self.rng = alpha, rng
        self.num_partitions = 0

    def member(self) -> int:
        """Adds the node of one partition of all rows."""
        self.num_partitions = 1
        rows, scope = (
            np.arange(len(self.binned.codes)),
            np.arange(self.binned.codes.shape[1]),
        )
        return self._part(rows, scope)

    def _part(self, rows: npt.NDArray[np.int64], scope: npt.NDArray[np.int64]) -> int:
        combinations: list[tuple[tuple[int, ...], npt.NDArray[np.int64]]] = []
        chosen = np.zeros([0], np.int64)
        if (
            len(scope) > self.num_literals
            and self.weights[rows].sum() >= 2 * self.min_rows
            and self.num_partitions < self.max_partitions
        ):
            chosen = self.rng.choice(scope, self.num_literals, replace=False)
            combinations = self._combinations(rows, chosen)
        if not combinations:
            return chow_liu_nodes(
                self.builder, self.binned, rows, scope.tolist(), self.alpha
            )
        others = np.setdiff1d(rows, np.concatenate([own for _, own in combinations]))
        self.num_partitions += len(combinations) - (len(others) == 0)
        rest = np.setdiff1d(scope, chosen)
        children: list[int] = []
        for states, own in combinations:
            factors = [
                self.binned.state(self.builder, int(v), state, rows)
                for v, state in zip(chosen, states, strict=True)
            ]
            children.append(self.builder.product([*factors, self._part(own, rest)]))
        # Always a term for what no combination covers: all values stay possible.
        if len(others):
            children.append(self._part(others, scope))
        else:
            children.append(
                chow_liu_nodes(
                    self.builder, self.binned, rows, scope.tolist(), self.alpha
                )
            )
        counts = [self.weights[own].sum() for _, own in combinations]
        counts.append(max(self.weights[others].sum(), self.alpha, 1e-6))
        weights = np.array(counts)
        return self.builder.mixture(np.log(weights / weights.sum()), children)

    def _combinations(
        self, rows: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]
    ) -> list[tuple[tuple[int, ...], npt.NDArray[np.int64]]]:
        """The most frequent states that occur together, and the rows of each."""
        codes = self.binned.codes[np.ix_(rows, chosen)]
        known = (codes >= 0).all(1)
        found, number = np.unique(codes[known], axis=0, return_inverse=True)
        number = number.reshape(-1)
        counts = np.bincount(number, self.weights[rows[known]])
        order = np.argsort(-counts, kind="stable")[: self.max_children - 1]
        return [
            (tuple(found[i].tolist()), rows[known][number == i])
            for i in order.tolist()
            if counts[i] >= self.min_rows
        ]
