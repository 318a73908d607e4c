"""Examples that the components of leaf regions start from: far from each other.

k-means++ (Arthur and Vassilvitskii 2007): the first example is drawn evenly, each
further one in proportion to its squared distance from the nearest one so far, the best
of a few draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NUM_DRAWS = 4

Scopes = Sequence[Sequence[int]]


def seeds_of_regions(
    x: np.ndarray, scopes: Scopes, num_seeds: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``[R, num_seeds]`` of `x`, and deviations ``[R, V, D]`` around them.

    The values of the rows differ in each region.

    Regions without common variables share their rows, so that components of equal
    number fit together. Where these are alike in the variables of a region, others are
    drawn in their place; there are twins only if a region has too few different values.

    Args:
        x: ``[N, V, D]``, in units in which the variables compare.
        scopes: The variables of each region.
        num_seeds: How many rows each region needs.
        rng: Random numbers.
    """
    rows = np.empty([len(scopes), num_seeds], np.int64)
    deviations = np.ones([len(scopes), *x.shape[1:]])
    for group in disjoint_groups(scopes):
        together = [v for region in group for v in scopes[region]]
        shared, nearest = _seeds(_points(x, together), num_seeds, rng)
        deviations[group] = _deviation_within(x, nearest)
        for region in group:
            points = _points(x, scopes[region])
            _, first = np.unique(points[shared], axis=0, return_index=True)
            rows[region] = shared
            if len(first) < num_seeds:
                twins = np.setdiff1d(np.arange(num_seeds), first)
                found, _ = _seeds(points, num_seeds, rng, shared[first])
                rows[region, twins] = found[len(first) :]
    return rows, deviations


def disjoint_groups(scopes: Scopes) -> list[list[int]]:
    """Regions by number, in groups that have no variable in common: repetitions."""
    groups: list[list[int]] = []
    taken: list[set[int]] = []
    for region, scope in enumerate(scopes):
        number = next(
            (n for n, used in enumerate(taken) if used.isdisjoint(scope)), len(groups)
        )
        if number == len(groups):
            groups.append([])
            taken.append(set())
        groups[number].append(region)
        taken[number].update(scope)
    return groups


def _deviation_within(x: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """``[V, D]``: from the mean of each one's cluster; 1 where there is none."""
    square = np.zeros(x.shape[1:])
    for number in np.unique(cluster):
        own = x[cluster == number]
        square += np.square(own - own.mean(0)).sum(0)
    return np.sqrt(np.where(square > 0, square / len(x), 1.0))


def _points(x: np.ndarray, variables: Sequence[int]) -> np.ndarray:
    return x[:, list(variables)].reshape(len(x), -1)


def _seeds(
    points: np.ndarray,
    num_seeds: int,
    rng: np.random.Generator,
    first: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``points [N, F]``, those of `first` before others; each one's nearest."""
    seeds = [rng.integers(len(points))] if first is None else list(first)
    distances = _square_distances(points, np.array(seeds))
    nearest, cluster = distances.min(0), distances.argmin(0)
    while len(seeds) < num_seeds and nearest.any():
        draws = rng.choice(len(points), _NUM_DRAWS, p=nearest / nearest.sum())
        left = np.minimum(_square_distances(points, draws), nearest)
        best = left.sum(-1).argmin()
        cluster = np.where(left[best] < nearest, len(seeds), cluster)
        seeds.append(draws[best])
        nearest = left[best]
    # No other value is left: any rows will do.
    seeds.extend(rng.integers(len(points), size=num_seeds - len(seeds)))
    return np.array(seeds), cluster


def _square_distances(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``[T, N]``: of all points from those in `rows`."""
    return np.stack([np.square(points - points[row]).sum(-1) for row in rows])
