"""The dtype of circuit layers that are given none."""

from __future__ import annotations

import keras

from tfp_spn._keras_typing import LayerOptions


def default_dtype() -> str:
    """Returns the dtype of variables under Keras' global policy, at least float32.

    So layers follow `keras.config.set_floatx` and `keras.config.set_dtype_policy`, as
    Keras' own do, but stay in full precision inside mixed-precision models.
    """
    dtype = keras.config.dtype_policy().variable_dtype
    return dtype if dtype in ("float32", "float64") else "float32"


def fill_in_dtype(kwargs: LayerOptions) -> None:
    """Sets the `default_dtype` among arguments of a layer that name none."""
    if kwargs.get("dtype") is None:
        kwargs["dtype"] = default_dtype()
