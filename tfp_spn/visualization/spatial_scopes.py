"""Scopes of the cells of a spatial stack, over the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from tfp_spn._arguments import a_count, a_rate, a_text, reads, sequence_of
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.spatial.conv2d_product import Conv2DProduct
from tfp_spn.layers.spatial.grid_scopes import GridScopes
from tfp_spn.ops.windows import GridWindows
from tfp_spn.visualization._image_arrays import as_images
from tfp_spn.visualization._image_grid import ImageGrid
from tfp_spn.visualization._optional import import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BACKGROUND = 0.93  # grey of pixels outside the scope, where there is no image
_TINT = 0.75  # how much of a pixel is the colour of its factor


@reads(image_size=a_rate(above=0), title=a_text())
def plot_spatial_scopes(
    model: object,
    layer: str | Conv2DProduct | None = None,
    cell: tuple[int, int] | None = None,
    *,
    image: object = None,
    image_size: float = 1.6,
    title: str | None = None,
) -> Axes:
    """Draws which pixels a cell covers, and how products split them downwards.

    One picture per product layer, from the chosen one down to the leaves. In each of
    them the pixels of one cell are coloured by the position of the kernel that they
    come from; the last picture is the kernel, the key to the colours. The next picture
    shows the factor that covers most pixels (the first one of equals).

    Args:
        model: A `keras.Sequential` of spatial layers, built, or a list of them that
            begins with the leaf layer (layers before it are passed over).
        layer: The product to begin with, or its name. Default: the topmost.
        cell: Row and column of the cell of that layer. Default: the middle.
        image: ``[height, width]`` to draw behind, or ``[height, width, dims]``, of
            which the mean is drawn.
        image_size: Width of a picture in inches.
        title: Title of the figure.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If `model` is not a model or list of layers.
        ValueError: If there is no leaf or no product, the layer or cell does not exist,
            the image is of another size, or scopes overlap.
    """
    levels = _levels(model)
    levels = levels[: 1 + _position(levels, layer)]
    chosen = _checked_cell(levels[-1], cell)
    behind = _background(image, levels[0].below.image)
    colours = _colours(max(level.windows.num_positions for level in levels))
    grid = ImageGrid(
        1,
        len(levels) + 1,
        image_size,
        behind.shape[0] / behind.shape[1],
        title=title,
        lines_above_rows=2,
    )
    for column, level in enumerate(reversed(levels)):
        height, width = level.windows.shape
        picture = behind.copy()
        cells = _factors(level, chosen)
        for place, factor in cells.items():
            for pixel in level.below.pixels(*factor):
                picture[pixel] += _TINT * (colours[place] - picture[pixel])
        name = f"{level.layer.name}\ncell {chosen} of {height} x {width}"
        grid.draw(0, column, picture, name)
        sizes = [len(level.below.pixels(*factor)) for factor in cells.values()]
        if sizes:
            chosen = list(cells.values())[int(np.argmax(sizes))]
        else:
            chosen = (0, 0)  # a cell of padding only has nothing below
    kernel = levels[-1].windows
    shape = kernel.rows.kernel_size, kernel.columns.kernel_size
    grid.draw(
        0, len(levels), colours[: shape[0] * shape[1]].reshape(*shape, 3), "kernel"
    )
    return grid.figure


@dataclass(frozen=True)
class _Level:
    """A product layer, its windows and the scopes of the cells below it."""

    layer: Conv2DProduct
    windows: GridWindows
    below: GridScopes


def _levels(model: object) -> list[_Level]:
    layers = model.layers if isinstance(model, keras.Sequential) else model
    if not isinstance(layers, (list, tuple)):
        raise TypeError(
            "`model` must be a keras.Sequential or a list of layers. Received "
            f"{type(model).__name__}. Pass the layers of other models as a list."
        )
    scopes, levels = None, []
    for layer in layers:
        if isinstance(layer, BaseLeaf) and len(layer.slot_shape) == 2:
            scopes = GridScopes.of_pixels(*layer.slot_shape)
        elif isinstance(layer, Conv2DProduct) and scopes is not None:
            windows = layer.windows((None, *scopes.shape, 1))
            levels.append(_Level(layer, windows, scopes))
            scopes = scopes.product(windows, layer.label)
    if not levels:
        received = [type(layer).__name__ for layer in layers]
        raise ValueError(
            f"`model` has no spatial products. Received layers {received}; expected a "
            "built leaf layer and Conv2DProduct layers above it. Begin the model with "
            "keras.Input((height, width, dims))."
        )
    return levels


def _position(levels: Sequence[_Level], layer: object) -> int:
    if layer is None:
        return len(levels) - 1
    names = [level.layer.name for level in levels]
    name = getattr(layer, "name", layer)
    if name not in names:
        raise ValueError(
            f"`layer` is no product of the model. Received {name!r}; expected one of "
            f"{names}. Leave it out for the topmost."
        )
    return names.index(name)


def _checked_cell(level: _Level, cell: object) -> tuple[int, int]:
    height, width = level.windows.shape
    if cell is None:
        return height // 2, width // 2
    read = sequence_of(a_count(least=0), 2, ", the row and the column,")
    row, column = read(cell, "`cell`")
    if not (row < height and column < width):
        raise ValueError(
            f"`cell` does not exist. Received {(row, column)}; expected a row below "
            f"{height} and a column below {width} of {level.layer.label}. Count from 0."
        )
    return row, column


def _background(image: object, shape: tuple[int, int]) -> np.ndarray:
    """Grey ``[height, width, 3]`` from 0 to 1."""
    if image is None:
        return np.full([*shape, 3], _BACKGROUND)
    pixels = np.asarray(image, np.float64)
    if pixels.ndim == 3:
        pixels = pixels.mean(-1)
    [pixels] = as_images(pixels[np.newaxis], None, "image")
    if pixels.shape != shape:
        raise ValueError(
            f"`image` does not fit the model. Received {pixels.shape[0]} by "
            f"{pixels.shape[1]} pixels; expected {shape[0]} by {shape[1]}. Resize it."
        )
    spread = np.ptp(pixels)
    grey = (pixels - pixels.min()) / (spread if spread > 0 else 1.0)
    return np.repeat(1.0 - grey[..., np.newaxis], 3, axis=-1)


def _colours(count: int) -> np.ndarray:
    """RGB ``[count, 3]``, well apart."""
    colours = import_pyplot().get_cmap("tab10" if count <= 10 else "hsv")
    places = np.arange(count) if count <= 10 else np.linspace(0, 0.9, count)
    return np.array([colours(place)[:3] for place in places])


def _factors(level: _Level, cell: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """The cells below by their position in the kernel, without padding."""
    width = level.windows.columns.size
    positions = level.windows.positions[(slice(None), *cell)].tolist()
    cells = {place: divmod(p, width) for place, p in enumerate(positions) if p >= 0}
    return {place: c for place, c in cells.items() if level.below.pixels(*c)}
