"""Cutset networks: decision trees over variables with Chow-Liu trees below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfp_spn._arguments import a_count, a_rate, a_seed, reads
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.region_graphs.mutual_information import discrete_information
from tfp_spn.structure.chow_liu_nodes import BinnedColumns, chow_liu_nodes
from tfp_spn.structure.circuit_builder import CircuitBuilder
from tfp_spn.structure.columns import Kind, Table, read_columns
from tfp_spn.structure.dirichlet_score import dirichlet_score, tree_score


@reads(
    alpha=a_rate(above=0),
    num_candidates=a_count(),
    min_rows=a_count(),
    max_depth=a_count(least=0),
    seed=a_seed(),
)
def cutset_network(
    x: Table,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    kinds: Sequence[Kind] | None = None,
    alpha: float = 0.1,
    num_candidates: int = 8,
    min_rows: int = 50,
    max_depth: int = 20,
    seed: int = 0,
) -> RegionGraphCircuit:
    """Learns a cutset network whose splits raise a Bayesian-Dirichlet score.

        p(x) = p(x[v]) p(x without v | x[v]), and so on; Chow-Liu trees at the ends

    A part of the rows is split by the states of a variable if the marginal likelihood
    of the variable and of one Chow-Liu tree for each state is higher than that of a
    single tree: so the score says where to stop. Reals and counts are cut at quantiles
    into at most eight intervals, within which they have a distribution of their own.

    Args:
        x: ``[N, V]``: binary, categorical (integers from 0 to 31), counts or reals.
            NaN means missing; a row whose state is missing at a split goes with any. Or
            a table of `split_table`.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        alpha: Parameter of the Dirichlet priors, and pseudocount.
        num_candidates: How many variables are tried for a split: those with the most
            mutual information with all others.
        min_rows: Rows of a part that may be split.
        max_depth: Splits above a tree at most.
        seed: Of rows with missing states.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or `alpha` is not positive.

    Example:
        >>> import numpy as np, tfp_spn
        >>> rng = np.random.default_rng(0)
        >>> x = rng.integers(0, 2, [500, 4])
        >>> x[:, 3] = x[:, 0] ^ x[:, 1]  # which no tree can tell
        >>> circuit = tfp_spn.structure.cutset_network(x, num_candidates=4)
        >>> bool(np.mean(circuit(x)) > np.log(1 / 8) - 0.05)
        True

    References:
        [1]: Rahman, Kothalkar and Gogate. Cutset Networks. ECML PKDD, 2014.
        [2]: Yang et al. Bayesian Structure Scores for Probabilistic Circuits. AISTATS,
            2023.
    """
    columns = read_columns(x, observed, "cutset_network", kinds, sample_weight)
    learner = _Learner(
        BinnedColumns(columns),
        CircuitBuilder(columns),
        alpha,
        num_candidates,
        min_rows,
        np.random.default_rng(seed),
    )
    rows, scope = np.arange(len(columns.values)), np.arange(columns.num_variables)
    return learner.builder.build(learner.part(rows, scope, max_depth, None))


class _Learner:
    """Splits of parts of a table."""

    def __init__(
        self,
        binned: BinnedColumns,
        builder: CircuitBuilder,
        alpha: float,
        num_candidates: int,
        min_rows: int,
        rng: np.random.Generator,
    ) -> None:
        self.binned, self.builder = binned, builder
        self.weights = binned.columns.weights
        self.alpha, self.num_candidates = alpha, num_candidates
        self.min_rows, self.rng = min_rows, rng

    def part(
        self,
        rows: npt.NDArray[np.int64],
        scope: npt.NDArray[np.int64],
        depth: int,
        score: float | None,
    ) -> int:
        """Adds the node of a part; `score` is that of its tree, where it is known."""
        split = None
        enough = self.weights[rows].sum() >= self.min_rows
        if depth > 0 and enough and len(scope) > 1:
            split = self._best_split(rows, scope, score)
        if split is None:
            return chow_liu_nodes(
                self.builder, self.binned, rows, scope.tolist(), self.alpha
            )
        variable, parts, scores = split
        rest = scope[scope != variable]
        counts = np.array([self.weights[part].sum() for part in parts]) + self.alpha
        children = [
            self.builder.product(
                [
                    self.binned.state(self.builder, variable, code, rows),
                    self.part(part, rest, depth - 1, found),
                ]
            )
            for code, (part, found) in enumerate(zip(parts, scores, strict=True))
        ]
        return self.builder.mixture(np.log(counts / counts.sum()), children)

    def _best_split(
        self,
        rows: npt.NDArray[np.int64],
        scope: npt.NDArray[np.int64],
        score: float | None,
    ) -> tuple[int, list[npt.NDArray[np.int64]], list[float]] | None:
        codes, sizes = self.binned.codes[np.ix_(rows, scope)], self.binned.sizes[scope]
        weights = self.weights[rows]
        if score is None:
            score = tree_score(codes, sizes, self.alpha, weights)
        information = discrete_information(
            codes.astype(np.int32), sizes.tolist(), self.alpha, weights
        )
        order = np.argsort(-information.sum(0), kind="stable")
        best = None
        for place in order[: self.num_candidates].tolist():
            state = self._states(codes[:, place], int(sizes[place]))
            counts = np.bincount(state, weights, int(sizes[place]))
            if (counts > 0).sum() < 2:
                continue
            rest = np.delete(np.arange(len(scope)), place)
            own = [state == code for code in range(int(sizes[place]))]
            scores = [
                tree_score(codes[o][:, rest], sizes[rest], self.alpha, weights[o])
                for o in own
            ]
            total = dirichlet_score(counts, self.alpha) + sum(scores)
            if total > score:
                score = total
                parts = [rows[o] for o in own]
                best = int(scope[place]), parts, scores
        return best

    def _states(self, codes: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
        """Codes, drawn from those of other rows where missing."""
        missing = codes < 0
        if missing.any() and not missing.all():
            codes = codes.copy()
            codes[missing] = self.rng.choice(codes[~missing], missing.sum())
        return np.maximum(codes, 0)
