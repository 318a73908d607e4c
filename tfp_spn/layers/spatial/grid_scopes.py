"""Which pixels the cells of a spatial layer cover.

A window slides over rows and columns independently, so the scope of a cell is always a
set of rows times a set of columns: one set per row and per column of cells says it all,
and checking a layer costs no more than its rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfp_spn._typing import TensorLike
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.ops.windows import AxisWindows, GridWindows

Sets = tuple[frozenset[int], ...]
Pixel = tuple[int, int]

_MOST_PIXELS = 8  # that a message lists
_ATTRIBUTE = "_tfp_spn_scopes"


@dataclass(frozen=True)
class GridScopes:
    """Scopes of a grid of cells over an image.

    Attributes:
        image: Height and width of the image.
        rows: The image's rows that each row of cells covers.
        columns: The same of columns.
    """

    image: tuple[int, int]
    rows: Sets
    columns: Sets

    @classmethod
    def of_pixels(cls, height: int, width: int) -> GridScopes:
        """One cell per pixel."""
        rows = tuple(frozenset([i]) for i in range(height))
        columns = tuple(frozenset([j]) for j in range(width))
        return cls((height, width), rows, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the grid of cells."""
        return len(self.rows), len(self.columns)

    def pixels(self, row: int, column: int) -> list[Pixel]:
        """The pixels of a cell, in order."""
        rows, columns = sorted(self.rows[row]), sorted(self.columns[column])
        return [(i, j) for i in rows for j in columns]

    def product(self, windows: GridWindows, label: str) -> GridScopes:
        """The scopes of products over windows.

        Raises:
            ValueError: If the factors of some product share a pixel.
        """
        rows, row_overlap = _slide(self.rows, windows.rows)
        columns, column_overlap = _slide(self.columns, windows.columns)
        # Cells of one row and several columns overlap only where that row has pixels.
        row_of_pixels = next((i for i, s in enumerate(rows) if s), None)
        column_of_pixels = next((j for j, s in enumerate(columns) if s), None)
        if row_overlap and column_of_pixels is not None:
            cell, first, second, shared = row_overlap
            others = _first_factor(self.columns, windows.columns, column_of_pixels)
            pixels = [(i, j) for i in sorted(shared) for j in sorted(others[1])]
            raise ValueError(
                _overlap(
                    label,
                    (cell, column_of_pixels),
                    (first, others[0]),
                    (second, others[0]),
                    pixels,
                )
            )
        if column_overlap and row_of_pixels is not None:
            cell, first, second, shared = column_overlap
            others = _first_factor(self.rows, windows.rows, row_of_pixels)
            pixels = [(i, j) for i in sorted(others[1]) for j in sorted(shared)]
            raise ValueError(
                _overlap(
                    label,
                    (row_of_pixels, cell),
                    (others[0], first),
                    (others[0], second),
                    pixels,
                )
            )
        return GridScopes(self.image, rows, columns)

    def check_complete(self, label: str) -> None:
        """Raises a `ValueError` unless every cell covers the whole image."""
        height, width = self.image
        whole = [frozenset(range(height)), frozenset(range(width))]
        for i, rows in enumerate(self.rows):
            for j, columns in enumerate(self.columns):
                if [rows, columns] == whole:
                    continue
                own = set(self.pixels(i, j))
                missing = [
                    pixel
                    for pixel in ((a, b) for a in range(height) for b in range(width))
                    if pixel not in own
                ]
                alike = len(set(self.rows)) == len(set(self.columns)) == 1
                raise ValueError(
                    f"{label}: {'not complete' if alike else 'not smooth'}. Received "
                    f"{self.shape[0]} by {self.shape[1]} cells, of which the cell "
                    f"{(i, j)} lacks the pixels {_listed(missing)}; expected that each "
                    f"cell covers all {height} by {width} pixels. Multiply further "
                    "below, at last by a Conv2DProduct with padding='final' and a "
                    "dilation of at least half the size of its input."
                )


def scopes_of(x: TensorLike) -> GridScopes | None:
    """The scopes of a symbolic tensor between layers, `None` if nothing is known."""
    known = getattr(x, _ATTRIBUTE, None)
    history = getattr(x, "_keras_history", None)
    if known is not None or history is None:
        return known
    operation = history.operation
    if isinstance(operation, BaseLeaf):
        return GridScopes.of_pixels(x.shape[1], x.shape[2])
    if getattr(operation, "keeps_scopes", False):
        return scopes_of(operation.input)
    return None


def attach_scopes(x: TensorLike, scopes: GridScopes | None) -> None:
    """Lets the next layer know the scopes of a symbolic tensor."""
    if scopes is not None:
        setattr(x, _ATTRIBUTE, scopes)


def _slide(sets: Sets, windows: AxisWindows) -> tuple[Sets, tuple | None]:
    """Unions of windows, and the first overlap: window, two positions, what they share.

    Reported even where the other axis makes the cells empty.
    """
    unions, overlap = [], None
    for window, positions in enumerate(windows.positions.T.tolist()):
        factors = [sets[p] if p >= 0 else frozenset() for p in positions]
        for a, first in enumerate(factors):
            for b, second in enumerate(factors[:a]):
                if first & second and overlap is None:
                    overlap = (window, b, a, first & second)
        unions.append(frozenset[int]().union(*factors))
    return tuple(unions), overlap


def _first_factor(
    sets: Sets, windows: AxisWindows, window: int
) -> tuple[int, frozenset[int]]:
    """The first position of a window that is not empty, and its set."""
    for place, position in enumerate(windows.positions[:, window].tolist()):
        if position >= 0 and sets[position]:
            return place, sets[position]
    return 0, frozenset()


def _overlap(
    label: str, cell: Pixel, first: Pixel, second: Pixel, pixels: list[Pixel]
) -> str:
    return (
        f"{label}: not decomposable. In the output cell {cell} the kernel positions "
        f"{first} and {second} share the pixels {_listed(pixels)}; expected factors of "
        "disjoint scopes. Use strides of the kernel's size and dilations 1 below, "
        "above them strides 1 and dilations that grow as the kernel's powers: 1, 2, 4, "
        "..."
    )


def _listed(pixels: list[Pixel]) -> str:
    text = ", ".join(map(str, pixels[:_MOST_PIXELS]))
    more = len(pixels) - _MOST_PIXELS
    return f"[{text}]" if more <= 0 else f"[{text}, ... ({more} more)]"
