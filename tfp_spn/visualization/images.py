"""Images in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfp_spn._arguments import a_count, a_flag, a_rate, a_text, reads
from tfp_spn._typing import TensorLike
from tfp_spn.visualization._image_arrays import as_images, as_mask, value_range
from tfp_spn.visualization._image_grid import ImageGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@reads(
    num_columns=a_count(),
    title=a_text(),
    image_size=a_rate(above=0),
    show_scale=a_flag(),
)
def plot_images(
    images: object,
    shape: Sequence[int] | None = None,
    *,
    observed: object = None,
    num_columns: int | None = None,
    titles: Sequence[str] | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray_r",
    image_size: float = 0.8,
    show_scale: bool = False,
) -> Figure:
    """Draws images of one channel in a grid, row by row.

    Args:
        images: ``[N, height, width]``, or ``[N, height * width]`` with `shape`: what
            ``spn.sample(N)`` returns.
        shape: Height and width, if `images` are rows of pixels.
        observed: bool, of the shape of `images` or of one of them: which pixels are
            visible. The others, and those that are NaN, are tinted. Default: all.
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
    hidden = _is_hidden(images, observed, shape)
    low, high = value_range(images[~hidden], limits)
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
        tint = hidden[number] if hidden[number].any() else None
        drawn = grid.draw(
            row, column, image, name, hidden=tint, cmap=cmap, vmin=low, vmax=high
        )
    if show_scale:
        grid.add_scale(drawn, num_columns)
    return grid.figure


def _is_hidden(
    images: np.ndarray, observed: TensorLike | None, shape: Sequence[int] | None
) -> np.ndarray:
    """Which pixels are missing, bool of the shape of `images`."""
    hidden = np.zeros(images.shape, bool)
    if images.dtype.kind == "f":
        hidden |= np.isnan(images)
    return hidden if observed is None else hidden | ~as_mask(observed, images, shape)
