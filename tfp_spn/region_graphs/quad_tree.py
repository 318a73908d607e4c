"""Quad trees: an image is halved, and its halves are halved, down to the pixels."""

from __future__ import annotations

from collections.abc import Sequence

from tfp_spn._arguments import as_int
from tfp_spn.region_graphs.arguments import as_shape
from tfp_spn.region_graphs.rectangles import (
    Rectangle,
    cut_columns,
    cut_rows,
    split_recursively,
)
from tfp_spn.region_graphs.region_graph import RegionGraph


def quad_tree(shape: Sequence[int], num_splits: int = 2) -> RegionGraph:
    """Splits an image into halves or quadrants, recursively, down to single pixels.

    Each rectangle has one partition, so the graph is a tree. With `num_splits=2` the
    longer side is halved; a square is first cut horizontally, into top and bottom. With
    `num_splits=4` both sides are halved at once, which gives four quadrants, or two
    halves where a side is a single pixel. The first half is the larger one of an odd
    side. Pixel (i, j) is variable `i * width + j`.

    Args:
      shape: The height and width of the image.
      num_splits: The number of parts of a split, 2 or 4.

    Returns:
      A `RegionGraph` whose region 0 is the whole image.

    Raises:
      ValueError: If `shape` is not two positive integers or `num_splits` not 2 or 4,
        or the graph is too large for memory.

    Example:
      >>> quad_tree((28, 28))
      RegionGraph(num_variables=784, num_regions=1567, num_partitions=783, depth=10)
      >>> quad_tree((2, 2), num_splits=4).partitions[0]
      ((1, 2, 3, 4),)

    References:
      [1]: Mari, Vessio and Vergari. Unifying and Understanding Overparameterized
        Circuit Representations via Low-Rank Tensor Decompositions. Tractable
        Probabilistic Modeling workshop, 2023.
        https://openreview.net/forum?id=1btutFdIya
    """
    num_splits = as_int(num_splits, "`num_splits`")
    if num_splits not in (2, 4):
        raise ValueError(
            f"`num_splits` is the number of parts of a split. Received {num_splits}; "
            "expected 2 or 4. Pass 2 to halve the longer side, 4 for quadrants."
        )
    halve = _halves if num_splits == 2 else _quadrants
    return split_recursively(as_shape(shape), lambda rectangle, _: halve(rectangle))


def _halves(rectangle: Rectangle) -> list[tuple[Rectangle, ...]]:
    """Cuts the longer side in the middle."""
    top, bottom, left, right = rectangle
    if max(bottom - top, right - left) == 1:
        return []
    if bottom - top >= right - left:
        return [cut_rows(rectangle, (top + bottom + 1) // 2)]
    return [cut_columns(rectangle, (left + right + 1) // 2)]


def _quadrants(rectangle: Rectangle) -> list[tuple[Rectangle, ...]]:
    """Cuts both sides in the middle, where they are longer than a pixel."""
    top, bottom, left, right = rectangle
    parts: tuple[Rectangle, ...] = (rectangle,)
    if bottom - top > 1:
        parts = cut_rows(rectangle, (top + bottom + 1) // 2)
    if right - left > 1:
        middle = (left + right + 1) // 2
        parts = tuple(piece for part in parts for piece in cut_columns(part, middle))
    return [parts] if len(parts) > 1 else []
