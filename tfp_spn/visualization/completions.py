"""Completions of images of which a part is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfp_spn._arguments import a_rate, a_text, reads
from tfp_spn.visualization._image_arrays import as_images, as_mask, value_range
from tfp_spn.visualization._image_grid import ImageGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STDDEV = "standard\ndeviation"


@reads(title=a_text(), image_size=a_rate(above=0))
def plot_completions(
    original: object,
    observed: object,
    *,
    mode: object = None,
    mean: object = None,
    stddev: object = None,
    samples: object = None,
    shape: Sequence[int] | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray_r",
    image_size: float = 0.8,
) -> Figure:
    """Draws a row per image: the original, what is visible of it, its completions.

    Where `given` is ``spn.condition(original, observed)``, the completions are
    ``given.mode()``, ``given.mean()``, ``given.stddev()`` and ``given.sample(S)``.
    Hidden pixels are tinted in the second column.

    Args:
        original: ``[N, height, width]``, or ``[N, height * width]`` with `shape`.
        observed: bool, of the shape of `original` or of one image: which pixels are
            visible.
        mode: Max-product completions, of the shape of `original`, or `None`.
        mean: Conditional means, of the shape of `original`, or `None`.
        stddev: Conditional standard deviations, of the shape of `original`, or `None`;
            in colours of their own, from 0 (dark) to the largest (bright).
        samples: Conditional samples ``[num_samples, *original.shape]``, or `None`.
        shape: Height and width, if images are rows of pixels.
        title: Title of the figure.
        limits: Values of the first and the last colour. Default: the extremes of
            `original`.
        cmap: Name of a matplotlib colour map.
        image_size: Width of an image in inches.

    Returns:
        The matplotlib `Figure`; it has an axes for each image.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If `observed` is not bool.
        ValueError: If shapes do not agree.
    """
    original = as_images(original, shape, "original")
    count = len(original)
    if count == 0:
        raise ValueError("`original` is empty: pass at least one image.")
    observed = as_mask(observed, original, shape)
    columns = {"original": original, "visible": original}
    if mode is not None:
        columns["max-product\nmode"] = as_images(mode, shape, "mode", (count,))
    if mean is not None:
        columns["mean"] = as_images(mean, shape, "mean", (count,))
    if stddev is not None:
        columns[_STDDEV] = as_images(stddev, shape, "stddev", (count,))
    if samples is not None:
        for number, sample in enumerate(
            as_images(samples, shape, "samples", (None, count))
        ):
            columns[f"sample {number + 1}"] = sample
    low, high = value_range(original, limits)
    grid = ImageGrid(
        count,
        len(columns),
        image_size,
        original.shape[1] / original.shape[2],
        title=title,
        lines_above_first=max(name.count("\n") + 1 for name in columns),
    )
    for row in range(count):
        for column, (name, images) in enumerate(columns.items()):
            style = {"cmap": cmap, "vmin": low, "vmax": high}
            if name == _STDDEV:
                style = {"cmap": "viridis", "vmin": 0.0, "vmax": float(images.max())}
            hidden = ~observed[row] if name == "visible" else None
            heading = None if row else name
            grid.draw(row, column, images[row], heading, hidden=hidden, **style)
    return grid.figure
