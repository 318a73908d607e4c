"""The region graph: which variables each part of a circuit is about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfp_spn.region_graphs import validation
from tfp_spn.region_graphs.arguments import as_int, shown

_FORMAT = "tfp_spn.RegionGraph"
_VERSION = 1


class RegionGraph:
    """A rooted acyclic graph of regions and partitions: the skeleton of a circuit.

    A region is a set of variables, its scope. A partition splits a region into two or
    more disjoint child regions that together have the same scope. A circuit puts a
    vector of sums (or leaves) on each region and a product on each partition:

        p_region(x) = sum_partitions sum_k weight[k] prod_children p_child(x)[k]

    so a valid region graph is a smooth and decomposable circuit, and every circuit
    query is exact. Regions are known by their position in `scopes`. Two regions may
    have the same scope; they are then different regions with their own parameters.
    The graph is checked when it is made and cannot be changed afterwards.

    Attributes:
      scopes: The sorted variables of each region.
      partitions: For each region its partitions, each a tuple of child region ids in
        the order given.
      roots: The regions without parents. Each has the full scope.
      num_variables: The number of variables; they are 0, ..., num_variables - 1.
      leaves: The regions without partitions.
      heights: For each region the longest number of partitions from it down to a leaf.
      topological_order: All regions, children before parents, by height and then id.

    Args:
      scopes: The variables of each region, one iterable of integers per region.
      partitions: Pairs `(region, children)`.
      roots: The regions without parents. `None` means that there is exactly one.

    Raises:
      TypeError: If a variable or region id is not an integer.
      ValueError: If the graph is not valid: children that overlap or do not make up
        their parent, a cycle, an empty scope, a partition with one child or named
        twice, an unknown region, variables that are not 0, ..., n - 1, a region that
        no root reaches, a root that lacks variables. The message names the regions. Or
        if the scopes are too long for memory, 20 million variables altogether.

    Example:
      >>> graph = RegionGraph([(0, 1, 2), (0, 1), (2,), (0,), (1,)],
      ...                     [(0, (1, 2)), (1, (3, 4))])
      >>> graph
      RegionGraph(num_variables=3, num_regions=5, num_partitions=2, depth=2)
      >>> graph.leaves
      (2, 3, 4)
      >>> graph.topological_order
      (2, 3, 4, 1, 0)

    References:
      [1]: Poon and Domingos. Sum-Product Networks: A New Deep Architecture. UAI, 2011.
      [2]: Peharz et al. Random Sum-Product Networks. UAI, 2019.
    """

    __slots__ = (
        "_hash",
        "_parents",
        "heights",
        "leaves",
        "num_variables",
        "partitions",
        "roots",
        "scopes",
        "topological_order",
    )

    _hash: int
    _parents: tuple[tuple[int, ...], ...]
    heights: tuple[int, ...]
    leaves: tuple[int, ...]
    num_variables: int
    partitions: tuple[tuple[tuple[int, ...], ...], ...]
    roots: tuple[int, ...]
    scopes: tuple[tuple[int, ...], ...]
    topological_order: tuple[int, ...]

    def __init__(
        self,
        scopes: Sequence[Iterable[int]],
        partitions: Iterable[tuple[int, Sequence[int]]],
        roots: Sequence[int] | None = None,
    ) -> None:
        try:
            scopes = validation.normalized_scopes(scopes)
            by_region = validation.normalized_partitions(scopes, partitions)
            # A cycle always breaks a scope too; it is the cause, and named first.
            heights = validation.check_heights(scopes, by_region)
            validation.check_decomposable(scopes, by_region)
            num_variables = validation.check_variables(scopes)
            roots = validation.checked_roots(scopes, by_region, roots, num_variables)
        except (TypeError, ValueError) as error:
            error.args = (f"RegionGraph: {error}",)
            raise
        regions = range(len(scopes))
        values = {
            "_hash": hash((scopes, by_region, roots)),
            "_parents": validation.parents_of(by_region),
            "heights": heights,
            "leaves": tuple(r for r in regions if not by_region[r]),
            "num_variables": num_variables,
            "partitions": by_region,
            "roots": roots,
            "scopes": scopes,
            "topological_order": tuple(sorted(regions, key=lambda r: (heights[r], r))),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def num_regions(self) -> int:
        """The number of regions."""
        return len(self.scopes)

    @property
    def num_partitions(self) -> int:
        """The number of partitions of all regions together."""
        return sum(len(entries) for entries in self.partitions)

    @property
    def depth(self) -> int:
        """The longest number of partitions from a root to a leaf."""
        return max(self.heights[root] for root in self.roots)

    @property
    def is_tree(self) -> bool:
        """Whether there is one root and no region is used in two partitions."""
        children = sum(len(p) for entries in self.partitions for p in entries)
        # Every other region is a child at least once, so equal counts mean just once.
        return len(self.roots) == 1 and children == self.num_regions - 1

    @property
    def is_structured_decomposable(self) -> bool:
        """Whether regions with equal scopes always split into equal scopes."""
        splits: dict[tuple[int, ...], frozenset[tuple[int, ...]]] = {}
        for scope, entries in zip(self.scopes, self.partitions, strict=True):
            for children in entries:
                split = frozenset(self.scopes[child] for child in children)
                if splits.setdefault(scope, split) != split:
                    return False
        return True

    def parents(self, region: int) -> tuple[int, ...]:
        """Returns the sorted ids of the regions that have `region` in a partition."""
        region = as_int(region, "`region`")
        if not 0 <= region < self.num_regions:
            raise ValueError(
                f"`region` is not a region of this graph. Received {region}; expected "
                f"an id from 0 to {self.num_regions - 1}. Pass such an id."
            )
        return self._parents[region]

    def to_json(self) -> str:
        """Returns the graph as JSON text that `from_json` reads back."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "scopes": self.scopes,
            "partitions": self._flat_partitions(),
            "roots": self.roots,
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> RegionGraph:
        """Makes a graph from the text of `to_json`; the graph is checked again."""
        if not isinstance(text, str | bytes | bytearray):
            raise TypeError(
                "RegionGraph.from_json: the text is none. Received a value of type "
                f"{type(text).__name__}; expected the text that `RegionGraph.to_json` "
                "returns. Pass it, or use `RegionGraph.load` for a file."
            )
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:  # of syntax, encoding, digits
            raise ValueError(
                f"RegionGraph.from_json: the text is not JSON: {error}. Expected the "
                "text that `RegionGraph.to_json` returns. Write it again."
            ) from error
        found = content if isinstance(content, dict) else {}
        kind, version = found.get("format"), found.get("version")
        if (kind, version) != (_FORMAT, _VERSION) or isinstance(version, bool | float):
            raise ValueError(
                "RegionGraph.from_json: the JSON is not a region graph of this "
                f"version. Received format {shown(kind)}, version {shown(version)}; "
                f"expected {_FORMAT!r}, version {_VERSION}. Write it with "
                "`RegionGraph.to_json`."
            )
        missing = [k for k in ("scopes", "partitions", "roots") if k not in found]
        if missing:
            raise ValueError(
                f"RegionGraph.from_json: the JSON lacks {missing}. Received the keys "
                f"{shown(sorted(found))}. Write it with `RegionGraph.to_json`."
            )
        return cls(found["scopes"], found["partitions"], found["roots"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the graph to a JSON file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RegionGraph:
        """Reads a graph from a file that `save` wrote."""
        return cls.from_json(Path(path).read_bytes())

    def _flat_partitions(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The partitions as the constructor takes them."""
        return tuple(
            (region, children)
            for region, entries in enumerate(self.partitions)
            for children in entries
        )

    def __setattr__(self, name: str, value: object) -> None:
        """Refuses: the graph is immutable."""
        raise AttributeError(
            f"A RegionGraph cannot be changed: received a value for {name!r}. Make a "
            "new RegionGraph instead."
        )

    def __delattr__(self, name: str) -> None:
        """Refuses: the graph is immutable."""
        raise AttributeError(
            f"A RegionGraph cannot be changed: asked to delete {name!r}. Make a new "
            "RegionGraph instead."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles by the constructor, so that an unpickled graph is checked."""
        return (RegionGraph, (self.scopes, self._flat_partitions(), self.roots))

    def __copy__(self) -> RegionGraph:
        """An immutable graph is its own copy."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RegionGraph:
        """An immutable graph is its own copy."""
        return self

    def __eq__(self, other: object) -> bool:
        """Whether ids, scopes, partitions and their order all agree."""
        if not isinstance(other, RegionGraph):
            return NotImplemented
        return (self.scopes, self.partitions, self.roots) == (
            other.scopes,
            other.partitions,
            other.roots,
        )

    def __hash__(self) -> int:
        """Agrees with equality."""
        return self._hash

    def __repr__(self) -> str:
        """Shows the counts only."""
        return (
            f"RegionGraph(num_variables={self.num_variables}, "
            f"num_regions={self.num_regions}, num_partitions={self.num_partitions}, "
            f"depth={self.depth})"
        )
