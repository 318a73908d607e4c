"""Where flows go, and what offsets add up from: tables made once from the structure.

A downward pass hands the flow of each partition to the regions that it multiplied. Seen
from below: the flow of a region is the sum of what the partitions received that use it.
Regions that are used once, as all of a tree, are gathered once.

An upward pass takes a scale out of each region. How much was taken out below a
partition, in all, matters only where partitions of one region are compared, and at the
roots: there the scales of all regions below are added up, down to those regions whose
own offset was found in a comparison.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ROOT = -1
"""Number of the step in a flow's key that stands for the roots."""

Key = tuple[int, int | None]
"""A step, and which of its factors where the flows of these differ."""

Place = tuple[int, int]
"""A value and a region of it; the value is negative where there is none."""


@dataclass(frozen=True, eq=False)
class Route:
    """How the flow of a value's regions comes together.

    Attributes:
        parts: Keys of flows ``[..., J, K, N]`` with tables ``[J, uses]`` of their rows,
            each row the sum of what it names, -1 for nothing.
        uses: ``[R, uses]``: the rows of all parts, one after another, that add up to
            the flow of each region, -1 for nothing. `None` if the one part has it.
    """

    parts: tuple[tuple[Key, np.ndarray], ...]
    uses: np.ndarray | None


def flow_routes(
    sizes: Sequence[int], reads: Iterable[tuple[Key, Sequence[Place]]]
) -> tuple[Route, ...]:
    """The route to each value.

    Args:
        sizes: Number of regions of each value.
        reads: The keys of all flows, and which region each of their rows read.
    """
    uses: list[dict[Key, dict[int, list[int]]]] = [{} for _ in sizes]
    for key, places in reads:
        for row, (value, region) in enumerate(places):
            if value >= 0:
                by_region = uses[value].setdefault(key, defaultdict(list))
                by_region[region].append(row)
    return tuple(
        _route(of_value, size) for of_value, size in zip(uses, sizes, strict=True)
    )


def _route(uses: dict[Key, dict[int, list[int]]], size: int) -> Route:
    """Returns the route to one value, given which rows use each region."""
    parts, places = [], [[] for _ in range(size)]  # type: ignore[var-annotated]
    count = 0
    for key, by_region in uses.items():
        regions = sorted(by_region)
        parts.append((key, padded([by_region[region] for region in regions])))
        for region in regions:
            places[region].append(count)
            count += 1
    table = padded(places)
    is_whole = len(parts) == 1 and np.array_equal(table[:, 0], np.arange(size))
    return Route(tuple(parts), None if is_whole else table)


@dataclass(frozen=True, eq=False)
class OffsetTable:
    """From which scales the offset of each of several rows adds up.

    Attributes:
        parts: Values with tables ``[J, L]`` of their regions, -1 for nothing.
    """

    parts: tuple[tuple[int, np.ndarray], ...]


def offset_table(
    rows: Iterable[Iterable[Place]], children: Callable[[Place], Iterable[Place]]
) -> OffsetTable:
    """Makes a table.

    Args:
        rows: The regions that each row multiplies.
        children: The regions whose scales are part of a region's offset.
    """
    found: list[dict[int, list[int]]] = []
    for row in rows:
        below: dict[int, list[int]] = defaultdict(list)
        pending = [place for place in row if place[0] >= 0]
        while pending:
            value, region = pending.pop()
            below[value].append(region)
            pending += [place for place in children((value, region)) if place[0] >= 0]
        found.append({value: sorted(regions) for value, regions in below.items()})
    values = sorted({value for below in found for value in below})
    return OffsetTable(
        tuple((v, padded([below.get(v, []) for below in found])) for v in values)
    )


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Int ``[len(rows), longest]``, filled up with -1 on the right."""
    width = max([1, *map(len, rows)])
    table = np.full([len(rows), width], -1)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table
