"""Windows that slide over a grid: which positions a kernel meets, and their sums.

A window is separable: rows and columns slide independently. Positions outside the grid
are padding, whose log-value is 0: nothing is multiplied there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import reshape_axes


@dataclass(frozen=True)
class AxisWindows:
    """The windows along one axis.

    Attributes:
        size: Length of the axis.
        kernel_size: Positions that a window holds.
        stride: Distance between windows.
        dilation: Distance between the positions of a window.
        before: Padding before the first position.
        after: Padding after the last one.
    """

    size: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        """From the first to the last position of a window, both included."""
        return (self.kernel_size - 1) * self.dilation + 1

    @property
    def num_windows(self) -> int:
        """How many windows there are."""
        room = self.size + self.before + self.after - self.extent
        return room // self.stride + 1

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """int32 ``[kernel_size, num_windows]``, -1 in the padding."""
        start = np.arange(self.num_windows) * self.stride - self.before
        position = start + np.arange(self.kernel_size)[:, np.newaxis] * self.dilation
        inside = (position >= 0) & (position < self.size)
        return np.where(inside, position, -1).astype(np.int32)

    def take(self, x: Tensor, axis: int) -> list[Tensor]:
        """The values at each position of the kernel, ``[..., num_windows, ...]``."""
        lead = [slice(None)] * axis
        if self.stride == self.kernel_size * self.dilation and self.dilation == 1:
            whole = self.num_windows * self.stride  # side by side: split, no strides
            after = max(0, whole - self.size - self.before)
            x = _padded(x, axis, self.before, after)
            x = x[(*lead, slice(0, whole))]
            x = reshape_axes(x, axis, axis + 1, [self.num_windows, self.stride])
            return tf.unstack(x, axis=axis + 1)
        x = _padded(x, axis, self.before, self.after)
        span = (self.num_windows - 1) * self.stride + 1
        starts = [a * self.dilation for a in range(self.kernel_size)]
        return [x[(*lead, slice(a, a + span, self.stride))] for a in starts]


@dataclass(frozen=True)
class GridWindows:
    """The windows on a grid, row by row."""

    rows: AxisWindows
    columns: AxisWindows

    @property
    def shape(self) -> tuple[int, int]:
        """How many windows there are along each axis."""
        return self.rows.num_windows, self.columns.num_windows

    @property
    def num_positions(self) -> int:
        """Positions of a window."""
        return self.rows.kernel_size * self.columns.kernel_size

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """int32 ``[num_positions, *shape]``: cells ``row * width + column``, or -1."""
        row = self.rows.positions[:, np.newaxis, :, np.newaxis]
        column = self.columns.positions[np.newaxis, :, np.newaxis, :]
        cell = np.where((row < 0) | (column < 0), -1, row * self.columns.size + column)
        return cell.reshape(self.num_positions, *self.shape)

    def take(self, x: Tensor, axis: int) -> list[Tensor]:
        """The values at each position of the kernel, in its order; 0 in padding.

        Args:
            x: ``[..., height, width, ...]``, `height` at `axis`.
            axis: Not negative.
        """
        rows = self.rows.take(x, axis)
        return [cell for row in rows for cell in self.columns.take(row, axis + 1)]

    def sum(self, x: Tensor, axis: int) -> Tensor:
        """The sum of `take`, along one axis after the other."""
        rows = functools.reduce(tf.add, self.rows.take(x, axis))
        return functools.reduce(tf.add, self.columns.take(rows, axis + 1))


def _padded(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    if not (before or after):
        return x
    paddings = [[0, 0]] * x.shape.rank
    paddings[axis] = [before, after]
    return tf.pad(x, paddings)
