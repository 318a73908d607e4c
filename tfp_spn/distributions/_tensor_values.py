"""Values of any dtype, where TFP would convert them to that of the distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.distributions._event import as_tensor


def _of_tensor(method: str) -> Callable[..., Tensor]:
    """TFP's method of a value that is a tensor already."""

    def call(self: Any, value: TensorLike, name: str, **kwargs: Any) -> Tensor:
        ask = getattr(super(TensorValues, self), method)
        return ask(as_tensor(value), name, **kwargs)

    return call


class TensorValues:
    """Mixin of distributions, before `tfd.Distribution` in the bases."""

    def _cdf(self, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What `tfd.QuantizedDistribution` looks for."""
        return tf.exp(self._log_cdf(value, *args, **kwargs))  # type: ignore[attr-defined]

    _call_log_prob = _of_tensor("_call_log_prob")
    _call_prob = _of_tensor("_call_prob")
    _call_log_cdf = _of_tensor("_call_log_cdf")
    _call_cdf = _of_tensor("_call_cdf")
    _call_survival_function = _of_tensor("_call_survival_function")
    _call_log_survival_function = _of_tensor("_call_log_survival_function")
