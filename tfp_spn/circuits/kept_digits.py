"""Data of Keras' own methods, before Keras rounds them to its default dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn._typing import TensorLike
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.programs.digits import check_digits, may_lose, with_checked_digits


class KeptDigits:
    """Mixin of Keras models that refuse data whose digits their dtype would lose.

    Arrays are looked at as they come; tensors of graphs, such as elements of a
    `tf.data.Dataset`, when the graph runs.
    """

    def __call__(self, inputs: TensorLike, *args: Any, **kwargs: Any) -> Any:
        """Calls the model."""
        return super().__call__(with_kept_digits(self, inputs), *args, **kwargs)  # type: ignore[misc]

    def fit(self, x: TensorLike = None, *args: Any, **kwargs: Any) -> Any:
        """Keras' `fit`."""
        with_kept_digits(self, x)
        validation = kwargs.get("validation_data")
        if isinstance(validation, list | tuple) and len(validation) > 0:
            with_kept_digits(self, validation[0])
        return super().fit(x, *args, **kwargs)  # type: ignore[misc]

    def evaluate(self, x: TensorLike = None, *args: Any, **kwargs: Any) -> Any:
        """Keras' `evaluate`."""
        with_kept_digits(self, x)
        return super().evaluate(x, *args, **kwargs)  # type: ignore[misc]

    def predict(self, x: TensorLike, *args: Any, **kwargs: Any) -> Any:
        """Keras' `predict`."""
        with_kept_digits(self, x)
        return super().predict(x, *args, **kwargs)  # type: ignore[misc]

    def train_on_batch(self, x: TensorLike, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`."""
        with_kept_digits(self, x)
        return super().train_on_batch(x, *args, **kwargs)  # type: ignore[misc]

    def test_on_batch(self, x: TensorLike, *args: Any, **kwargs: Any) -> Any:
        """Keras' `test_on_batch`."""
        with_kept_digits(self, x)
        return super().test_on_batch(x, *args, **kwargs)  # type: ignore[misc]

    def predict_on_batch(self, x: TensorLike) -> Any:
        """Keras' `predict_on_batch`."""
        with_kept_digits(self, x)
        return super().predict_on_batch(x)  # type: ignore[misc]


def with_kept_digits(model: Any, inputs: Any) -> Any:
    """Inputs of a model, its values perhaps a part of a pair or a dict.

    Args:
        model: The model.
        inputs: What it is called with.

    Returns:
        The same; symbolic tensors are checked when their graph runs.

    Raises:
        ValueError: The model's dtype loses what tells values of a column apart.
    """
    if isinstance(inputs, dict) and "x" in inputs:
        return {**inputs, "x": _values(model, inputs["x"], inputs.get("observed"))}
    if isinstance(inputs, list | tuple) and len(inputs) == 2:
        first, second = inputs
        return (_values(model, first, second), second)
    return _values(model, inputs, None)


def _values(model: Any, x: Any, observed: Any) -> Any:
    """The values: as they are, or a tensor that is checked when its graph runs."""
    dtype = _dtype_of(model)
    array = x.to_numpy() if hasattr(x, "to_numpy") else x
    if dtype is None or not isinstance(array, tf.Tensor | np.ndarray):
        return x
    if not may_lose(array.dtype, dtype) or _rank(array) < 2:
        return x
    owner, rank = f'{type(model).__name__} "{model.name}"', _rank(array)
    is_array = isinstance(observed, tf.Tensor | np.ndarray) and _rank(observed) > 0
    is_mask = is_array and tf.as_dtype(observed.dtype) == tf.bool
    mask = _aligned(model, observed, rank) if is_mask else None
    if not isinstance(array, np.ndarray) and not hasattr(array, "numpy"):
        if not array.dtype.is_floating:  # checks of integers would cost others time
            return x
        return with_checked_digits(owner, dtype, array, rank - 1, mask)
    flags = None
    if mask is not None:
        try:
            flags = np.broadcast_to(mask, array.shape).reshape(len(array), -1)
        except ValueError:  # others refuse it
            return x
    check_digits(owner, dtype, array, tuple(array.shape[1:]), flags)
    return x


def _rank(value: Any) -> int:
    """The rank; 0 if it is unknown."""
    if isinstance(value, np.ndarray):
        return value.ndim
    return getattr(value.shape, "rank", None) or 0


def _aligned(model: Any, observed: Any, rank: int) -> Any:
    """A mask of variables that broadcasts with values, which may have dimensions."""
    program = getattr(model, "program", None)
    mask_ndims = rank - 1 - (rank == 4)
    if program is not None:
        mask_ndims = len(program.mask_shape)
    has_dims = rank - 1 > mask_ndims and observed.shape[-1] != 1
    return observed[..., np.newaxis] if has_dims else observed


def _dtype_of(model: Any) -> tf.DType | None:
    """The dtype that the leaves of a model compute in, `None` if there are none."""
    program = getattr(model, "program", None)
    if program is not None:
        return program.dtype
    leaves = [part for part in model._flatten_layers() if isinstance(part, BaseLeaf)]  # noqa: SLF001
    return tf.as_dtype(leaves[0].compute_dtype) if leaves else None
