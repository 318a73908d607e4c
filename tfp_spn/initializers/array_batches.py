"""Data that are given as an array, as rows of numbers or as batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfp_spn._arrays import as_array, is_frame
from tfp_spn._datasets import is_endless


def array_batches(owner: str, data: object) -> Iterator[np.ndarray]:
    """The data as arrays ``[examples, ...]``.

    Args:
        owner: Who reads them, for messages.
        data: An array, rows of numbers, or an iterable of batches (such as a
            `tf.data.Dataset`) that are arrays or tuples that begin with one.

    Raises:
        ValueError: The data never end.
    """
    if is_endless(data):
        raise ValueError(
            f"{owner}: received data that never end, expected a dataset that can be "
            "read to its end. Leave out repeat(), or use data.take(100)."
        )
    is_rows = isinstance(data, list | tuple) and data and np.ndim(data[0]) == 1
    if (
        is_rows
        or is_frame(data)
        or hasattr(data, "__array__")
        or not hasattr(data, "__iter__")
    ):
        yield as_array(data, owner, "data")
        return
    for batch in data:
        batch = batch[0] if isinstance(batch, tuple | list) else batch
        yield as_array(batch, owner, "data")
