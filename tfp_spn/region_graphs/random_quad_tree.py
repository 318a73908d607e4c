"""Random quad trees: an image is cut at random places, down to the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfp_spn._arguments import a_count, a_seed, as_int, reads
from tfp_spn.region_graphs.arguments import as_shape
from tfp_spn.region_graphs.rectangles import (
    Rectangle,
    cut_columns,
    cut_rows,
    split_recursively,
)
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(num_splits=as_int, num_repetitions=a_count(), seed=a_seed())
def random_quad_tree(
    shape: Sequence[int], num_splits: int = 2, num_repetitions: int = 1, seed: int = 0
) -> RegionGraph:
    """Splits an image like `quad_tree`, but where and along which side is drawn.

    With `num_splits=2` a rectangle is cut along one of its sides, drawn in proportion
    to their lengths; with `num_splits=4` along both, which gives four parts, or two
    where a side is a single pixel. Each cut lies in the middle half of its side. With
    several repetitions the whole image has one partition for each of them, and equal
    rectangles below are one region, with the cut that was drawn for it first.

    Args:
      shape: The height and width of the image.
      num_splits: The number of parts of a split, 2 or 4.
      num_repetitions: The number of partitions of the whole image. Equal ones count
        once, so that a small image may have fewer.
      seed: The seed of `numpy.random.default_rng`. Equal seeds give equal graphs.

    Returns:
      A `RegionGraph` whose region 0 is the whole image. Pixel (i, j) is variable
      `i * width + j`.

    Raises:
      ValueError: If `shape` is not two positive integers, `num_splits` not 2 or 4,
        `num_repetitions` below one, or the graph is too large for memory.

    Example:
      >>> random_quad_tree((28, 28), seed=1)
      RegionGraph(num_variables=784, num_regions=1567, num_partitions=783, depth=15)
      >>> random_quad_tree((28, 28), num_repetitions=4).num_regions > 1567
      True
    """
    if num_splits not in (2, 4):
        raise ValueError(
            f"`num_splits` is the number of parts of a split. Received {num_splits}; "
            "expected 2 or 4. Pass 2 to cut one side, 4 to cut both."
        )
    rng = np.random.default_rng(seed)
    cut = _cut_one_side if num_splits == 2 else _cut_both_sides

    def splits(rectangle: Rectangle, distance: int) -> list[tuple[Rectangle, ...]]:
        count = num_repetitions if distance == 0 else 1
        drawn = [cut(rectangle, rng) for _ in range(count)]
        return list(dict.fromkeys(parts for parts in drawn if len(parts) > 1))

    return split_recursively(as_shape(shape), splits)


def _cut_one_side(
    rectangle: Rectangle, rng: np.random.Generator
) -> tuple[Rectangle, ...]:
    """Two parts, or the pixel that the rectangle is."""
    top, bottom, left, right = rectangle
    height, width = bottom - top, right - left
    # A side of one pixel cannot be cut.
    rows, columns = height if height > 1 else 0, width if width > 1 else 0
    if not rows + columns:
        return (rectangle,)
    if rng.random() * (rows + columns) < rows:
        return cut_rows(rectangle, _place(top, bottom, rng))
    return cut_columns(rectangle, _place(left, right, rng))


def _cut_both_sides(
    rectangle: Rectangle, rng: np.random.Generator
) -> tuple[Rectangle, ...]:
    """Four parts, two if one side is a pixel, or the pixel that the rectangle is."""
    top, bottom, left, right = rectangle
    parts: tuple[Rectangle, ...] = (rectangle,)
    if bottom - top > 1:
        parts = cut_rows(rectangle, _place(top, bottom, rng))
    if right - left > 1:
        column = _place(left, right, rng)
        parts = tuple(piece for part in parts for piece in cut_columns(part, column))
    return parts


def _place(start: int, stop: int, rng: np.random.Generator) -> int:
    """A cut strictly between the ends, in the middle half."""
    margin = max((stop - start) // 4, 1)
    return int(rng.integers(start + margin, stop - margin + 1))
