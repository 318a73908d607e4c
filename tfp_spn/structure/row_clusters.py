"""Clusters of the rows of a table, by k-means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfp_spn._clustering import cluster_labels
from tfp_spn.structure.columns import Columns


class RowClusters:
    """The rows of a table as points: categories as indicators, numbers standardised.

    Args:
        columns: The table.
        owner: Who clusters, for messages.

    Raises:
        ImportError: scikit-learn is not installed.
    """

    def __init__(self, columns: Columns, owner: str) -> None:
        self._columns, self._owner = columns, owner
        self._features = _features(columns)

    def parts(
        self,
        rows: npt.NDArray[np.int64],
        scope: npt.NDArray[np.int64],
        num_clusters: int,
        rng: np.random.Generator,
    ) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
        """Some rows, shared out to clusters by some of the columns.

        Args:
            rows: The rows.
            scope: The columns.
            num_clusters: At most so many.
            rng: Of the centres that k-means begins with.

        Returns:
            The rows of each cluster, and logarithms of the clusters' shares.
        """
        labels = self._labels(rows, scope, num_clusters, rng)
        parts = [rows[labels == label] for label in np.unique(labels)]
        weights = np.array([self._columns.weights[part].sum() for part in parts])
        return parts, np.log(weights / weights.sum())

    def _labels(
        self,
        rows: npt.NDArray[np.int64],
        scope: npt.NDArray[np.int64],
        num_clusters: int,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.int64]:
        """The cluster of each row."""
        points = np.concatenate([self._features[v][rows] for v in scope], axis=1)
        weights = self._columns.weights[rows]
        return cluster_labels(points, weights, num_clusters, rng, self._owner, n_init=3)


def _features(columns: Columns) -> list[npt.NDArray[np.float32]]:
    """Of each column; 0 where missing."""
    features = []
    for v, kind in enumerate(columns.kinds):
        own, seen = columns.values[:, v], columns.observed[:, v]
        if kind == "categorical":
            size = int(columns.num_categories[v])
            table = np.eye(size)[own.astype(int)]
            table = table[:, 1:] if size == 2 else table
        else:
            table = (np.log1p(own) if kind == "count" else own)[:, np.newaxis]
        weights = columns.weights * seen
        count = weights.sum() if seen.any() else 1.0
        center = weights @ table / count
        table = (table - center) * seen[:, np.newaxis]
        if kind != "categorical":
            scale = np.sqrt((weights @ np.square(table)).sum() / count)
            table = table / (scale if scale > 0 else 1.0)
        features.append(table.astype(np.float32))
    return features
