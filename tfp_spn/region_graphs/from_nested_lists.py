"""Region graphs written by hand as nested lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfp_spn.region_graphs.arguments import as_int
from tfp_spn.region_graphs.region_graph import RegionGraph

_NOTATION = (
    "an integer (leaf region of one variable), a tuple of integers (leaf region of "
    "several variables), a list (region with one partition into its elements) or "
    '{"partitions": [list, ...]} (region with several partitions)'
)


def from_nested_lists(nested: Any) -> RegionGraph:
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
    queue: list[tuple[Any, str]] = [(nested, "nested")]
    scopes: list[list[int]] = []
    partitions: list[tuple[int, Sequence[int]]] = []
    for region, (element, path) in enumerate(queue):  # grows while it is walked
        scopes.append(_leaf_scope(element, path))
        for entry, entry_path in _entries(element, path):
            children = range(len(queue), len(queue) + len(entry))
            queue += [(child, f"{entry_path}[{i}]") for i, child in enumerate(entry)]
            partitions.append((region, children))
    # Any partition of a region gives its scope; children come after their parents.
    for region, below in reversed(partitions):
        scopes[region] = sorted({v for child in below for v in scopes[child]})
    return RegionGraph(scopes, partitions)


def _leaf_scope(element: Any, path: str) -> list[int]:
    """The variables of a leaf; none for an inner region, whose scope comes later."""
    if isinstance(element, list | dict):
        return []
    if isinstance(element, tuple):
        if not element:
            raise ValueError(
                f"The tuple at {path} is empty. Expected the variables of a leaf "
                "region. Give it a variable, or remove it."
            )
        return [as_int(v, f"Element {path}[{i}]") for i, v in enumerate(element)]
    try:
        return [as_int(element, f"Element {path}")]
    except TypeError:
        raise TypeError(
            f"The element at {path} is not part of the notation. Received {element!r} "
            f"of type {type(element).__name__}; expected {_NOTATION}. Rewrite it."
        ) from None


def _entries(element: Any, path: str) -> list[tuple[list[Any], str]]:
    """The partitions of an element of the nest, each with its path."""
    if isinstance(element, dict):
        if set(element) != {"partitions"} or not isinstance(
            element["partitions"], list | tuple
        ):
            raise ValueError(
                f"The dictionary at {path} is not part of the notation. Received "
                f'{element!r}; expected the one key "partitions" with a list of lists. '
                "Rewrite it."
            )
        entries = [
            (entry, f"{path}['partitions'][{i}]")
            for i, entry in enumerate(element["partitions"])
        ]
        if not entries:
            raise ValueError(
                f"The dictionary at {path} has no partition. Expected at least one "
                "list. Add one, or write a leaf region as a tuple."
            )
    else:
        entries = [(element, path)] if isinstance(element, list) else []
    for entry, entry_path in entries:
        if not isinstance(entry, list):
            raise TypeError(
                f"The partition at {entry_path} must be a list. Received {entry!r} of "
                f"type {type(entry).__name__}. Write it as a list of regions."
            )
        if len(entry) < 2:
            raise ValueError(
                f"The list at {entry_path} has {len(entry)} elements. Expected at "
                "least two, since a partition splits a region. Remove the brackets, "
                "or add elements."
            )
    return entries
