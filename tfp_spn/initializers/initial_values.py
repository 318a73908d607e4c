"""Initial values of variables: of the declared shape, and nonnegative for weights.

Keras 3 broadcasts ``Constant([...])`` with the shape that it is asked for, so that a
variable may become larger than declared; and initializers such as ``"random_normal"``
draw negative numbers, which are not weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._keras_typing import Initializer
from tfp_spn._machine import memory_of_machine
from tfp_spn._typing import DTypeLike, Tensor

SMALLEST_WEIGHT = 1e-10
"""Stands for negative weights, as it does after steps of training."""


def initial_values(
    owner: str,
    name: str,
    initializer: Initializer,
    shape: Sequence[int],
    dtype: DTypeLike,
    axis: int,
) -> Tensor:
    """Returns the values of an initializer in the shape that a variable declares.

    Values of another shape are taken in three cases: a constant that NumPy would
    broadcast to the shape; as many values as the shape holds, in row-major order, as in
    Keras 2; and one value for each entry of `axis`.

    Args:
        owner: The layer, for messages.
        name: The initializer's argument or variable, for messages.
        initializer: A Keras initializer, or a function of a shape and a dtype.
        shape: The declared shape.
        dtype: Dtype of the values.
        axis: The axis, counted from the end, that a list of values lies along: that of
            the components of a leaf, or of the children of a sum.

    Raises:
        ValueError: The shape is larger than memory, the values do not fit it, or some
            are NaN.
    """
    _check_size(owner, name, shape, dtype)
    value = _values_of(initializer, shape, dtype)
    return _checked(owner, name, value, initializer, tuple(shape), axis)


def initial_weights(
    owner: str,
    initializer: Initializer,
    shape: Sequence[int],
    dtype: DTypeLike,
    axis: int = -2,
) -> Tensor:
    """Returns the initial weights of sums, whatever the initializer: none is negative.

    A negative number becomes the smallest weight, 1e-10, and a sum whose weights would
    all be zero begins with equal ones. Weights too large to be added are divided by the
    largest.

    Args:
        owner: The layer, for messages.
        initializer: See `initial_values`.
        shape: The declared shape.
        dtype: Dtype of the weights.
        axis: The axis of the children.

    Raises:
        ValueError: The shape is larger than memory, the weights do not fit it, or are
            not finite.
    """
    _check_size(owner, "accumulators", shape, dtype)
    value = _values_of(initializer, shape, dtype)
    if tuple(value.shape) == (shape[axis],):  # NumPy would lay it along the sums
        value = _along(value, axis)
    if shape[axis] == 1 and value.shape.rank == 1:
        # A list for the sums of a circuit; of one child the weight is one in any case.
        value = tf.ones([], value.dtype)
    weights = _checked(owner, "accumulators", value, initializer, tuple(shape), axis)
    if _has(tf.math.is_inf, weights):
        raise ValueError(
            f"{owner}: initial weights are infinite. Received them from "
            f"{initializer!r}, expected finite numbers. Choose another initializer."
        )
    weights = tf.where(weights < 0, tf.cast(SMALLEST_WEIGHT, weights.dtype), weights)
    largest = tf.reduce_max(weights, axis, keepdims=True)
    weights = tf.where(largest > 0, weights, tf.ones_like(weights))
    is_added = tf.math.is_finite(tf.reduce_sum(weights, axis, keepdims=True))
    return tf.where(is_added, weights, tf.math.divide_no_nan(weights, largest))


def _check_size(owner: str, name: str, shape: Sequence[int], dtype: DTypeLike) -> None:
    """Refuses variables that are larger than memory, before they are made."""
    size = tf.as_dtype(keras.backend.standardize_dtype(dtype)).size
    needed, available = math.prod(shape) * size, memory_of_machine()
    if available is not None and needed > available:
        raise ValueError(
            f"{owner}: the variable {name!r} does not fit into memory, received shape "
            f"{tuple(shape)}, which needs {needed / 2**30:,.3g} GiB, expected less "
            f"than the {available / 2**30:,.3g} GiB of this machine. Pass fewer "
            "components, sums or children."
        )


def _values_of(
    initializer: Initializer, shape: Sequence[int], dtype: DTypeLike
) -> Tensor:
    """Returns the values of the initializer, before Keras broadcasts a constant."""
    value: Any = getattr(initializer, "value", None)
    if not isinstance(initializer, keras.initializers.Constant) or not np.ndim(value):
        value = initializer(shape, dtype=dtype)
    return tf.cast(value, keras.backend.standardize_dtype(dtype))


def _checked(
    owner: str,
    name: str,
    value: Tensor,
    initializer: Initializer,
    shape: tuple[int, ...],
    axis: int,
) -> Tensor:
    """Fits values to the shape; refuses those that do not fit or are NaN."""
    fitted = _fitted(value, shape, axis)
    if fitted is None:
        raise ValueError(
            f"{owner}: initial values do not fit the variable {name!r}. Received an "
            f"array of shape {tuple(value.shape)}, expected shape {shape}, or a list "
            f"of length {shape[axis]}. Pass an "
            "array of one of these shapes to keras.initializers.Constant."
        )
    if _has(tf.math.is_nan, fitted):
        raise ValueError(
            f"{owner}: initial values of the variable {name!r} are NaN. Received them "
            f"from {initializer!r}, expected numbers. Choose another initializer."
        )
    return fitted


def _fitted(value: Tensor, shape: tuple[int, ...], axis: int) -> Tensor | None:
    """The values in the shape, or `None` if they do not fit."""
    received = tuple(value.shape)
    if _broadcasts(received, shape):
        return tf.broadcast_to(value, shape)
    if np.prod(received) == np.prod(shape):
        return tf.reshape(value, shape)
    if received == (shape[axis],):
        return tf.broadcast_to(_along(value, axis), shape)
    return None


def _along(value: Tensor, axis: int) -> Tensor:
    """A list of values along an axis that is counted from the end."""
    return tf.reshape(value, [-1, *[1] * (-1 - axis)])


def _broadcasts(received: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(received, shape) == shape
    except ValueError:
        return False


def _has(is_so: Any, value: Tensor) -> bool:
    """Whether something is so of a value; `False` where it is not known yet."""
    value = tf.get_static_value(tf.reduce_any(is_so(value)))
    return bool(value)
