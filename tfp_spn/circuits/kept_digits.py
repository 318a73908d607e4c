"""Data of Keras' own methods, as users have them: before Keras rounds them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arrays import as_array
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import values_and_mask
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.programs.digits import check_digits, may_lose, with_checked_digits
from tfp_spn.programs.rounded_densities import changed_by_rounding

_FLOATS = [np.dtype(name) for name in ("float16", "float32", "float64")]


def with_kept_digits(
    model: keras.Model, inputs: TensorLike, observed: TensorLike = None
) -> TensorLike:
    """Inputs of a model, its values perhaps a part of a pair or a dict.

    Args:
        model: The model.
        inputs: What it is called with.
        observed: The mask, if it is not among the inputs.

    Returns:
        The same; symbolic tensors are checked when their graph runs.

    Raises:
        ValueError: The model's dtype loses what tells values of a column apart.
    """
    owner = f'{type(model).__name__} "{model.name}"'
    x, own = values_and_mask(inputs)
    if isinstance(x, tf.RaggedTensor) and model.takes_ragged:
        return inputs
    if x is inputs:  # Keras reads other lists as several inputs
        if isinstance(inputs, list):
            return x
        x = _readable(owner, x, has_mask=observed is not None)
        return _values(model, x, observed)
    what = "observed" if isinstance(inputs, dict) else "mask"
    own = _readable(owner, own, what)
    x = _values(model, _readable(owner, x, has_mask=own is not None), own)
    if not isinstance(inputs, dict):
        return (x, own)
    return {**inputs, "x": x} if own is None else {**inputs, "x": x, "observed": own}


def _readable(
    owner: str, x: TensorLike, what: str = "x", has_mask: bool = False
) -> TensorLike:
    """An array in place of what holds numbers that Keras cannot read."""
    is_frame = hasattr(x, "to_numpy") and hasattr(x, "dtypes")
    is_sparse = hasattr(x, "toarray") or isinstance(x, tf.SparseTensor)
    is_sparse |= isinstance(x, tf.RaggedTensor)
    if is_frame or is_sparse or isinstance(x, np.ma.MaskedArray | list):
        return as_array(x, owner, what, has_mask)
    is_odd = isinstance(x, np.ndarray) and x.dtype.kind not in "biu"
    is_odd &= getattr(x, "dtype", None) not in _FLOATS
    return as_array(x, owner, what, has_mask) if is_odd else x


def _values(model: keras.Model, x: TensorLike, observed: TensorLike) -> TensorLike:
    """The values: as they are, or a tensor that is checked when its graph runs."""
    dtype = _dtype_of(model)
    array = x
    if dtype is None or not isinstance(array, tf.Tensor | np.ndarray):
        return x
    if not may_lose(array.dtype, dtype) or _rank(array) < 2:
        return x
    owner, mask = f'{type(model).__name__} "{model.name}"', None
    if observed is not None:
        mask = _aligned(model, observed, array.shape)
        if mask is None:  # others refuse it
            return x
    if not isinstance(array, np.ndarray) and not hasattr(array, "numpy"):
        if not array.dtype.is_floating:  # checks of integers would cost others time
            return x
        return with_checked_digits(owner, dtype, array, _rank(array) - 1, mask)
    if mask is not None and not hasattr(mask, "numpy") and tf.is_tensor(mask):
        return x
    flags = None
    if mask is not None:
        flags = np.broadcast_to(mask, array.shape).reshape(len(array), -1)
    shape, changed = tuple(array.shape[1:]), None
    circuit = model.circuit_of_data() if tf.executing_eagerly() else None
    if circuit is not None and shape == circuit.program.event_shape:
        program, params = circuit.program, circuit.live_params()
        variables = range(program.num_variables)
        changed = functools.partial(changed_by_rounding, program, params, variables)
    check_digits(owner, dtype, array, shape, flags, changed=changed)
    return x


def _rank(value: TensorLike) -> int:
    """The rank; 0 if it is unknown."""
    if isinstance(value, np.ndarray):
        return value.ndim
    return getattr(value.shape, "rank", None) or 0


def _aligned(
    model: keras.Model, observed: TensorLike, shape: tf.TensorShape | tuple
) -> TensorLike:
    """A mask that broadcasts with values of a shape, `None` if it does not fit them."""
    if not isinstance(observed, tf.Tensor | np.ndarray):
        observed = np.asarray(observed)
    shape, own = tf.TensorShape(shape), tf.TensorShape(observed.shape)
    if tf.as_dtype(observed.dtype) != tf.bool or not own.rank:
        return None
    program = getattr(model, "program", None)
    kinds = [shape[1:-1], shape[1:]] if program is None else program.mask_shapes
    for flags in map(tf.TensorShape, kinds):
        lead = own.rank - flags.rank
        if lead not in (0, 1) or not own[lead:].is_compatible_with(flags):
            continue
        num_axes = shape.rank - 1 - flags.rank
        aligned = observed[(..., *[np.newaxis] * num_axes)]
        try:
            tf.broadcast_static_shape(shape, tf.TensorShape(aligned.shape))
        except ValueError:
            continue
        return aligned
    return None


def _dtype_of(model: keras.Model) -> tf.DType | None:
    """The dtype that the leaves of a model compute in, `None` if there are none."""
    program = getattr(model, "program", None)
    if program is not None:
        return program.dtype
    leaves = [part for part in model._flatten_layers() if isinstance(part, BaseLeaf)]  # noqa: SLF001
    return tf.as_dtype(leaves[0].compute_dtype) if leaves else None
