"""Data of Keras' own methods, as users have them: before Keras rounds them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arrays import readable
from tfp_spn._masks import aligned
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import values_and_mask
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.programs.digits import is_symbolic, may_lose, with_kept_digits
from tfp_spn.programs.rounded_densities import changed_by_rounding


def read_inputs(
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
    x, mask = values_and_mask(inputs)
    if isinstance(x, tf.RaggedTensor) and model.takes_ragged:
        return inputs
    if x is inputs:
        if isinstance(inputs, list):  # Keras reads them as several inputs
            return x
        x = readable(x, owner, takes_missing=observed is not None)
        return _with_kept_digits(owner, model, x, observed)
    what = "observed" if isinstance(inputs, dict) else "mask"
    mask = readable(mask, owner, what, takes_missing=False)
    x = readable(x, owner, takes_missing=mask is not None)
    x = _with_kept_digits(owner, model, x, mask)
    if not isinstance(inputs, dict):
        return (x, mask)
    return {**inputs, "x": x} | ({} if mask is None else {"observed": mask})


def _with_kept_digits(
    owner: str, model: keras.Model, x: TensorLike, mask: TensorLike
) -> TensorLike:
    """The values: as they are, or a tensor that is checked when its graph runs."""
    program = getattr(model, "program", None)
    dtype = _leaf_dtype(model) if program is None else program.dtype
    if dtype is None or not isinstance(x, tf.Tensor | np.ndarray):
        return x
    rank = x.ndim if isinstance(x, np.ndarray) else x.shape.rank
    if rank is None or rank < 2 or not may_lose(x.dtype, dtype):
        return x
    if is_symbolic(x) and not x.dtype.is_floating:
        return x  # checks of integers would cost others time
    shape = tuple(x.shape)
    if mask is not None:
        flags = [shape[1:-1], shape[1:]] if program is None else program.mask_shapes
        mask = mask if isinstance(mask, tf.Tensor) else np.asarray(mask)
        is_known = not isinstance(mask, tf.Tensor) or mask.shape.rank is not None
        mask = aligned(mask, shape, flags) if is_known else None
        if mask is None:  # others refuse it, or there is no telling
            return x
    changed = None
    circuit = model.circuit_of_data() if tf.executing_eagerly() else None
    if circuit is not None and shape[1:] == circuit.program.event_shape:
        own, params = circuit.program, circuit.live_params()
        variables = range(own.num_variables)
        changed = functools.partial(changed_by_rounding, own, params, variables)
    return with_kept_digits(owner, dtype, x, shape[1:], mask, changed=changed)


def _leaf_dtype(model: keras.Model) -> tf.DType | None:
    """The dtype that the leaves of a model compute in, `None` if there are none."""
    leaves = [part for part in model._flatten_layers() if isinstance(part, BaseLeaf)]  # noqa: SLF001
    return tf.as_dtype(leaves[0].compute_dtype) if leaves else None
