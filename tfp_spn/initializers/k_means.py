"""Leaf locations from k-means clusters of the data."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tfp_spn._arguments import (
    LARGEST_SEED,
    a_count,
    a_flag,
    a_rate,
    a_seed,
    one_of,
    reads,
)
from tfp_spn._clustering import import_cluster
from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Tensor
from tfp_spn.initializers._data import by_cell, collected, standardized, without_data


@register
class KMeans(keras.initializers.Initializer):
    """Locations at the centroids of k-means, variable by variable.

    Each variable (each cell of an image) is clustered by itself, over all its
    dimensions, by scikit-learn. In contrast to LibSPN-Keras it serves flat data as
    well as images, any number of components, and groups centroids by an optimal
    assignment in place of a trial of all permutations.

    The data are not saved: a model that is loaded takes its locations from its weights,
    and a copy made from a config alone starts `Equidistant` from -1 to 1.

    Args:
        data: The training data as the leaf layer sees them (after a normalisation
            layer): an array ``[examples, variables]``, ``[examples, variables, dims]``
            or ``[examples, height, width, channels]``, or an iterable of batches, such
            as a `tf.data.Dataset`.
        samplewise_normalization: Whether to take each example's z-scores first, as
            `NormalizeStandardScore` does.
        data_fraction: Part of the examples to cluster, drawn without replacement.
        normalization_epsilon: Added to the standard deviation of an example.
        stop_epsilon: k-means stops when its centroids move less than this (relative,
            `sklearn.cluster.KMeans`'s `tol`).
        num_iters: Most iterations of k-means.
        group_centroids: Whether to number the clusters alike in all variables: a second
            k-means over all centroids makes groups, and each variable's centroids are
            assigned to the groups, one to each, at the least total distance.
        max_num_clusters: Most clusters. More components are made by repeating the
            centroids and moving the copies at random.
        jitter_factor: Standard deviation of those moves.
        centroid_initialization: ``"kmeans++"`` or ``"random"``.
        downsample: Factor by which images are made smaller before they are clustered
            (bilinearly); their centroids are enlarged again.
        use_groups: `False`, the only choice: LibSPN-Keras names the argument without
            saying what it does.
        seed: Seed of the draws.

    Raises:
        ImportError: scikit-learn is not installed (when called).
        TypeError: The data are not numbers.
        ValueError: The data are empty, not finite, or do not fit the leaf layer, or an
            argument is out of range.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.array([[0.0], [0.5], [9.5], [10.0]])
        >>> initializer = tfp_spn.initializers.KMeans(
        ...     x, samplewise_normalization=False, data_fraction=1.0)
        >>> sorted(initializer(shape=(1, 2, 1)).numpy().ravel().tolist())
        [0.25, 9.75]
    """

    @reads(
        samplewise_normalization=a_flag(),
        data_fraction=a_rate(above=0, most=1),
        normalization_epsilon=a_rate(least=0),
        stop_epsilon=a_rate(least=0),
        num_iters=a_count(),
        group_centroids=a_flag(),
        max_num_clusters=a_count(),
        jitter_factor=a_rate(least=0),
        centroid_initialization=one_of("kmeans++", "random"),
        downsample=a_count(),
        use_groups=a_flag(),
        seed=a_seed(most=LARGEST_SEED),
    )
    def __init__(
        self,
        data: object = None,
        samplewise_normalization: bool = True,
        data_fraction: float = 0.2,
        normalization_epsilon: float = 1e-2,
        stop_epsilon: float = 1e-4,
        num_iters: int = 100,
        group_centroids: bool = True,
        max_num_clusters: int = 8,
        jitter_factor: float = 0.05,
        centroid_initialization: str = "kmeans++",
        downsample: int | None = None,
        use_groups: bool = False,
        seed: int = 0,
    ) -> None:
        if use_groups:
            raise ValueError(
                "KMeans: received use_groups=True, which is not defined, expected "
                "False. Use group_centroids=True to number clusters alike."
            )
        self.samplewise_normalization = samplewise_normalization
        self.data_fraction = data_fraction
        self.normalization_epsilon = normalization_epsilon
        self.stop_epsilon = stop_epsilon
        self.num_iters = num_iters
        self.group_centroids = group_centroids
        self.max_num_clusters = max_num_clusters
        self.jitter_factor = jitter_factor
        self.centroid_initialization = centroid_initialization
        self.downsample = downsample
        self.seed = seed
        self._data = collected("KMeans", data)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Returns locations of this shape, ``[..., num_components, dims]``."""
        if self._data is None:
            return without_data(shape, dtype)
        rng = np.random.default_rng(self.seed)
        num_components = shape[-2]
        x = self._chosen(self._data, rng, num_components)
        x = by_cell("KMeans", x, tuple(shape))  # [N, *lead, D]
        if self.downsample is None or self.downsample == 1:
            centroids = self._centroids(x, num_components, rng)
        else:
            centroids = self._centroids_of_smaller(x, num_components, rng)
        return keras.ops.convert_to_tensor(
            centroids.reshape(shape), dtype=keras.backend.standardize_dtype(dtype)
        )

    def _chosen(
        self, x: np.ndarray, rng: np.random.Generator, num_components: int
    ) -> np.ndarray:
        """Some of the examples, z-scored if asked to."""
        count = max(int(np.ceil(self.data_fraction * len(x))), num_components)
        x = x[rng.permutation(len(x))[:count]]
        if self.samplewise_normalization:
            x = standardized(x, self.normalization_epsilon)
        return x

    def _centroids(
        self, x: np.ndarray, num_components: int, rng: np.random.Generator
    ) -> np.ndarray:
        """``[N, *lead, D]`` to ``[cells, K, D]``."""
        num_clusters = min(num_components, self.max_num_clusters)
        cells = x.reshape(len(x), -1, x.shape[-1]).swapaxes(0, 1)  # [cells, N, D]
        distinct, copies = np.unique(cells, axis=0, return_inverse=True)
        centroids = np.stack([self._cluster(cell, num_clusters) for cell in distinct])
        if self.group_centroids and len(distinct) > 1:
            centroids = self._grouped(centroids)
        rows = np.arange(num_components) % num_clusters
        centroids = centroids[copies.reshape(-1)][:, rows]
        jitter = rng.normal(scale=self.jitter_factor, size=centroids.shape)
        jitter[:, :num_clusters] = 0
        return centroids + np.clip(
            jitter, -2 * self.jitter_factor, 2 * self.jitter_factor
        )

    def _cluster(self, x: np.ndarray, num_clusters: int) -> np.ndarray:
        """Centroids ``[num_clusters, D]`` of ``[N, D]``, repeated if too few differ."""
        distinct = np.unique(x, axis=0)
        if len(distinct) <= num_clusters:
            return distinct[np.arange(num_clusters) * len(distinct) // num_clusters]
        found = import_cluster("KMeans").KMeans(
            num_clusters,
            init={"kmeans++": "k-means++"}.get(self.centroid_initialization, "random"),
            n_init=1,
            max_iter=self.num_iters,
            tol=self.stop_epsilon,
            random_state=self.seed,
        )
        return found.fit(x).cluster_centers_

    def _grouped(self, centroids: np.ndarray) -> np.ndarray:
        """The centroids ``[cells, k, D]`` in the order of their groups."""
        from scipy.optimize import linear_sum_assignment

        _, num_clusters, num_dims = centroids.shape
        groups = self._cluster(centroids.reshape(-1, num_dims), num_clusters)
        groups = groups[np.lexsort(groups.T)]
        ordered = np.empty_like(centroids)
        for cell, own in enumerate(centroids):
            distance = np.square(groups[:, np.newaxis] - own).sum(-1)
            ordered[cell] = own[linear_sum_assignment(distance)[1]]
        return ordered

    def _centroids_of_smaller(
        self, x: np.ndarray, num_components: int, rng: np.random.Generator
    ) -> np.ndarray:
        if x.ndim != 5:
            raise ValueError(
                f"KMeans: received downsample={self.downsample} for data of shape "
                f"{x.shape}, expected images [examples, height, width, channels]. "
                "Leave downsample out."
            )
        _, _, height, width, num_dims = x.shape
        small = (-(-height // self.downsample), -(-width // self.downsample))
        resized = _resized(x[:, 0], small)
        centroids = self._centroids(resized, num_components, rng)
        grid = centroids.reshape(1, *small, num_components * num_dims)
        return _resized(grid, (height, width))

    def get_config(self) -> Config:
        """Returns the constructor's arguments but for the data."""
        return {
            "samplewise_normalization": self.samplewise_normalization,
            "data_fraction": self.data_fraction,
            "normalization_epsilon": self.normalization_epsilon,
            "stop_epsilon": self.stop_epsilon,
            "num_iters": self.num_iters,
            "group_centroids": self.group_centroids,
            "max_num_clusters": self.max_num_clusters,
            "jitter_factor": self.jitter_factor,
            "centroid_initialization": self.centroid_initialization,
            "downsample": self.downsample,
            "seed": self.seed,
        }


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    images = images.astype("float32")  # the most that resizing serves
    resized = keras.ops.image.resize(
        images, size, antialias=True, data_format="channels_last"
    )
    return keras.ops.convert_to_numpy(resized).astype(np.float64)
