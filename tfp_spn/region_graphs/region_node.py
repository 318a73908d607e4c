"""Region trees written by hand, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfp_spn._arguments import as_int, shown
from tfp_spn.region_graphs.arguments import NEST_EVENLY, as_sequence, check_total
from tfp_spn.region_graphs.from_nested_lists import from_nested_lists
from tfp_spn.region_graphs.region_graph import RegionGraph


class OverlappingScopesException(ValueError):  # noqa: N818 - LibSPN-Keras' name
    """Children of a `RegionNode` share variables."""


class RegionVariable:
    """A leaf of a region tree: the region of one variable.

    Args:
      index: The variable, from 0.

    Raises:
      TypeError: If `index` is not an integer.
      ValueError: If `index` is negative.

    Example:
      >>> RegionVariable(3).scope
      frozenset({3})
    """

    def __init__(self, index: int) -> None:
        self.index = as_int(index, "`index` of a RegionVariable")
        if self.index < 0:
            raise ValueError(
                f"`index` of a RegionVariable must not be negative. Received {index}. "
                "Number the variables from 0."
            )

    @property
    def scope(self) -> frozenset[int]:
        """The variable."""
        return frozenset([self.index])

    @property
    def children(self) -> tuple[RegionNode | RegionVariable, ...]:
        """None."""
        return ()

    @property
    def depth(self) -> int:
        """Nodes below it on the longest path: 0."""
        return 0

    @property
    def total(self) -> int:
        """Variables in the scopes of all nodes below it: none."""
        return 0

    def __repr__(self) -> str:
        return f"RegionVariable({self.index})"


class RegionNode:
    """A region that splits into the regions of its children.

    Its scope is the union of theirs, which must not overlap.

    Args:
      children: `RegionNode`s or `RegionVariable`s, at least one.

    Raises:
      TypeError: If a child is of another type.
      ValueError: If there is no child, or scopes of children overlap.

    Example:
      >>> a, b, c = map(RegionVariable, range(3))
      >>> root = RegionNode([RegionNode([a, b]), c])
      >>> sorted(root.scope), root.depth
      ([0, 1, 2], 2)
      >>> root.to_region_graph()
      RegionGraph(num_variables=3, num_regions=5, num_partitions=2, depth=2)
    """

    def __init__(self, children: Sequence[RegionNode | RegionVariable]) -> None:
        self.children = as_sequence(children, "children")
        if not self.children:
            raise ValueError(
                "A RegionNode has no children. Expected at least one. Pass the regions "
                "that it splits into, or use a RegionVariable."
            )
        for child in self.children:
            if not isinstance(child, RegionNode | RegionVariable):
                raise TypeError(
                    f"A child of a RegionNode is of type {type(child).__name__}. "
                    "Expected a RegionNode or a RegionVariable. Wrap an integer i as "
                    "RegionVariable(i)."
                )
        self.total: int = sum(child.total + len(child.scope) for child in self.children)
        check_total(self.total, "A RegionNode is nested too deep", NEST_EVENLY)
        seen: set[int] = set()
        for child in self.children:
            shared = seen & child.scope
            if shared:
                raise OverlappingScopesException(
                    f"Children of a RegionNode overlap. Received {shown(self)}, in "
                    f"which more than one holds the variables {shown(sorted(shared))}. "
                    "Let each variable occur once."
                )
            seen |= child.scope
        self.scope: frozenset[int] = frozenset(seen)
        self.depth: int = 1 + max(child.depth for child in self.children)

    def to_region_graph(self) -> RegionGraph:
        """The same structure as a `RegionGraph`.

        A node with a single child is the region of that child.

        Returns:
          A tree, its regions in breadth-first order.

        Raises:
          ValueError: If variables are missing between 0 and the largest one.
        """
        return from_nested_lists(_nested(self))

    def __repr__(self) -> str:
        return f"RegionNode({list(self.children)!r})"


def _nested(root: RegionNode | RegionVariable) -> Any:
    result: list[Any] = []
    waiting = [(root, result)]  # nodes, and the list that each belongs to
    while waiting:
        node, siblings = waiting.pop()
        while isinstance(node, RegionNode) and len(node.children) == 1:
            node = node.children[0]
        if isinstance(node, RegionVariable):
            siblings.append(node.index)
        else:
            nest: list[Any] = []
            siblings.append(nest)
            waiting.extend((child, nest) for child in reversed(node.children))
    return result[0]
