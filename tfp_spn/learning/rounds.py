"""How a fit is divided into rounds, in epochs or in updates.

A round ends with validation, a checkpoint and a look at whether to stop. Counted in
epochs a round is a pass over the data. Counted in updates it is a number of M-steps (or
steps of an optimizer): a thousand examples and a million then get equally many.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn.circuits.data import Data
from tfp_spn.learning.batches import Batch, Batches

_LEAST_UPDATES = 1000
_MOST_UPDATES = 5000
_EPOCHS = 50
_ROUNDS = 50
"""Of a fit in updates."""

_BATCHES = 32
"""Batches of an epoch, unless they were too small or too large for that."""

_LEAST_BATCH, _MOST_BATCH = 64, 512


@dataclass(frozen=True)
class Rounds:
    """The rounds of a fit.

    Attributes:
        count: Their greatest number.
        num_updates: Updates of all, or `None` if nobody knows, as of a dataset.
        length: Updates of a round; `None`: it is a pass over the data.
    """

    count: int
    num_updates: int | None
    length: int | None = None

    @property
    def reason(self) -> str:
        """Why a fit that is never stopped comes to its end."""
        return "epochs" if self.length is None else "num_updates"

    def batches(self, train: Batches, number: int, seed: int | None) -> Iterator[Batch]:
        """The batches of a round.

        Args:
            train: The data.
            number: Of the round, from 0.
            seed: Of their order; `None`: as they are.
        """
        if self.length is None:
            return train(None if seed is None else [seed, number])
        start = number * self.length
        length = min(self.length, (self.num_updates or math.inf) - start)
        if train.is_dataset:
            return itertools.islice(train(), int(length))
        return train.stretch(start, int(length), seed)

    def examples_of_round(self, examples: int, batch_size: int) -> int:
        """How many are passed, given those of an epoch and of a batch."""
        return examples if self.length is None else self.length * batch_size

    def updates_after(self, number: int) -> int | None:
        """How many updates so many rounds have, if that is known."""
        if self.num_updates is None or not self.count:
            return None
        if self.length is None:
            return number * (self.num_updates // self.count)
        return min(number * self.length, self.num_updates)

    def rounds_of(self, patience: int | None) -> int | None:
        """A patience in epochs or updates as a number of rounds, at least one."""
        if patience is None or self.length is None:
            return patience
        return math.ceil(patience / self.length)


def rounds_of_fit(
    epochs: int | None,
    num_updates: int | None,
    batches_per_epoch: int | None,
    is_full_batch: bool,
    patience: int | None = None,
    relative_cost: float = 0.0,
) -> Rounds:
    """Divides a fit.

    Args:
        epochs: Passes over the data, or `None`.
        num_updates: Updates, or `None`. Without both there are 50 epochs, or, of
            methods that learn from batches, as many as make 1,000 to 5,000 updates.
        batches_per_epoch: `None` of a dataset.
        is_full_batch: Whether an epoch is one update.
        patience: In updates: rounds are no longer.
        relative_cost: Validation examples per example of a batch: what costs much is
            not done too often.
    """
    if is_full_batch:
        batches_per_epoch = 1
        if num_updates is not None:
            epochs = num_updates
    if epochs is None and num_updates is None:
        epochs = _EPOCHS if is_full_batch else _default_epochs(batches_per_epoch)
    if epochs is not None:
        known = None if batches_per_epoch is None else epochs * batches_per_epoch
        return Rounds(epochs, known)
    total = int(num_updates or 0)
    length = max(1, total // _ROUNDS, math.ceil(2 * relative_cost))
    length = max(1, min(length, total, patience or length))
    return Rounds(-(-total // length), total, length)


def _default_epochs(batches_per_epoch: int | None) -> int:
    if batches_per_epoch is None:
        return _EPOCHS
    least = -(-_LEAST_UPDATES // batches_per_epoch)
    most = max(1, -(-_MOST_UPDATES // batches_per_epoch))
    return min(max(_EPOCHS, least), most)


def default_batch_size(source: object, is_full_batch: bool) -> int:
    """A power of two from 64 to 512, such that an epoch has about 32 batches.

    Args:
        source: Examples, or a dataset, whose batches are its own.
        is_full_batch: Whether the size of batches does not matter to the method.
    """
    if is_full_batch or isinstance(source, tf.data.Dataset):
        return _MOST_BATCH
    if isinstance(source, Data):
        source = source.x
    try:
        count = len(source)  # type: ignore[arg-type]
    except TypeError:  # no data at all, which is said elsewhere
        return _MOST_BATCH
    return batch_size_of(count, _BATCHES, _LEAST_BATCH, _MOST_BATCH)


def batch_size_of(count: int, num_batches: int, least: int, most: int) -> int:
    """`least`, doubled until an epoch has at most so many batches, or up to `most`.

    Args:
        count: Examples.
        num_batches: Of an epoch.
        least: The smallest batch.
        most: The largest batch.
    """
    size = least
    while size < most and size * num_batches < count:
        size *= 2
    return size
