"""Region graphs written by hand as nested lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tfp_spn.region_graphs.arguments import NEST_EVENLY, as_int, check_total, shown
from tfp_spn.region_graphs.region_graph import RegionGraph

_SHOWN = 20

_NOTATION = (
    "an integer (leaf region of one variable), a tuple of integers (leaf region of "
    "several variables), a list (region with one partition into its elements) or "
    '{"partitions": [list, ...]} (region with several partitions)'
)


def from_nested_lists(nested: object) -> RegionGraph:
    """Makes a region graph from nested Python lists.

    Each place in the nest is a region of its own, even where two places look alike, so
    the result is a tree. (Use `RegionGraph` itself for a graph that shares regions.)
    The notation is

    *   an integer: a leaf region over this variable;
    *   a tuple of integers: a leaf region over these variables;
    *   a list: a region with one partition, into the elements of the list;
    *   `{"partitions": [list, list, ...]}`: a region with several partitions.

    Args:
      nested: The nest.

    Returns:
      A `RegionGraph` whose regions are numbered in breadth-first order, so that the
      outermost one is region 0.

    Raises:
      TypeError: If an element of the nest is of another type; the message gives its
        path.
      ValueError: If a list has fewer than two elements, a tuple is empty, a dictionary
        has other keys, or the graph is not valid.

    Example:
      >>> from_nested_lists([0, [1, 2], (3, 4)]).scopes
      ((0, 1, 2, 3, 4), (0,), (1, 2), (3, 4), (1,), (2,))
      >>> from_nested_lists({"partitions": [[0, [1, 2]], [[0, 1], 2]]})
      RegionGraph(num_variables=3, num_regions=9, num_partitions=4, depth=2)
    """
    queue = [_Place(nested)]
    scopes: list[list[int]] = []
    partitions: list[tuple[int, Sequence[int]]] = []
    known: set[int] = set()
    for region, place in enumerate(queue):  # grows while it is walked
        scopes.append(_leaf_scope(place))
        if id(place.element) in known:
            place.check_is_not_within_itself()
        elif isinstance(place.element, list | dict):
            known.add(id(place.element))
        for entry in _entries(place):
            children = range(len(queue), len(queue) + len(entry.element))
            queue += [_Place(c, entry, f"[{i}]") for i, c in enumerate(entry.element)]
            partitions.append((region, children))
    sizes = [len(scope) for scope in scopes]
    for region, below in reversed(partitions):
        sizes[region] = sum(sizes[child] for child in below)
    check_total(sum(sizes), "The list `nested` is nested too deep", NEST_EVENLY)
    # Any partition of a region gives its scope; children come after their parents.
    for region, below in reversed(partitions):
        scopes[region] = sorted({v for child in below for v in scopes[child]})
    return RegionGraph(scopes, partitions)


class _Place(NamedTuple):
    """An element of the nest, and where it is."""

    element: Any
    parent: _Place | None = None
    step: str = "nested"

    def ancestors(self) -> Iterator[_Place]:
        """The places around this one, from the inside."""
        place = self.parent
        while place is not None:
            yield place
            place = place.parent

    @property
    def path(self) -> str:
        """How to reach the element, cut in the middle if it is deep."""
        steps = [place.step for place in (self, *self.ancestors())][::-1]
        if len(steps) > _SHOWN:
            steps[_SHOWN // 2 : -_SHOWN // 2] = ["[...]"]
        return "".join(steps)

    def check_is_not_within_itself(self) -> None:
        """Refuses a list that holds itself, which would be an endless nest."""
        if any(self.element is place.element for place in self.ancestors()):
            raise ValueError(
                f"The list at {self.path} holds itself. Expected a nest of finite "
                "depth. Write out the regions."
            )


def _leaf_scope(place: _Place) -> list[int]:
    """The variables of a leaf; none for an inner region, whose scope comes later."""
    element = place.element
    if isinstance(element, list | dict):
        return []
    if isinstance(element, tuple):
        if not element:
            raise ValueError(
                f"The tuple at {place.path} is empty. Expected the variables of a leaf "
                "region. Give it a variable, or remove it."
            )
        path = place.path
        return [as_int(v, f"Element {path}[{i}]") for i, v in enumerate(element)]
    try:
        return [as_int(element, "An element")]
    except TypeError:
        raise TypeError(
            f"The element at {place.path} is not part of the notation. Received "
            f"{shown(element)} of type {type(element).__name__}; expected {_NOTATION}. "
            "Rewrite it."
        ) from None


def _entries(place: _Place) -> list[_Place]:
    """The partitions of an element of the nest."""
    element = place.element
    entries = [place] if isinstance(element, list) else []
    if isinstance(element, dict):
        if set(element) != {"partitions"} or not isinstance(
            element["partitions"], list | tuple
        ):
            raise ValueError(
                f"The dictionary at {place.path} is not part of the notation. Received "
                f'{shown(element)}; expected the one key "partitions" with a list of '
                "lists. Rewrite it."
            )
        entries = [
            _Place(entry, place, f"['partitions'][{i}]")
            for i, entry in enumerate(element["partitions"])
        ]
        if not entries:
            raise ValueError(
                f"The dictionary at {place.path} has no partition. Expected at least "
                "one list. Add one, or write a leaf region as a tuple."
            )
    for entry in entries:
        if not isinstance(entry.element, list):
            raise TypeError(
                f"The partition at {entry.path} must be a list. Received "
                f"{shown(entry.element)} of type {type(entry.element).__name__}. Write "
                "it as a list of regions."
            )
        if len(entry.element) < 2:
            raise ValueError(
                f"The list at {entry.path} has {len(entry.element)} elements. Expected "
                "at least two, since a partition splits a region. Remove the brackets, "
                "or add elements."
            )
    return entries
