"""Examples that the components of leaf regions start from: far from each other.

k-means++ (Arthur and Vassilvitskii 2007): the first example is drawn evenly, each
further one in proportion to its squared distance from the nearest one so far, the best
of a few draws. Then local search (Lattanzi and Sohler 2019): some more times an example
that is drawn likewise takes the place of the one that is missed least, if the squared
distances become less; a cluster that got none finds one that shares another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NUM_DRAWS, _MAX_EXCHANGES = 4, 25

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
        points = _points(x, together)
        shared = _seeds(points, num_seeds, rng)
        nearest = _improve(shared, points, rng)
        deviations[group] = _deviation_within(x, nearest)
        for region in group:
            points = _points(x, scopes[region])
            _, first = np.unique(points[shared], axis=0, return_index=True)
            rows[region] = shared
            if len(first) < num_seeds:
                twins = np.setdiff1d(np.arange(num_seeds), first)
                found = _seeds(points, num_seeds, rng, shared[first])
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
) -> np.ndarray:
    """Rows of ``points [N, F]``, those of `first` before others."""
    seeds = [rng.integers(len(points))] if first is None else list(first)
    nearest = _square_distances(points, np.array(seeds)).min(0)
    while len(seeds) < num_seeds and nearest.any():
        draws = rng.choice(len(points), _NUM_DRAWS, p=nearest / nearest.sum())
        left = np.minimum(_square_distances(points, draws), nearest)
        best = left.sum(-1).argmin()
        seeds.append(draws[best])
        nearest = left[best]
    # No other value is left: any rows will do.
    seeds.extend(rng.integers(len(points), size=num_seeds - len(seeds)))
    return np.array(seeds)


def _improve(
    seeds: np.ndarray, points: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Exchanges rows in `seeds` for better ones; returns each row's nearest seed."""
    distances = _square_distances(points, seeds)
    if len(seeds) < 2:
        return distances.argmin(0)
    every, is_new = np.arange(len(points)), True
    for _ in seeds[:_MAX_EXCHANGES]:
        if is_new:
            first, second = np.argpartition(distances, 1, axis=0)[:2]
            nearest, next_nearest = distances[first, every], distances[second, every]
        total = nearest.sum()
        if not total > 0:
            break
        draws = rng.choice(len(points), _NUM_DRAWS, p=nearest / total)
        new = _square_distances(points, draws)
        left = np.minimum(new, nearest)  # with all seeds kept
        missed = np.minimum(new, next_nearest) - left
        without = left.sum(-1)[:, np.newaxis] + np.stack(
            [np.bincount(first, of_draw, len(seeds)) for of_draw in missed]
        )
        draw, seed = np.unravel_index(without.argmin(), without.shape)
        is_new = bool(without[draw, seed] < total)
        if is_new:
            seeds[seed], distances[seed] = draws[draw], new[draw]
    return distances.argmin(0)


def _square_distances(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``[T, N]``: of all points from those in `rows`."""
    offsets = (points - points[row] for row in rows)
    return np.stack([np.einsum("nf,nf->n", offset, offset) for offset in offsets])
