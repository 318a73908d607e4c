"""One of a batch of univariate distributions."""

from __future__ import annotations

import operator
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.distributions._event import as_tensor
from tfp_spn.programs.digits import check_digits


class OfVariable:
    """Mixin of distributions whose last batch axis is that of variables."""

    def of_variable(self, number: int) -> tfd.Distribution:
        """The distribution of one variable.

        Args:
            number: Its place on the last batch axis.
        """
        spread: Any = self
        count = spread.batch_shape[-1]
        if isinstance(number, bool) or number not in range(count):
            raise ValueError(
                f"{type(self).__name__}: received variable {number}, expected one from "
                f"0 to {count - 1}. Count the variables of the distribution that was "
                "asked."
            )
        return self._one(operator.index(number))

    def _as_tensor(self, value: TensorLike, observed: Any = None) -> Tensor:
        """The value in the dtype of the families, which must not lose its digits."""
        spread: Any = self
        tensor, dtype = as_tensor(value, takes_missing=False), spread.dtype
        if not dtype.is_floating:
            return tensor
        columns = spread.batch_shape[-1:]
        is_known = hasattr(tensor, "numpy") and columns.is_fully_defined()
        if is_known and tensor.shape[-1:].as_list() == columns.as_list():
            check_digits(type(self).__name__, dtype, tensor, tuple(columns))
        return tf.cast(tensor, dtype)

    def _one(self, number: int) -> tfd.Distribution:
        spread: Any = self
        return spread[..., number]
