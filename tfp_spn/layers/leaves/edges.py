"""Points that divide an interval, as leaves take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_spn._arrays import as_array
from tfp_spn._typing import Tensor


def checked_edges(edges: Any, owner: str, what: str) -> tuple[float, ...]:
    """Points in increasing order.

    Args:
        edges: At least two finite numbers.
        owner: The class, for messages.
        what: The argument.

    Raises:
        ValueError: They are fewer, not finite, not in order, or one and the same in
            float32.
    """
    values: npt.NDArray[Any] = as_array(edges, owner, what).astype(np.float64)
    in_order = values.ndim == 1 and len(values) > 1 and np.isfinite(values).all()
    if not in_order or not (np.diff(values.astype(np.float32)) > 0).all():
        raise ValueError(
            f"{owner}: {what} must be at least two finite numbers, each greater than "
            f"the one before also in float32, received {np.array2string(values)}. "
            "Sort them, leave out those that are equal, or rescale the data."
        )
    return tuple(values.tolist())


def bin_of(edges: tuple[float, ...], x: Tensor) -> Tensor:
    """Numbers of the bins that values lie in, int32; a bin has its lower edge."""
    inner = tf.constant(edges[1:-1], x.dtype)
    if not inner.shape[0]:
        return tf.zeros_like(x, tf.int32)
    flat = tf.searchsorted(inner, tf.reshape(x, [-1]), side="right")
    return tf.reshape(flat, tf.shape(x))
