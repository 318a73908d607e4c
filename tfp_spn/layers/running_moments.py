"""Mean and variance of data that come in batches."""

from __future__ import annotations

from typing import Any

import numpy as np


class RunningMoments:
    """Adds batches up, in double precision.

    Args:
        owner: Who needs the moments, for messages.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.count = 0
        self.shape: tuple[int, ...] = ()
        self._mean: Any = 0.0
        self._squares: Any = 0.0  # squared deviations from the mean

    def add(self, batch: object) -> None:
        """Adds a batch ``[examples, ...]``."""
        x = np.asarray(batch, np.float64)
        if x.ndim < 2 or (self.count and x.shape[1:] != self.shape):
            raise ValueError(
                f"{self.owner}: received a batch of shape {x.shape}, expected "
                f"[examples, {', '.join(map(str, self.shape)) or '...'}]. Pass batches "
                "of examples of one shape."
            )
        if not np.all(np.isfinite(x)):
            raise ValueError(
                f"{self.owner}: received data with NaN or infinite values, expected "
                "finite numbers. Leave out or fill in missing values."
            )
        if not len(x):
            return
        self.shape = x.shape[1:]
        total = self.count + len(x)
        with np.errstate(all="ignore"):  # overflow is told by who needs the result
            shift = x.mean(0) - self._mean
            self._squares = (
                self._squares
                + np.square(x - x.mean(0)).sum(0)
                + np.square(shift) * self.count * len(x) / total
            )
            self._mean = self._mean + shift * len(x) / total
        self.count = total

    def result(self, over_variables: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance, of each variable or of all together."""
        if not self.count:
            raise ValueError(
                f"{self.owner}: received no data, expected at least one example."
            )
        variance = self._squares / self.count
        if not over_variables:
            return self._mean, variance
        mean = np.mean(self._mean)
        spread = np.square(self._mean - mean)
        return mean, np.mean(variance + spread)
