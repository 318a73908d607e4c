"""Long chains: equal steps, one after another, as a single one that is a loop.

In a tree such as `tfp_spn.region_graphs.linear_tree`, or along the branches of a
Chow-Liu tree, step follows step, each of the same shape,

    sums_t = W_t (others_t * sums_{t-1}),

where the other factors come from further below. Unrolled, hundreds of such steps make
a graph that takes minutes to build. A scan has the regions of all of them, step by
step, and reads its own value: row ``t`` of its last factor are the regions of ``t -
1``. What does not depend on the step before is computed of all steps at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfp_spn.programs.routing import Place
from tfp_spn.programs.steps import Gather, Step, gather_of

MIN_LENGTH = 16
"""Shorter chains are no loop: its overhead is that of a few operations a step."""


class ScanParts(NamedTuple):
    """What a scan computes.

    Attributes:
        others: The products of all factors but the chain's, of all regions.
        first: What the first step reads of the chain.
        previous: int ``[R]``: which regions of a step the next one reads.
    """

    others: Step
    first: Step
    previous: np.ndarray


def with_scans(
    steps: Sequence[Step], root: Gather, num_leaf_regions: int
) -> tuple[tuple[Step, ...], Gather] | None:
    """Steps and root with scans in place of long chains; `None` if there are none."""
    lengths: list[int] = []
    number = 0
    while number < len(steps):
        length = _length_from(steps, number)
        lengths.append(length if length >= MIN_LENGTH else 1)
        number += lengths[-1]
    if max(lengths, default=1) == 1:
        return None
    return _merged(steps, root, num_leaf_regions, lengths)


def parts_of(step: Step) -> ScanParts:
    """The parts of a scan."""
    *others, chain = step.factors
    regions = step.num_regions // step.length
    places = chain.places
    first = chain.part(0, regions)
    previous = np.array([region for _, region in places[regions : 2 * regions]])
    widths = step.widths[:-1], step.widths[-1:]
    bare = dataclasses.replace(step, sums=None, length=1)
    return ScanParts(
        dataclasses.replace(bare, factors=tuple(others), widths=widths[0]),
        dataclasses.replace(
            bare, factors=(first,), widths=widths[1], num_regions=regions
        ),
        previous,
    )


def _length_from(steps: Sequence[Step], start: int) -> int:
    """How many steps from this one on are alike, each reading the one before."""
    stop, slot = start + 1, -1
    while stop < len(steps):
        slots = _slots(steps[stop], start, stop)
        if not _are_alike(steps[stop - 1], steps[stop]) or len(slots) != 1:
            break
        has_same_chain = slots == [slot] and np.array_equal(
            steps[stop].factors[slot].index, steps[stop - 1].factors[slot].index
        )
        if stop > start + 1 and not has_same_chain:
            break
        [slot] = slots
        stop += 1
    return stop - start


def _slots(step: Step, start: int, number: int) -> list[int]:
    """Which factors are read from the step before; nothing if others read the run."""
    chains = [a for a, g in enumerate(step.factors) if g.sources == (number,)]
    others = [g for g in step.factors if g.sources != (number,)]
    if any(source > start for gather in others for source in gather.sources):
        return []
    return chains


def _are_alike(one: Step, other: Step) -> bool:
    """Whether two steps may follow each other in a scan."""
    if one.sums is None or other.sums is None:
        return False
    gathers = (*one.factors, *other.factors)
    return (
        one.product == other.product == "hadamard"
        and one.num_partitions == other.num_partitions == 1
        and one.num_regions == other.num_regions
        and len(one.factors) == len(other.factors) > 1
        and all((gather.index >= 0).all() for gather in gathers)
        and one.sums.num_outputs == other.sums.num_outputs == one.widths[0]
        and other.sums.start == one.sums.start + one.num_regions
        and one.sums.parameter == other.sums.parameter
        and one.sums.rule == other.sums.rule
        and not (one.sums.always_exact or one.sums.shared)
    )


def _merged(
    steps: Sequence[Step], root: Gather, num_leaf_regions: int, lengths: list[int]
) -> tuple[tuple[Step, ...], Gather]:
    """With the runs of steps of these lengths as one each."""
    new_place: dict[int, tuple[int, int]] = {0: (0, 0)}  # value and first region there
    merged: list[Step] = []
    sizes = {0: num_leaf_regions}
    number = 0
    for length in lengths:
        run = steps[number : number + length]
        value = len(merged) + 1
        for t, step in enumerate(run):
            new_place[number + t + 1] = (value, t * step.num_regions)
        sizes[value] = length * run[0].num_regions
        order = list(range(len(run[0].factors)))
        if length > 1:  # the chain is the last factor
            [slot] = _slots(run[1], number, number + 1)
            order.append(order.pop(slot))
        factors = tuple(
            _moved([step.factors[a] for step in run], new_place, sizes) for a in order
        )
        scan = dataclasses.replace(
            run[0], factors=factors, num_regions=sizes[value], length=length
        )
        merged.append(scan)
        number += length
    return tuple(merged), _moved([root], new_place, sizes)


def _moved(
    gathers: list[Gather], new_place: dict[int, tuple[int, int]], sizes: dict[int, int]
) -> Gather:
    """Joins gathers, with every value at its new place."""
    places: list[Place] = []
    for gather in gathers:
        for value, region in gather.places:
            if value < 0:
                places.append((value, 0))
            else:
                new, first = new_place[value]
                places.append((new, first + region))
    read = {value: sizes[value] for value, _ in places if value >= 0}
    return gather_of(places, read or {0: sizes[0]})
