"""What TFP would convert before anyone could check it: values and sample shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Config, Seed, Tensor, TensorLike
from tfp_spn.distributions._event import as_tensor

T = TypeVar("T")


def _of_tensor(method: str) -> Callable[..., Tensor]:
    """TFP's method of a value that is a tensor already."""

    def call(
        self: tfd.Distribution, value: TensorLike, name: str, **kwargs: object
    ) -> Tensor:
        ask = getattr(super(TensorValues, self), method)
        return ask(self._as_tensor(value), name, **kwargs)

    return call


class TensorValues:
    """Mixin of distributions, before `tfd.Distribution` in the bases."""

    def __reduce__(self) -> tuple[Callable, tuple]:
        """For pickle and `copy`: the class and its arguments, without tensors."""
        return _restored, (type(self), self._arguments())

    def _arguments(self) -> Config:
        """The constructor's arguments; circuits save themselves as Keras models."""
        arguments = dict(self.parameters)  # type: ignore[attr-defined]
        return {name: _without_tensors(value) for name, value in arguments.items()}

    def _as_tensor(self, value: TensorLike) -> Tensor:
        return as_tensor(value)

    def _cdf(self, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What `tfd.QuantizedDistribution` looks for."""
        return tf.exp(self._log_cdf(value, *args, **kwargs))  # type: ignore[attr-defined]

    def _survival_function(self, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """With the digits of small upper tails, if the class knows them."""
        log_survival: Any = self._log_survival_function  # type: ignore[attr-defined]
        return tf.exp(log_survival(value, *args, **kwargs))

    def _call_sample_n(
        self, sample_shape: TensorLike, seed: Seed, **kwargs: object
    ) -> Tensor:
        known = tf.get_static_value(sample_shape)
        if known is not None:
            _check_sample_shape(type(self).__name__, np.asarray(known))
        return super()._call_sample_n(sample_shape, seed, **kwargs)  # type: ignore[misc]

    _call_log_prob = _of_tensor("_call_log_prob")
    _call_prob = _of_tensor("_call_prob")
    _call_log_cdf = _of_tensor("_call_log_cdf")
    _call_cdf = _of_tensor("_call_cdf")
    _call_survival_function = _of_tensor("_call_survival_function")
    _call_log_survival_function = _of_tensor("_call_log_survival_function")


def _without_tensors(value: Any) -> object:
    if isinstance(value, dict):
        return {name: _without_tensors(part) for name, part in value.items()}
    is_tensor = tf.is_tensor(value) or isinstance(value, tf.Variable)
    return value.numpy() if is_tensor else value


def _restored(cls: type[T], arguments: dict[str, Any]) -> T:
    return cls(**arguments)


def _check_sample_shape(owner: str, sample_shape: np.ndarray) -> None:
    if sample_shape.size and not (
        np.issubdtype(sample_shape.dtype, np.integer) and np.all(sample_shape >= 0)
    ):
        raise ValueError(
            f"{owner}.sample: sample_shape is no shape, received "
            f"sample_shape={sample_shape.tolist()!r}, expected integers of at least 0. "
            "Say how many samples to draw, for example sample(10) or sample([2, 5])."
        )
