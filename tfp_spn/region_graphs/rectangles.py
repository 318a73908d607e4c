"""Region graphs over images whose regions are rectangles of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.region_graphs.region_graph import RegionGraph

# The half-open ranges of rows and columns: top, bottom, left, right.
Rectangle = tuple[int, int, int, int]


def cut_rows(rectangle: Rectangle, row: int) -> tuple[Rectangle, Rectangle]:
    """Returns the rectangles above and below a horizontal cut at `row`."""
    top, bottom, left, right = rectangle
    return (top, row, left, right), (row, bottom, left, right)


def cut_columns(rectangle: Rectangle, column: int) -> tuple[Rectangle, Rectangle]:
    """Returns the rectangles left and right of a vertical cut at `column`."""
    top, bottom, left, right = rectangle
    return (top, bottom, left, column), (top, bottom, column, right)


def split_recursively(
    shape: tuple[int, int],
    splits: Callable[[Rectangle, int], Iterable[Sequence[Rectangle]]],
) -> RegionGraph:
    """Makes the region graph that starts at the whole image and follows `splits`.

    Equal rectangles are one region, however they are reached. Regions are numbered in
    breadth-first order, so the whole image is region 0. Pixel (i, j) is variable
    `i * width + j`.

    Args:
      shape: The height and width of the image.
      splits: Maps a rectangle, and the fewest partitions between it and the whole
        image, to the rectangle's partitions.
    """
    height, width = shape
    total = height * width
    _check_pixels(total, shape)
    whole = (0, height, 0, width)
    region_of = {whole: 0}
    distances = [0]
    queue = [whole]
    partitions: list[tuple[int, list[int]]] = []
    for region, rectangle in enumerate(queue):  # grows while it is walked
        for parts in splits(rectangle, distances[region]):
            for part in parts:
                if part not in region_of:
                    region_of[part] = len(queue)
                    queue.append(part)
                    distances.append(distances[region] + 1)
                    total += _num_pixels(part)
                    _check_pixels(total, shape)
            partitions.append((region, [region_of[part] for part in parts]))
    return RegionGraph([_pixels(rectangle, width) for rectangle in queue], partitions)


def _check_pixels(total: int, shape: tuple[int, int]) -> None:
    """Refuses graphs of too many or too large rectangles while they are made."""
    check_total(
        total, f"shape={shape} is too large", "Pass a smaller image, or fewer cuts."
    )


def _num_pixels(rectangle: Rectangle) -> int:
    top, bottom, left, right = rectangle
    return (bottom - top) * (right - left)


def _pixels(rectangle: Rectangle, width: int) -> list[int]:
    """The variables of a rectangle."""
    top, bottom, left, right = rectangle
    return [i * width + j for i in range(top, bottom) for j in range(left, right)]
