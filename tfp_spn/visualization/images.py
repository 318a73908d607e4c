"""Images in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tfp_spn.visualization._image_arrays import as_images, value_range
from tfp_spn.visualization._image_grid import ImageGrid


def plot_images(
    images: Any,
    shape: Sequence[int] | None = None,
    *,
    num_columns: int | None = None,
    titles: Sequence[str] | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray_r",
    image_size: float = 0.8,
    show_scale: bool = False,
) -> Any:
    """Draws images of one channel in a grid, row by row.

    Args:
        images: ``[N, height, width]``, or ``[N, height * width]`` with `shape`: what
            ``spn.sample(N)`` returns.
        shape: Height and width, if `images` are rows of pixels.
        num_columns: Images per row. Default: about a square.
        titles: A title for each image.
        title: Title of the figure.
        limits: Values of the first and the last colour. Default: the extremes.
        cmap: Name of a matplotlib colour map.
        image_size: Width of an image in inches.
        show_scale: Whether to draw a colour bar.

    Returns:
        The matplotlib `Figure`; it has an axes for each image (and the colour bar).

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `images` are of another shape or `titles` of another number.
    """
    images = as_images(images, shape, "images")
    count = len(images)
    if count == 0:
        raise ValueError("`images` is empty: pass at least one image.")
    if titles is not None and len(titles) != count:
        raise ValueError(
            f"`titles` must name each image. Received {len(titles)} titles for {count} "
            "images. Pass one for each, or None."
        )
    low, high = value_range(images, limits)
    num_columns = min(num_columns or math.ceil(math.sqrt(count)), count)
    grid = ImageGrid(
        math.ceil(count / num_columns),
        num_columns,
        image_size,
        images.shape[1] / images.shape[2],
        title=title,
        lines_above_rows=max((t.count("\n") + 1 for t in titles or ()), default=0),
        has_scale=show_scale,
    )
    for number, image in enumerate(images):
        row, column = divmod(number, num_columns)
        name = None if titles is None else titles[number]
        drawn = grid.draw(row, column, image, name, cmap=cmap, vmin=low, vmax=high)
    if show_scale:
        grid.add_scale(drawn, num_columns)
    return grid.figure
