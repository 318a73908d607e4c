"""Class posteriors of images, as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfp_spn._arguments import a_count, a_rate, a_text, reads
from tfp_spn._typing import TensorLike
from tfp_spn.visualization._image_arrays import as_images, as_mask, value_range
from tfp_spn.visualization._image_grid import ImageGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@reads(num_columns=a_count(), title=a_text(), image_size=a_rate(above=0))
def plot_class_posteriors(
    images: TensorLike,
    probs: TensorLike,
    shape: Sequence[int] | None = None,
    *,
    observed: TensorLike | None = None,
    labels: TensorLike | None = None,
    num_columns: int = 3,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray_r",
    image_size: float = 0.8,
) -> Figure:
    """Draws bars of the class probabilities, from 0 to 1, beside each image.

    Args:
        images: ``[N, height, width]``, or ``[N, height * width]`` with `shape`.
        probs: Probabilities ``[N, classes]``: what ``spn.posterior_marginal(images,
            observed=observed).probs_parameter()`` returns.
        shape: Height and width, if `images` are rows of pixels.
        observed: bool, of the shape of `images` or of one image: which pixels are
            visible; the others are tinted. Default: all.
        labels: Classes, int ``[N]``; their bars are in another colour.
        num_columns: Images per row.
        title: Title of the figure.
        limits: Values of the first and the last colour. Default: the extremes.
        cmap: Name of a matplotlib colour map.
        image_size: Width of an image in inches.

    Returns:
        The matplotlib `Figure`; it has two axes for each image.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If `observed` is not bool.
        ValueError: If shapes do not agree.
    """
    images = as_images(images, shape, "images")
    probs = np.asarray(probs)
    count = len(images)
    if probs.ndim != 2 or len(probs) != count or not probs.size:
        raise ValueError(
            f"`probs` does not fit `images`. Received shape {probs.shape} for {count} "
            "images; expected a row of probabilities for each image, and an image at "
            "least. Pass the posterior of the same images."
        )
    if labels is not None and np.shape(labels) != (count,):
        raise ValueError(
            f"`labels` must have a class for each image. Received shape "
            f"{np.shape(labels)}; expected ({count},). Pass one for each, or None."
        )
    if observed is not None:
        observed = as_mask(observed, images, shape)
    low, high = value_range(images, limits)
    num_columns = min(num_columns, count)
    grid = ImageGrid(
        math.ceil(count / num_columns),
        num_columns,
        image_size,
        images.shape[1] / images.shape[2],
        title=title,
        room_beside=2.2 * image_size,
    )
    for number, image in enumerate(images):
        row, column = divmod(number, num_columns)
        hidden = None if observed is None else ~observed[number]
        grid.draw(row, column, image, hidden=hidden, cmap=cmap, vmin=low, vmax=high)
        label = None if labels is None else labels[number]
        _draw_bars(grid.axes_beside(row, column), probs[number], label)
    return grid.figure


def _draw_bars(ax: Axes, probs: np.ndarray, label: int | None) -> None:
    classes = range(len(probs))
    ax.bar(classes, probs, color=["C0" if c == label else "0.65" for c in classes])
    ax.set(ylim=(0, 1), yticks=[], facecolor="0.96")
    if len(classes) <= 20:
        ax.set_xticks(classes)
    ax.tick_params(labelsize=6, length=0, pad=2)
    ax.spines[["left", "top", "right"]].set_visible(False)
