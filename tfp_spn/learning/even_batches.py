"""Batches in which the weights of examples are spread evenly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class EvenBatches:
    """Divides examples into batches, so that none is ruled by a single example.

    An example that weighs more than all of them do on average in a place of a batch,
    ``sum(sample_weight) / batch_size``, is in every batch with an equal part of its
    weight; only the heaviest of these, if they would take more than half of the places.
    Each other example is in one batch. So an epoch passes every weight once, and
    batches are alike even if one row counts a thousand times.

    Args:
        num_examples: At least one.
        batch_size: At least one.
        sample_weight: ``[N]``, not negative; `None`: all count once.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        sample_weight: npt.ArrayLike | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.weight = np.ones([num_examples])
        if sample_weight is not None:
            self.weight = np.asarray(sample_weight, np.float64)
        heavy = np.zeros([num_examples], bool)
        if num_examples > batch_size:
            order = np.argsort(-self.weight, kind="stable")[: batch_size // 2]
            heavy[order] = self.weight[order] > self.weight.sum() / batch_size
        self.heavy, self.light = np.flatnonzero(heavy), np.flatnonzero(~heavy)
        self._places = batch_size - len(self.heavy)
        self.count = max(1, -(-len(self.light) // self._places))

    def __call__(
        self, rng: np.random.Generator | None
    ) -> Iterator[tuple[Rows, npt.NDArray[np.float64]]]:
        """Yields rows and weights of the batches of an epoch.

        Args:
            rng: Of their order; `None`: as they are.
        """
        light = self.light if rng is None else rng.permutation(self.light)
        for number in range(self.count):
            own = light[number * self._places : (number + 1) * self._places]
            rows = np.concatenate([self.heavy, own])
            weight = self.weight[rows]
            weight[: len(self.heavy)] /= self.count
            yield rows, weight
