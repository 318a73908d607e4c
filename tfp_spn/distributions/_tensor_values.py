"""Values and sample shapes as they come, before anything is asked of them.

TFP would convert values before anyone could check them; and a graph may not know the
rank of a value, as with ``reduce_retracing=True``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Config, Seed, Tensor, TensorLike
from tfp_spn.distributions._event import Event, as_tensor

if TYPE_CHECKING:
    from tfp_spn.distributions.sum_product_network import SumProductNetwork

T = TypeVar("T")


def _of_tensor(method: str) -> Callable[..., Tensor]:
    """TFP's method of a value that is a tensor already."""

    def call(
        self: tfd.Distribution, value: TensorLike, name: str, **kwargs: object
    ) -> Tensor:
        ask = getattr(super(TensorValues, self), method)
        value = self._as_tensor(value, self._mask_given(kwargs))
        return ask(value, name, **kwargs)

    return call


class TensorValues:
    """Mixin of distributions, before `tfd.Distribution` in the bases."""

    def _begin(self, dtype: tf.DType, parameters: Config, name: str) -> None:
        """TFP's constructor; `parameters` are the arguments of the class's own."""
        super().__init__(  # type: ignore[call-arg]
            dtype=dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=parameters["validate_args"],
            allow_nan_stats=parameters["allow_nan_stats"],
            parameters=parameters,
            name=name,
        )

    def __reduce__(self) -> tuple[Callable, tuple]:
        """For pickle and `copy`: the class and its arguments, without tensors."""
        return _restored, (type(self), self._arguments())

    def _arguments(self) -> Config:
        """The constructor's arguments; circuits save themselves as Keras models."""
        arguments = dict(self.parameters)  # type: ignore[attr-defined]
        return {name: _without_tensors(value) for name, value in arguments.items()}

    def _mask_given(self, kwargs: Config) -> TensorLike:
        """Which values count, by the arguments of a method."""
        return kwargs.get("observed")

    def _as_tensor(self, value: TensorLike, observed: Any = None) -> Tensor:
        """The value as it is; `observed` may be the mask that comes with it."""
        return as_tensor(value, takes_missing=observed is not None)

    def _cdf(self, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What `tfd.QuantizedDistribution` looks for."""
        return tf.exp(self._log_cdf(value, *args, **kwargs))  # type: ignore[attr-defined]

    def _survival_function(self, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """With the digits of small upper tails, if the class knows them."""
        log_survival: Any = self._log_survival_function  # type: ignore[attr-defined]
        return tf.exp(log_survival(value, *args, **kwargs))

    def _stddev(self) -> Tensor:
        """Where there is no variance, the error is that of the variance."""
        return tf.sqrt(self._variance())  # type: ignore[attr-defined]

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
    """Replaces tensors and variables, at any depth, by arrays."""
    if isinstance(value, dict):
        return {name: _without_tensors(part) for name, part in value.items()}
    is_tensor = tf.is_tensor(value) or isinstance(value, tf.Variable)
    return value.numpy() if is_tensor else value


def _restored(cls: type[T], arguments: dict[str, Any]) -> T:
    """Makes an unpickled distribution from its arguments."""
    return cls(**arguments)


def _check_sample_shape(owner: str, sample_shape: np.ndarray) -> None:
    """Raises unless a sample shape holds integers of at least 0."""
    if sample_shape.size and not (
        np.issubdtype(sample_shape.dtype, np.integer) and np.all(sample_shape >= 0)
    ):
        raise ValueError(
            f"{owner}.sample: sample_shape is no shape, received "
            f"sample_shape={sample_shape.tolist()!r}, expected integers of at least 0. "
            "Say how many samples to draw, for example sample(10) or sample([2, 5])."
        )


def of_any_rank(query: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorator of methods of a value and a mask, which may be of unknown rank.

    The axes before batch and event become one for the method, and are told apart again
    in its result.
    """

    @functools.wraps(query)
    def answer(
        self: SumProductNetwork,
        value: Tensor,
        observed: Tensor | None = None,
        **options: object,
    ) -> Tensor:
        if observed is not None and not tf.is_tensor(observed):
            observed = as_tensor(observed, "observed")
        known = [x for x in (value, observed) if x is not None]
        if all(x.shape.rank is not None for x in known):
            return query(self, value, observed, **options)
        event, mask = self._event.shape, self._event.mask_shape
        lead = tf.broadcast_dynamic_shape(
            _lead_of(value, event), self.batch_shape_tensor()
        )
        if observed is not None:
            lead = tf.broadcast_dynamic_shape(lead, _lead_of(observed, mask))
        lengths = options.get("lengths")
        if lengths is not None:
            lead = tf.broadcast_dynamic_shape(lead, tf.shape(lengths))
        rank = self.batch_shape.rank

        def merged(x: Tensor, inner: tuple[int, ...]) -> Tensor:
            x = tf.broadcast_to(x, tf.concat([lead, inner], 0))
            batch = tf.ensure_shape(lead[tf.size(lead) - rank :], [rank])
            return tf.reshape(x, tf.concat([[-1], batch, inner], 0))

        if lengths is not None:
            options["lengths"] = merged(lengths, ())
        observed = None if observed is None else merged(observed, mask)
        result = query(self, merged(value, event), observed, **options)
        rest = tf.shape(result)[1 + rank :]
        return tf.reshape(result, tf.concat([lead, rest], 0))

    return answer


def with_one_lead(
    event: Event, value: Tensor, observed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Value and mask, with one axis before the event if a rank is unknown."""
    if observed is not None:
        observed = tf.convert_to_tensor(observed)
    known = [x for x in (value, observed) if x is not None]
    if all(x.shape.rank is not None for x in known):
        return value, observed
    lead = _lead_of(value, event.shape)
    if observed is None:
        return tf.reshape(value, [-1, *event.shape]), None
    lead = tf.broadcast_dynamic_shape(lead, _lead_of(observed, event.mask_shape))
    value, observed = (
        tf.reshape(tf.broadcast_to(x, tf.concat([lead, inner], 0)), [-1, *inner])
        for x, inner in ((value, event.shape), (observed, event.mask_shape))
    )
    return value, observed


def _lead_of(x: Tensor, inner: tuple[int, ...]) -> Tensor:
    """The shape before the axes `inner`, which the tensor must have."""
    shape = tf.shape(x)
    place = tf.size(shape) - len(inner)
    fits = tf.debugging.assert_equal(
        shape[place:], inner, "tfp_spn: the last axes of a value are not the event's."
    )
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(shape[:place])
