"""What makes a region graph legal, and the messages that say what does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import NoReturn

from tfp_spn._arguments import as_int, shown
from tfp_spn.region_graphs.arguments import as_scope, as_sequence

Scope = tuple[int, ...]
Partition = tuple[int, ...]
_SHOWN = 8


def braces(variables: Iterable[int], count: int | None = None) -> str:
    """Writes a set of variables or regions (of `count` in all), cut after a few."""
    numbers = list(variables)
    count = len(numbers) if count is None else count
    listed = ", ".join(str(number) for number in numbers[:_SHOWN])
    return f"{{{listed}}}" if count <= _SHOWN else f"{{{listed}, ...}} ({count} in all)"


def normalized_scopes(scopes: Sequence[Iterable[int]]) -> tuple[Scope, ...]:
    """Returns sorted scopes that are non-empty, non-negative and free of repeats."""
    result, total = list[Scope](), 0
    for region, variables in enumerate(as_sequence(scopes, "scopes")):
        if isinstance(variables, str | bytes) or not isinstance(variables, Iterable):
            raise TypeError(
                f"The scope of region {region} must be an iterable of integers. "
                f"Received {shown(variables)} of type {type(variables).__name__}. "
                "Write a region over the single variable 3 as (3,)."
            )
        what = f"A variable of region {region}"
        scope = tuple(sorted(as_int(v, what) for v in as_scope(variables, total)))
        total += len(scope)
        if not scope:
            raise ValueError(
                f"Region {region} has an empty scope. Expected at least one variable "
                "in every region. Remove the region, or give it its variables."
            )
        if scope[0] < 0:
            raise ValueError(
                f"Region {region} has the negative variable {scope[0]} in its scope "
                f"{braces(scope)}. Expected variables 0, 1, ... Number them from 0."
            )
        repeated = sorted({a for a, b in pairwise(scope) if a == b})
        if repeated:
            raise ValueError(
                f"Region {region} repeats {braces(repeated)} in its scope "
                f"{braces(scope)}. Expected each variable once. Remove the repeats."
            )
        result.append(scope)
    if not result:
        raise ValueError(
            "A region graph has no regions. Received scopes of length 0; expected at "
            "least the root. Pass the scope of one region."
        )
    return tuple(result)


def check_variables(scopes: Sequence[Scope]) -> int:
    """Returns the number of variables; they must be 0, ..., n - 1 without gaps."""
    used = sorted(set().union(*scopes))
    num_missing = used[-1] + 1 - len(used)
    if num_missing:  # perhaps very many: only the first are looked for
        gaps = (v for a, b in pairwise([-1, *used]) for v in range(a + 1, b))
        missing = braces(islice(gaps, _SHOWN), num_missing)
        raise ValueError(
            f"The variables {missing} are in no region. Received scopes with largest "
            f"variable {used[-1]}; expected every variable from 0 to it. Number the "
            "variables without gaps, or add the missing ones to the root."
        )
    return len(used)


def normalized_partitions(
    scopes: Sequence[Scope], partitions: Iterable[tuple[int, Sequence[int]]]
) -> tuple[tuple[Partition, ...], ...]:
    """Returns the partitions of each region; ids, arities and repeats are checked."""
    result: list[list[Partition]] = [[] for _ in scopes]
    seen: set[tuple[int, frozenset[int]]] = set()
    for index, item in enumerate(as_sequence(partitions, "partitions")):
        try:
            parent, members = item
            children = tuple(members)
        except (TypeError, ValueError):
            raise TypeError(
                f"Partition number {index} must be a pair (region, children). "
                f"Received {shown(item)}. Write it as for example (0, (1, 2))."
            ) from None
        parent = as_int(parent, f"The region of partition number {index}")
        children = tuple(
            as_int(child, f"A child in partition number {index}") for child in children
        )
        for region in (parent, *children):
            if not 0 <= region < len(scopes):
                raise ValueError(
                    f"Partition number {index}, {shown(children)} of region {parent}, "
                    f"names the unknown region {region}. Expected region ids from 0 to "
                    f"{len(scopes) - 1}. Correct the id, or add the region's scope."
                )
        if len(children) < 2:
            raise ValueError(
                f"A partition of {describe(scopes, parent)} has {len(children)} "
                f"children, {shown(children)}. Expected at least two. Remove the "
                "partition, or split the region into two or more children."
            )
        if (parent, frozenset(children)) in seen:
            raise ValueError(
                f"A partition of {describe(scopes, parent)} is a duplicate: received "
                f"the children {shown(children)} twice (in any order). Expected "
                "different partitions. Remove one, or give it its own child regions."
            )
        seen.add((parent, frozenset(children)))
        result[parent].append(children)
    return tuple(tuple(entry) for entry in result)


def check_decomposable(
    scopes: Sequence[Scope], partitions: Sequence[Sequence[Partition]]
) -> None:
    """The children of a partition must be disjoint and make up their parent."""
    sets = [frozenset(scope) for scope in scopes]
    for parent, entries in enumerate(partitions):
        for children in entries:
            union = frozenset().union(*(sets[child] for child in children))
            total = sum(len(sets[child]) for child in children)
            if total != len(union):
                _raise_overlap(scopes, sets, parent, children)
            if union != sets[parent]:
                _raise_mismatch(scopes, parent, children, union ^ sets[parent])


def _raise_overlap(
    scopes: Sequence[Scope],
    sets: Sequence[frozenset[int]],
    parent: int,
    children: Partition,
) -> NoReturn:
    """Names the first child that shares variables with one before it."""
    owners: dict[int, int] = {}  # by variable, the place of the child that has it
    first, second = next(
        (children[owners[variable]], child)
        for place, child in enumerate(children)
        for variable in sets[child]
        if owners.setdefault(variable, place) != place
    )
    raise ValueError(
        f"The partition {shown(children)} of {describe(scopes, parent)} is not "
        f"decomposable: its children {describe(scopes, first)} and "
        f"{describe(scopes, second)} overlap in the variables "
        f"{braces(sorted(sets[first] & sets[second]))}. Expected disjoint scopes. "
        "Remove the shared variables from one of the two."
    )


def _raise_mismatch(
    scopes: Sequence[Scope], parent: int, children: Partition, wrong: Iterable[int]
) -> NoReturn:
    """Names the variables that the children lack or have in excess."""
    missing = sorted(set(wrong) & set(scopes[parent]))
    surplus = sorted(set(wrong) - set(scopes[parent]))
    parts = []
    if missing:
        parts.append(f"the missing variables {braces(missing)}")
    if surplus:
        parts.append(f"the surplus variables {braces(surplus)}")
    listed = ", ".join(describe(scopes, child) for child in children[:_SHOWN])
    more = ", ..." if len(children) > _SHOWN else ""
    raise ValueError(
        f"The children of a partition of {describe(scopes, parent)} do not make up its "
        f"scope: {' and '.join(parts)}. Received the children {listed}{more}; expected "
        "their union to be the parent's scope. Add the missing variables to a child, "
        "and remove the surplus ones."
    )


def check_heights(
    scopes: Sequence[Scope], partitions: Sequence[Sequence[Partition]]
) -> tuple[int, ...]:
    """Returns the longest number of partitions below each region; no cycle allowed."""
    waiting = [len(set().union(*entries)) for entries in partitions]
    above = parents_of(partitions)
    heights = [0] * len(scopes)
    ready = [region for region, count in enumerate(waiting) if count == 0]
    for child in ready:  # grows while it is walked: Kahn's algorithm
        for parent in above[child]:
            heights[parent] = max(heights[parent], heights[child] + 1)
            waiting[parent] -= 1
            if waiting[parent] == 0:
                ready.append(parent)
    if len(ready) < len(scopes):
        _raise_cycle(scopes, partitions, [count > 0 for count in waiting])
    return tuple(heights)


def _raise_cycle(
    scopes: Sequence[Scope],
    partitions: Sequence[Sequence[Partition]],
    stuck: Sequence[bool],
) -> NoReturn:
    """Names the regions of one cycle: a stuck region always has a stuck child."""
    region = stuck.index(True)
    place: dict[int, int] = {}
    while region not in place:
        place[region] = len(place)
        region = next(c for entry in partitions[region] for c in entry if stuck[c])
    cycle = [*list(place)[place[region] :], region]
    listed = " -> ".join(describe(scopes, r) for r in cycle[:_SHOWN])
    more = " -> ..." if len(cycle) > _SHOWN else ""
    raise ValueError(
        f"The region graph has a cycle: {listed}{more}. Expected every partition to "
        "split a region into strictly smaller ones. Remove one of these partitions."
    )


def parents_of(partitions: Sequence[Sequence[Partition]]) -> tuple[Scope, ...]:
    """Returns the sorted ids of the regions above each region."""
    above: list[list[int]] = [[] for _ in partitions]
    for parent, entries in enumerate(partitions):
        for child in set().union(*entries):
            above[child].append(parent)
    return tuple(tuple(parents) for parents in above)


def checked_roots(
    scopes: Sequence[Scope],
    partitions: Sequence[Sequence[Partition]],
    roots: Sequence[int] | None,
    num_variables: int,
) -> tuple[int, ...]:
    """Returns the roots: the regions without parents, each over all variables."""
    tops = tuple(r for r, above in enumerate(parents_of(partitions)) if not above)
    if roots is None:
        if len(tops) > 1:
            raise ValueError(
                f"Several regions have no parent: {_listing(scopes, tops)}. Expected "
                "exactly one, the root. Regions without the full scope are unreachable "
                "from it: remove them, or use them in a partition. If the graph is "
                "meant to have several roots, name them with roots=."
            )
        result = tops
    else:
        result = tuple(as_int(root, "A root") for root in as_sequence(roots, "roots"))
        _check_given_roots(scopes, tops, result)
    for root in result:
        if len(scopes[root]) < num_variables:
            missing = sorted(set(range(num_variables)) - set(scopes[root]))
            raise ValueError(
                f"The root {describe(scopes, root)} lacks the variables "
                f"{braces(missing)}. Expected every root to have the full scope of "
                f"{num_variables} variables. Add a region over all variables with a "
                "partition into the present roots, or remove the variables elsewhere."
            )
    return result


def _check_given_roots(
    scopes: Sequence[Scope], tops: Partition, roots: Partition
) -> None:
    """The given roots must be exactly the regions without parents, each once."""
    if len(set(roots)) < len(roots) or not roots:
        raise ValueError(
            f"`roots` must name each root once. Received roots={shown(roots)}; "
            f"expected the regions without parents, {shown(tops)}. Correct the list, "
            "or leave it out for a graph with one root."
        )
    for root in roots:
        if not 0 <= root < len(scopes):
            raise ValueError(
                f"`roots` names the unknown region {root}. Expected region ids from 0 "
                f"to {len(scopes) - 1}. Correct the id."
            )
    inner = sorted(set(roots) - set(tops))
    if inner:
        raise ValueError(
            f"`roots` names regions that are children: {_listing(scopes, inner)}. "
            f"Expected exactly the regions without parents, {shown(tops)}. Remove them "
            "from `roots`, or remove the partitions above them."
        )
    unreachable = sorted(set(tops) - set(roots))
    if unreachable:
        raise ValueError(
            f"Unreachable from roots={shown(roots)}: {_listing(scopes, unreachable)}. "
            "Expected every region below a root. Add them to `roots`, use them in a "
            "partition, or remove them."
        )


def describe(scopes: Sequence[Scope], region: int) -> str:
    """Writes a region as its id and scope."""
    return f"region {region} {braces(scopes[region])}"


def _listing(scopes: Sequence[Scope], regions: Sequence[int]) -> str:
    """Writes several regions, cut after the first few."""
    listed = ", ".join(describe(scopes, region) for region in regions[:_SHOWN])
    return listed + (", ..." if len(regions) > _SHOWN else "")
