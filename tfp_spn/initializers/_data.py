"""Data that initializers read, and how they fit the parameters of leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfp_spn._typing import DTypeLike, Tensor
from tfp_spn.initializers.array_batches import array_batches
from tfp_spn.initializers.equidistant import Equidistant


def collected(owner: str, data: object) -> np.ndarray | None:
    """Data as one float64 array ``[N, ...]``.

    Args:
        owner: Who reads them, for messages.
        data: An array, or an iterable of batches (such as a `tf.data.Dataset`) that are
            arrays or tuples that begin with one, or `None`.

    Raises:
        TypeError: The data are not numbers.
        ValueError: There are none, or some are not finite.
    """
    if data is None:
        return None
    batches = list(array_batches(owner, data))
    if len(batches) != 1:
        batches = [np.concatenate(batches or [np.zeros([0, 1])])]
    x = batches[0]
    if x.ndim < 2 or not len(x):
        raise ValueError(
            f"{owner}: received data of shape {x.shape}, expected [examples, "
            "variables, ...] with at least one example. Pass the training data."
        )
    x = x.astype(np.float64)
    if not np.all(np.isfinite(x)):
        raise ValueError(
            f"{owner}: received data with NaN or infinite values, expected finite "
            "numbers. Leave out or fill in the examples with missing values."
        )
    return x


def standardized(x: np.ndarray, epsilon: float) -> np.ndarray:
    """Each example's z-scores: ``(x - mean) / (standard deviation + epsilon)``."""
    axes = tuple(range(1, x.ndim))
    mean, std = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
    return (x - mean) / (std + epsilon)


def by_cell(owner: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Data of each leaf slot, ``[N, *lead, dims]``, for ``shape = [*lead, K, dims]``.

    The cells of flat data, ``[1, scopes, decomps]``, have the variable of their scope.

    Raises:
        ValueError: The data do not fit the parameter.
    """
    lead, num_dims = shape[:-2], shape[-1]
    cells = lead[1:] if len(lead) == 3 and lead[0] == 1 else lead
    event = x.shape[1:]
    if num_dims == 1 and event in (cells, cells[:1]):
        x, event = x[..., np.newaxis], (*event, 1)
    if event == (*cells, num_dims):
        return x.reshape(len(x), *lead, num_dims)
    if len(cells) == 2 and event == (cells[0], num_dims):
        x = np.repeat(x[:, :, np.newaxis], cells[1], axis=2)
        return x.reshape(len(x), *lead, num_dims)
    raise ValueError(
        f"{owner}: received data of shape {x.shape} for a parameter of shape {shape}, "
        f"expected [examples, {', '.join(map(str, (*cells, num_dims)))}] (or without "
        "the second decomposition or last axis where there is one). Pass the data that "
        "the leaf layer sees; for circuits over region graphs use "
        "tfp_spn.learning.initialize_leaves."
    )


def without_data(shape: Sequence[int], dtype: DTypeLike) -> Tensor:
    """Distinct components in the range of z-scores, until weights are loaded."""
    return Equidistant(-1.0, 1.0)(shape, dtype=dtype)
