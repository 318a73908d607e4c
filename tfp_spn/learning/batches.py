"""Data in batches of one size, whatever they come from.

The last batch is filled up with examples of weight zero, so that compiled functions
are traced once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import LARGEST_INTEGER, a_count, a_flag, reads
from tfp_spn._datasets import is_endless
from tfp_spn._typing import Tensor
from tfp_spn.circuits.data import Data, values_and_mask
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.learning.class_labels import numbered
from tfp_spn.learning.data_validation import check_total_weight, validated
from tfp_spn.learning.even_batches import EvenBatches
from tfp_spn.programs.program import Program


class Batch(NamedTuple):
    """Tensors of the circuit's dtype, padded with examples of weight zero."""

    x: Tensor
    observed: Tensor | None
    labels: Tensor | None
    weights: Tensor

    def evidence(self, program: Program) -> Evidence:
        """In the kernel's layout."""
        return program.evidence(self.x, self.observed).without_gradient()


def unpack(data: object) -> Data:
    """Reads what Keras hands to a training step, or an element of a dataset.

    Either ``x``, ``(x, labels)`` or ``(x, labels, sample_weight)``, where ``x`` may be
    a pair ``(x, observed)``; or a dict with keys of `Data`.
    """
    if isinstance(data, Data):
        return data
    x, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(x, dict):
        unknown = sorted(set(x) - set(Data._fields))
        if unknown or "x" not in x:
            remedy = "Rename the keys."
            if "lengths" in unknown:
                remedy = (
                    "Make lengths a mask: observed=tf.sequence_mask(lengths, num_steps)"
                    "[..., tf.newaxis]."
                )
            raise ValueError(
                f"tfp_spn.learning: received data as a dict with keys {sorted(x)}, "
                f"expected 'x' and any of {list(Data._fields[1:])}. {remedy}"
            )
        return Data(None, None, labels, sample_weight)._replace(**x)
    if isinstance(x, tuple | list) and len(x) != 2:
        raise ValueError(
            f"tfp_spn.learning: received {len(x)} inputs, expected x or a pair "
            "(x, observed). Stack the variables to one array x."
        )
    return Data(*values_and_mask(x), labels, sample_weight)


class Batches:
    """Iterates over data in padded batches, any number of times.

    Args:
        program: The circuit that the data are for.
        data: A `Data` of arrays (already validated) or a `tf.data.Dataset` of batches
            that `unpack` reads; these are validated one by one as they come.
        batch_size: Examples per batch; a dataset says it itself by the first batch
            ever read: all others are cut and filled up to its size.
        steps: Elements of a dataset per epoch. An epoch begins where the last one
            ended, and anew where the dataset ends. Default: the whole dataset.
        unlabelled: The label that stands for none, of a dataset.
        is_even: Whether the weights of arrays are spread over batches (`EvenBatches`).

    Raises:
        ValueError: The dataset never ends, and there is no number of steps.
    """

    @reads(
        batch_size=a_count(least=0),
        steps=a_count(most=LARGEST_INTEGER),
        is_even=a_flag(),
    )
    def __init__(
        self,
        program: Program,
        data: Any,
        batch_size: int,
        steps: int | None = None,
        unlabelled: object = None,
        is_even: bool = False,
    ) -> None:
        self.program = program
        self.data = data
        self.is_dataset = isinstance(data, tf.data.Dataset)
        self.first: Any = None
        self.batch_size = 0
        if not self.is_dataset:
            batch_size = a_count()(batch_size, "Batches: `batch_size`")
            self.batch_size = min(batch_size, len(data.x))
            self._spread = data.sample_weight if is_even else None
            self._even = EvenBatches(len(data.x), self.batch_size, self._spread)
        self.steps = steps
        self.unlabelled = unlabelled
        self._stream: Iterator[object] = iter(())
        if self.is_dataset and steps is None:
            _check_end(data)

    def __call__(self, permutation_seed: list[int] | None = None) -> Iterator[Batch]:
        """One epoch, in random order if given a seed (a dataset shuffles itself)."""
        if self.is_dataset:
            chunks = self._dataset_chunks(self._elements())
        else:
            chunks = self._array_chunks(permutation_seed)
        for chunk in chunks:
            yield self._padded(chunk)

    def stretch(self, start: int, count: int, seed: int | None) -> Iterator[Batch]:
        """Some batches of endlessly many: of arrays, epoch after epoch.

        Args:
            start: Number of the first one, from 0.
            count: How many.
            seed: Of the order of each epoch; `None`: as they are.
        """
        per_epoch = self.batches_per_epoch or 1
        while count > 0:
            epoch, skipped = divmod(start, per_epoch)
            order = None if seed is None else [seed, epoch]
            length = min(count, per_epoch - skipped)
            for chunk in islice(self._array_chunks(order), skipped, skipped + length):
                yield self._padded(chunk)
            start, count = start + length, count - length

    @property
    def batches_per_epoch(self) -> int | None:
        """How many batches arrays make; `None` of a dataset."""
        return None if self.is_dataset else self._even.count

    def in_order(self) -> Iterator[Data]:
        """The data once more, as they are, part by part."""
        if not self.is_dataset:
            for start in range(0, len(self.data.x), self.batch_size):
                yield _take(self.data, slice(start, start + self.batch_size))
            return
        elements = self.data if self.steps is None else self.data.take(self.steps)
        yield from self._dataset_chunks(elements.as_numpy_iterator())

    def _elements(self) -> Iterator[object]:
        """The elements of an epoch of a dataset."""
        if self.steps is None:
            yield from self.data.as_numpy_iterator()
            return
        end = object()
        for _ in range(self.steps):
            element = next(self._stream, end)
            if element is end:
                self._stream = self.data.as_numpy_iterator()
                element = next(self._stream, end)
            if element is end:
                return
            yield element

    def _array_chunks(self, seed: list[int] | None) -> Iterator[Data]:
        rng = None if seed is None else np.random.default_rng(seed)
        for rows, weight in self._even(rng):
            chunk = _take(self.data, rows)
            is_spread = self._spread is not None
            yield chunk._replace(sample_weight=weight) if is_spread else chunk

    def _dataset_chunks(self, elements: Iterator[object]) -> Iterator[Data]:
        row, weight = 0, 0.0
        for element in elements:
            data = unpack(element)
            data = numbered(data, None, self.program.num_classes, self.unlabelled)
            if len(data.x) == 0:
                continue
            chunk = validated(self.program, data, first_row=row, is_part=True)
            num_examples = len(chunk.x)
            if chunk.sample_weight is not None:
                weight += float(chunk.sample_weight.sum())
                check_total_weight(self.program, weight, is_part=True)
            # One size for all epochs: another would be compiled anew.
            self.batch_size = size = self.batch_size or num_examples
            if not row:
                self.first = chunk
            row += num_examples
            for start in range(0, num_examples, size):
                yield _take(chunk, slice(start, start + size))
        check_total_weight(self.program, weight)
        if not row:
            raise ValueError(
                "tfp_spn.learning: received a dataset without any batch, expected at "
                "least one. Check its source, its filters and drop_remainder."
            )

    def _padded(self, chunk: Data) -> Batch:
        dtype = self.program.dtype
        count = len(chunk.x)
        missing = self.batch_size - count

        def padded(values: np.ndarray) -> np.ndarray:
            if not missing:
                return values
            return np.concatenate([values, np.repeat(values[:1], missing, axis=0)])

        weights = np.zeros([count + missing], dtype.as_numpy_dtype)
        weights[:count] = 1 if chunk.sample_weight is None else chunk.sample_weight
        observed, labels = chunk.observed, chunk.labels
        return Batch(
            tf.cast(padded(chunk.x), dtype),
            None if observed is None else tf.constant(padded(observed)),
            None if labels is None else tf.constant(padded(labels), tf.int32),
            tf.constant(weights),
        )


def _check_end(dataset: tf.data.Dataset) -> None:
    if is_endless(dataset):
        raise ValueError(
            "tfp_spn.learning: received a dataset that never ends, expected one that "
            "an epoch can read to its end. Leave out repeat(), which every epoch does "
            "itself, or bound it: steps_per_epoch=100 for training, dataset.take(100) "
            "for validation."
        )


def _take(data: Data, rows: object) -> Data:
    return Data(*(None if part is None else part[rows] for part in data))
