"""k-means of scikit-learn, which is optional."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

_MAX_ROWS = 10_000
"""That centres are learned from."""


def import_cluster(owner: str) -> Any:
    """`sklearn.cluster`.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn import cluster
    except ImportError as error:
        raise ImportError(
            f"{owner} clusters with scikit-learn, which cannot be imported "
            f'({error}). Install it with: pip install "tfp_spn[clustering]"'
        ) from error
    return cluster


def cluster_labels(
    points: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    num_clusters: int,
    rng: np.random.Generator,
    owner: str,
    **settings: int,
) -> npt.NDArray[np.int64]:
    """The cluster of each row, a number from 0.

    Args:
        points: ``[N, F]``.
        weights: How often each row counts, ``[N]``.
        num_clusters: At most so many: rows that are alike share one.
        rng: Of the rows that k-means learns from and begins with.
        owner: Who clusters, for messages.
        **settings: Further ones of `sklearn.cluster.KMeans`.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    cluster = import_cluster(owner)
    from sklearn.exceptions import ConvergenceWarning

    if not points.shape[1]:  # nothing is known
        return np.zeros(len(points), np.int64)
    chosen, weights = drawn_rows(weights, _MAX_ROWS, rng)
    k_means = cluster.KMeans(
        min(num_clusters, len(chosen)),
        random_state=int(rng.integers(2**31)),
        **settings,
    )
    # So small a job, threads would only wait for each other.
    with _thread_pools().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rows that are alike
        k_means.fit(points[chosen], sample_weight=weights)
        return np.asarray(k_means.predict(points), np.int64)


def points_of(
    values: np.ndarray,
    observed: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    is_category: bool,
) -> npt.NDArray[np.float32]:
    """What a variable adds to points that are clustered, ``[N, F]``.

    Two categories are a squared distance of 2 apart, as numbers are on average, which
    are in standard deviations; missing values are at the mean.

    Args:
        values: ``[N, D]``, or ``[N, 1]`` of categories.
        observed: ``[N]``: which values count.
        weights: How often each row counts, ``[N]``.
        is_category: Whether all values are equally far from each other.
    """
    own, seen = values.astype(np.float64), observed[:, np.newaxis]
    if is_category:
        own = (own == np.unique(own[observed])).astype(np.float64)
        own = own[:, 1:] * np.sqrt(2) if own.shape[1] == 2 else own
    counted = weights * observed
    total = max(counted.sum(), np.finfo(np.float64).tiny)
    own = np.where(seen, own - own[observed.argmax()], 0.0)  # 0 of a constant
    own = (own - counted @ own / total) * seen
    if not is_category:
        scale = np.sqrt(counted @ np.square(own) / total)
        own = own / np.where(scale > 0, scale, 1.0)
    return own.astype(np.float32)


def drawn_rows(
    weights: npt.NDArray[np.float64], most: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """All rows, or some of too many, and their weights.

    Rows that all weigh the same are drawn without replacement, others in proportion to
    their weights, and then count as often as they were drawn.
    """
    if len(weights) <= most:
        return np.arange(len(weights)), weights
    if np.all(weights == weights[0]):
        rows = np.sort(rng.choice(len(weights), most, replace=False))
        return rows, weights[rows]
    drawn = rng.choice(len(weights), most, p=weights / weights.sum())
    rows, count = np.unique(drawn, return_counts=True)
    return rows, count * (weights.sum() / most)


@functools.cache
def _thread_pools() -> Any:
    """Those of the libraries that scikit-learn calls; looking for them takes time."""
    from threadpoolctl import ThreadpoolController  # which scikit-learn requires

    return ThreadpoolController()
