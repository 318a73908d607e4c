"""Quad graphs: quad trees in which every square is halved in both directions."""

from __future__ import annotations

from collections.abc import Sequence

from tfp_spn.region_graphs.arguments import as_shape
from tfp_spn.region_graphs.rectangles import (
    Rectangle,
    cut_columns,
    cut_rows,
    split_recursively,
)
from tfp_spn.region_graphs.region_graph import RegionGraph


def quad_graph(shape: Sequence[int]) -> RegionGraph:
    """Merges 2x2 neighbouring blocks, from the pixels up, in both orders.

    Blocks have sides of 1, 2, 4, ... pixels and are cut off at the border of the image.
    The four quadrants a, b (top) and c, d (bottom) of a block give

        block = top * bottom and left * right,
        top = a * b, bottom = c * d, left = a * c, right = b * d,

    so a block is a region with two partitions that share the quadrants. At the border
    only the quadrants that exist are merged. Equal rectangles are one region. Pixel
    (i, j) is variable `i * width + j`.

    Args:
      shape: The height and width of the image.

    Returns:
      A `RegionGraph` whose region 0 is the whole image.

    Raises:
      ValueError: If `shape` is not two positive integers, or the graph is too large
        for memory.

    Example:
      >>> quad_graph((28, 28))
      RegionGraph(num_variables=784, num_regions=2085, num_partitions=1560, depth=10)
      >>> quad_graph((2, 2)).partitions[0]
      ((1, 2), (3, 4))

    References:
      [1]: Mari, Vessio and Vergari. Unifying and Understanding Overparameterized
        Circuit Representations via Low-Rank Tensor Decompositions. Tractable
        Probabilistic Modeling workshop, 2023.
        https://openreview.net/forum?id=1btutFdIya
      [2]: Loconte et al. What is the Relationship between Tensor Factorizations and
        Circuits (and How Can We Exploit it)? TMLR, 2025.
    """
    return split_recursively(as_shape(shape), lambda rectangle, _: _splits(rectangle))


def _splits(rectangle: Rectangle) -> list[tuple[Rectangle, ...]]:
    """The one or two ways in which a rectangle was merged from smaller ones."""
    top, bottom, left, right = rectangle
    row, row_level = _last_merge(top, bottom)
    column, column_level = _last_merge(left, right)
    if row_level == column_level == 0:
        return []
    # A half of a block was merged at a higher level along its longer direction only.
    if row_level > column_level:
        return [cut_rows(rectangle, row)]
    if row_level < column_level:
        return [cut_columns(rectangle, column)]
    return [cut_rows(rectangle, row), cut_columns(rectangle, column)]


def _last_merge(start: int, stop: int) -> tuple[int, int]:
    """Where two aligned blocks met to give start, ..., stop - 1, and on which level.

    Blocks of level l have the side 2**l, so this is the multiple of the highest power
    of two inside the range: the highest bit in which `start` and `stop - 1` differ.
    """
    level = (start ^ (stop - 1)).bit_length()
    return ((stop - 1) >> (level - 1)) << (level - 1) if level else start, level
