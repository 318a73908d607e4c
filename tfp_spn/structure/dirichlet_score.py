"""Bayesian-Dirichlet scores: marginal likelihoods of counts, trees and splits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfp_spn.region_graphs.chow_liu_tree import tree_of_codes


def dirichlet_score(counts: npt.ArrayLike, alpha: float) -> float:
    """Log marginal likelihood of counts ``[..., S]`` under Dirichlet priors.

        sum log B(counts + alpha) - log B(alpha)

    Args:
        counts: How often each of ``S`` states occurred, in each of several contexts.
        alpha: Parameter of each state.
    """
    from scipy.special import gammaln

    counts = np.asarray(counts, np.float64)
    size = counts.shape[-1]
    of_states = gammaln(counts + alpha) - gammaln(alpha)
    of_totals = gammaln(size * alpha) - gammaln(counts.sum(-1) + size * alpha)
    return float(of_states.sum() + of_totals.sum())


def pair_counts(
    codes: npt.NDArray[np.int64],
    above: npt.NDArray[np.int64],
    size: int,
    num_above: int,
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """How often each state occurs with each of another column, ``[above, states]``."""
    seen = (codes >= 0) & (above >= 0)
    pair = above[seen] * size + codes[seen]
    flat = np.bincount(pair, weights[seen], minlength=num_above * size)
    return flat.reshape(num_above, size).astype(np.float64)


def tree_score(
    codes: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    alpha: float,
    weights: npt.NDArray[np.float64],
) -> float:
    """Log marginal likelihood of the Chow-Liu tree of columns ``[N, V]``.

    Args:
        codes: Categories from 0 on, -1 where missing.
        sizes: The number of categories of each column.
        alpha: Of each state of a column, for each state of its parent.
        weights: ``[N]``: how often each row counts.
    """
    parents = tree_of_codes(codes.astype(np.int32), sizes.tolist(), alpha, weights)
    total = 0.0
    for v, parent in enumerate(parents.tolist()):
        above, num_above = np.zeros(len(codes), np.int64), 1
        if parent >= 0:
            above, num_above = codes[:, parent], int(sizes[parent])
        counts = pair_counts(codes[:, v], above, int(sizes[v]), num_above, weights)
        total += dirichlet_score(counts, alpha)
    return total
