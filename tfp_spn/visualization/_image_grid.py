"""Axes for many small images, placed by hand: layout engines are slow on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfp_spn.visualization._optional import import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_GAP = 0.08  # inches between images, and around them
_LINE = 0.16  # inches for a line of text
_HIDDEN = (0.70, 0.82, 0.93, 1.0)  # colour over pixels that are not visible
_SCALE = 0.6  # inches for a colour bar


class ImageGrid:
    """A figure with a grid of axes without ticks.

    Args:
        num_rows: Rows of images.
        num_columns: Columns of images.
        image_size: Width of an image in inches.
        ratio: Height of an image divided by its width.
        title: Title of the figure.
        lines_above_rows: Lines of text above every row.
        lines_above_first: Lines of text above the first row, more than those.
        room_beside: Room to the right of every image in inches.
        has_scale: Whether to leave room for a colour bar on the right.
    """

    def __init__(
        self,
        num_rows: int,
        num_columns: int,
        image_size: float,
        ratio: float,
        *,
        title: str | None = None,
        lines_above_rows: int = 0,
        lines_above_first: int = 0,
        room_beside: float = 0.0,
        has_scale: bool = False,
    ) -> None:
        image_height = image_size * ratio
        self._step = (
            image_size + _GAP + room_beside,
            image_height + _GAP + _LINE * lines_above_rows,
        )
        self._room_beside = room_beside
        self._size = (image_size, image_height)
        width = num_columns * self._step[0] + _GAP + _SCALE * has_scale
        head = _LINE * lines_above_first + (0.3 if title is not None else 0.0)
        height = num_rows * self._step[1] + _GAP + head
        # A title must not be cut off above a narrow grid.
        self._extent = (max(width, 0.085 * len(title or "") + 0.2), height)
        self._left = _GAP + (self._extent[0] - width) / 2
        self._top = height - head - self._step[1]
        self.figure = import_pyplot().figure(figsize=self._extent)
        if title is not None:
            self.figure.suptitle(title, fontsize=10, y=1 - 0.08 / height, va="top")

    def draw(
        self,
        row: int,
        column: int,
        image: np.ndarray,
        title: str | None = None,
        *,
        hidden: np.ndarray | None = None,
        **style: Any,
    ) -> AxesImage:
        """Draws an image in a new axes, its hidden pixels tinted.

        Returns:
            What `imshow` returns.
        """
        ax = self._axes(*self._corner(row, column), *self._size)
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(linewidth=0.5, color="0.6")
        if title is not None:
            ax.set_title(title, fontsize=8, pad=3)
        drawn = ax.imshow(image, **style)
        if hidden is not None:
            ax.imshow(hidden[..., np.newaxis] * np.asarray(_HIDDEN))
        return drawn

    def axes_beside(self, row: int, column: int) -> Axes:
        """A new axes to the right of an image."""
        left, bottom = self._corner(row, column)
        left += self._size[0] + _GAP
        width = self._room_beside - 3 * _GAP
        return self._axes(left, bottom + _LINE, width, self._size[1] - _LINE)

    def add_scale(self, drawn: object, num_columns: int) -> None:
        """A colour bar on the right."""
        left = self._left + num_columns * self._step[0] + _GAP
        bottom, top = 2 * _GAP, self._top + self._size[1] - _GAP
        self.figure.colorbar(drawn, cax=self._axes(left, bottom, 0.12, top - bottom))

    def _corner(self, row: int, column: int) -> tuple[float, float]:
        return (
            self._left + column * self._step[0],
            self._top - row * self._step[1],
        )

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        x, y = self._extent
        return self.figure.add_axes((left / x, bottom / y, width / x, height / y))
