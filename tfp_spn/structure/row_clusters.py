"""Clusters of the rows of a table, by k-means."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from tfp_spn._clustering import cluster_labels, points_of
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

    @functools.cached_property
    def _points(self) -> list[npt.NDArray[np.float32]]:
        """Coordinates of each column, once they are needed."""
        columns, found = self._columns, []
        for v, kind in enumerate(columns.kinds):
            own, seen = columns.values[:, [v]], columns.observed[:, v]
            own = np.log1p(own) if kind == "count" else own
            found.append(points_of(own, seen, columns.weights, kind == "categorical"))
        return found

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
        weights = self._columns.weights
        points = np.concatenate([self._points[v][rows] for v in scope], axis=1)
        labels = cluster_labels(
            points, weights[rows], num_clusters, rng, self._owner, n_init=3
        )
        parts = [rows[labels == label] for label in np.unique(labels)]
        shares = np.array([weights[part].sum() for part in parts])
        return parts, np.log(shares / shares.sum())
