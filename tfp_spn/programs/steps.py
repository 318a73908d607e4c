"""What a step of a folded circuit reads, multiplies and sums: static index tables."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.routing import Place

MARGINALIZED = -1
"""Index of a child that is not there: log-value 0 in all units."""

_MAX_SEGMENTS = 16
"""So many kinds of partitions of a step are multiplied in pieces of their own."""


@dataclass(frozen=True, eq=False)
class Gather:
    """Which regions of which values, in order.

    Attributes:
        sources: Indices of the values that are read.
        sizes: Number of regions of each source.
        index: int32 positions in the concatenation of the sources, or `MARGINALIZED`.
    """

    sources: tuple[int, ...]
    sizes: tuple[int, ...]
    index: np.ndarray

    @functools.cached_property
    def bounds(self) -> tuple[int, int] | None:
        """``(start, stop)`` when the index is a range of a single source."""
        start, count = int(self.index[0]), len(self.index)
        if len(self.sources) > 1 or start < 0:
            return None
        is_range = np.array_equal(self.index, np.arange(start, start + count))
        return (start, start + count) if is_range else None

    @functools.cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each source begins in the concatenation."""
        return _starts_of(self.sizes)

    @functools.cached_property
    def places(self) -> list[Place]:
        """Source and region of each entry; source `MARGINALIZED` if it has none."""
        if len(self.sources) == 1:
            [source] = self.sources
            return [
                (MARGINALIZED if region < 0 else source, region)
                for region in self.index.tolist()
            ]
        ends = np.cumsum(self.sizes)
        number = np.searchsorted(ends, self.index, side="right")
        region = (
            self.index - np.asarray(self.offsets)[np.minimum(number, len(ends) - 1)]
        )
        sources = np.asarray(self.sources)[np.minimum(number, len(ends) - 1)]
        sources = np.where(self.index < 0, MARGINALIZED, sources)
        return list(zip(sources.tolist(), region.tolist(), strict=True))

    def part(self, start: int, stop: int) -> Gather:
        """Some of the entries, and the sources that these read."""
        places = self.places[start:stop]
        sources = tuple(sorted({source for source, _ in places if source >= 0}))
        if not sources:
            return Gather(self.sources[:1], self.sizes[:1], self.index[start:stop])
        size_of = dict(zip(self.sources, self.sizes, strict=True))
        return gather_of(places, {source: size_of[source] for source in sources})


def gather_of(places: Sequence[Place], size_of: dict[int, int]) -> Gather:
    """A gather of ``(source, region)`` pairs, given each source's number of regions."""
    sources = tuple(sorted(size_of))
    sizes = tuple(size_of[source] for source in sources)
    start = dict(zip(sources, _starts_of(sizes), strict=True))
    index = [
        MARGINALIZED if source < 0 else start[source] + region
        for source, region in places
    ]
    return Gather(sources, sizes, np.array(index, np.int32))


def _starts_of(sizes: Sequence[int]) -> tuple[int, ...]:
    """Where each of some lists begins in their concatenation."""
    return tuple(itertools.accumulate(sizes[:-1], initial=0))


@dataclass(frozen=True, eq=False)
class SumSpec:
    """Weighted sums of a step.

    Attributes:
        parameter: Name of the accumulators: of a parameter of the circuit, or of a
            `Block` of several.
        num_outputs: Sums per region.
        rule: Learning rule.
        logspace: Whether accumulators are logarithms.
        event_ndims: Rank of one circuit's accumulators; they are reshaped to
            ``[regions, I, O]``.
        always_exact: Whether to sum term by term in log space from the start: for
            weights of zero and one.
        shared: Whether all regions have the same weights, ``[1, I, O]``.
        start: Where the step's regions begin there.
    """

    parameter: str
    num_outputs: int
    rule: SumRule
    logspace: bool = True
    event_ndims: int = 3
    always_exact: bool = False
    shared: bool = False
    start: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """Regions that are evaluated together.

    Attributes:
        factors: One gather of ``num_regions * num_partitions`` regions per factor;
            `MARGINALIZED` where a partition has fewer factors.
        widths: Units of each factor.
        num_regions: Regions ``R`` that the step evaluates.
        num_partitions: Partitions ``H`` of each region.
        product: How factors are multiplied.
        sums: The sums over the products, or `None` for a bare product.
        factor_units: int32 ``[factors, U]``: the unit of each of the factors that each
            of the ``U`` units of a partition multiplies; of product ``"chosen"`` only.
        length: How many equal steps, one after another, this one stands for; its
            regions are those of all. See `tfp_spn.programs.scans`.
    """

    factors: tuple[Gather, ...]
    widths: tuple[int, ...]
    num_regions: int
    num_partitions: int
    product: Literal["hadamard", "kronecker", "chosen"]
    sums: SumSpec | None
    factor_units: np.ndarray | None = None
    length: int = 1

    @property
    def num_products(self) -> int:
        """Units of one partition."""
        if self.factor_units is not None:
            return self.factor_units.shape[1]
        if self.product == "hadamard":
            return self.widths[0]
        return int(np.prod(self.widths))

    @property
    def num_inputs(self) -> int:
        """Units of all partitions of a region."""
        return self.num_partitions * self.num_products

    @property
    def num_outputs(self) -> int:
        """Units of a region."""
        return self.num_inputs if self.sums is None else self.sums.num_outputs

    @property
    def num_weighted(self) -> int:
        """Regions that have weights of their own."""
        return 1 if self.sums is not None and self.sums.shared else self.num_regions

    @functools.cached_property
    def segments(self) -> tuple[tuple[Gather, ...], ...]:
        """The factors of successive partitions that read alike.

        The partitions of a segment have equally many factors, and each factor is of one
        value. If that makes too many segments, those are merged that are most alike,
        and factors may be `MARGINALIZED` or of several values there.
        """
        reads = np.stack([[value for value, _ in g.places] for g in self.factors])
        cuts = (np.flatnonzero((reads[:, 1:] != reads[:, :-1]).any(0)) + 1).tolist()
        is_there = np.sort(reads < 0, axis=0) == (
            reads < 0
        )  # none behind a missing one
        if self.product != "hadamard" or not is_there.all():
            return (self.factors,)
        counts = (reads >= 0).sum(axis=0)
        bounds = _merged_bounds([0, *cuts, reads.shape[1]], counts, _MAX_SEGMENTS)
        return tuple(
            tuple(
                gather.part(start, stop)
                for gather in self.factors[: counts[start:stop].max()]
            )
            for start, stop in itertools.pairwise(bounds)
        )


def _merged_bounds(bounds: list[int], counts: np.ndarray, most: int) -> list[int]:
    """Leaves out bounds of segments until there are few, where least is padded.

    Args:
        bounds: Where segments begin, and where the last one ends.
        counts: Factors of each partition.
        most: How many segments there may be.
    """
    bounds, sizes = list(bounds), np.diff(bounds)
    widest = np.maximum.reduceat(counts, bounds[:-1])
    while len(sizes) > most:
        wider = widest[:-1] - widest[1:]  # than its neighbour
        padded = np.where(wider > 0, wider * sizes[1:], -wider * sizes[:-1])
        left = int(np.argmin(padded))
        sizes[left] += sizes[left + 1]
        widest[left] = max(widest[left], widest[left + 1])
        sizes, widest = np.delete(sizes, left + 1), np.delete(widest, left + 1)
        del bounds[left + 1]
    return bounds
