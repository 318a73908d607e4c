"""The Poon-Domingos structure: every rectangle is cut in every way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfp_spn._arguments import a_count, reads
from tfp_spn.region_graphs.arguments import as_sequence, as_shape
from tfp_spn.region_graphs.rectangles import (
    Rectangle,
    cut_columns,
    cut_rows,
    split_recursively,
)
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(max_depth=a_count())
def poon_domingos(
    shape: Sequence[int], delta: int | Sequence[int], max_depth: int | None = None
) -> RegionGraph:
    """Cuts an image, and each part of it, at every multiple of `delta` in both axes.

    A rectangle has one partition into two rectangles per row or column that is a
    multiple of `delta` inside it. With several deltas, coarse to fine, a rectangle is
    cut at the multiples of the first delta that has any inside it. Rectangles that no
    cut splits are the leaves; they have several variables if `delta` exceeds one. Equal
    rectangles are one region. Pixel (i, j) is variable `i * width + j`.

    The number of regions grows as `(height * width / delta**2)**2 / 4` and that of
    partitions faster still; for images choose `delta` about a quarter of a side.

    Args:
      shape: The height and width of the image.
      delta: The distance of the cuts, or several distances in decreasing order.
      max_depth: If given, a rectangle is cut only if fewer than `max_depth` cuts lead
        from the whole image to it. (The fewest cuts count: longer ways may exist.)

    Returns:
      A `RegionGraph` whose region 0 is the whole image.

    Raises:
      ValueError: If `shape` is not two positive integers, a delta or `max_depth` is
        below one, the deltas do not decrease, or the graph is too large for memory.

    Example:
      >>> poon_domingos((28, 28), delta=7)
      RegionGraph(num_variables=784, num_regions=100, num_partitions=200, depth=6)
      >>> poon_domingos((1, 3), delta=1).scopes
      ((0, 1, 2), (0,), (1, 2), (0, 1), (2,), (1,))

    References:
      [1]: Poon and Domingos. Sum-Product Networks: A New Deep Architecture. UAI, 2011.
        https://arxiv.org/abs/1202.3732
    """
    deltas = _as_deltas(delta)

    def splits(rectangle: Rectangle, distance: int) -> list[tuple[Rectangle, ...]]:
        if max_depth is not None and distance >= max_depth:
            return []
        return next(filter(None, (_cuts(rectangle, step) for step in deltas)), [])

    return split_recursively(as_shape(shape), splits)


def _cuts(rectangle: Rectangle, step: int) -> list[tuple[Rectangle, ...]]:
    """All partitions at the multiples of `step` strictly inside the rectangle."""
    top, bottom, left, right = rectangle
    rows = range((top // step + 1) * step, bottom, step)
    columns = range((left // step + 1) * step, right, step)
    return [
        *(cut_rows(rectangle, row) for row in rows),
        *(cut_columns(rectangle, column) for column in columns),
    ]


def _as_deltas(delta: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the distances of the cuts, coarse to fine."""
    steps = as_sequence(delta, "delta") if isinstance(delta, Iterable) else (delta,)
    deltas = tuple(a_count()(step, "`delta`") for step in steps)
    if not deltas or sorted(set(deltas), reverse=True) != list(deltas):
        raise ValueError(
            f"`delta` lists distances of cuts from coarse to fine. Received {deltas}; "
            "expected at least one, strictly decreasing. Sort them, without repeats."
        )
    return deltas
