"""What distributions have in common that read a circuit's parameters when asked."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Self, TypeVar

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.internal.parameter_properties import (
    ParameterProperties,
)

from tfp_spn._keras_bridge import frozen_variable_ids
from tfp_spn._typing import Config, Params, Seed, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.distributions import _assertions, _parameters, _queries
from tfp_spn.distributions._event import Event, EventKey, Given
from tfp_spn.distributions._tensor_values import TensorValues, with_one_lead
from tfp_spn.ops.log_space import log1mexp
from tfp_spn.programs.program import Program, ProgramTables

T = TypeVar("T")


def properties_of_params() -> dict[str, ParameterProperties]:
    """For `_parameter_properties`, which TFP wants of each class with `__init__`."""
    return _Properties(
        params=tfp.util.ParameterProperties(
            event_ndims=lambda self: dict(self.program.param_event_ndims),
            shape_fn=_parameters.no_shape,
            default_constraining_bijector_fn=_parameters.no_bijector,
        )
    )


class _Properties(dict):
    """Properties of the parameters that are tensors.

    ASVI takes the circuit for one of them, too.
    """

    def __missing__(self, name: str) -> None:
        raise NotImplementedError(
            f"SumProductNetwork: {name!r} is no tensor, received a request for its "
            "properties, expected one for those of 'params'. If it comes from "
            "tfp.experimental.vi.build_asvi_surrogate_posterior, which interpolates "
            "parameters of priors: pass surrogate_rules with a rule for circuits, or "
            "use tfp.experimental.vi.build_factored_surrogate_posterior."
        )


class CircuitView(TensorValues):
    """Mixin of distributions over a circuit, before `tfd.Distribution` in the bases.

    Attributes:
        _circuit: The circuit.
        _params: Its parameters by name, un-read.
        _is_view: Whether these are the very variables of the circuit.
        _event: The variables that the event ranges over.
    """

    _circuit: Circuit
    _params: Params
    _is_view: bool
    _event: Event
    allow_nan_stats: bool
    dtype: tf.DType
    validate_args: bool

    @property
    def circuit(self) -> Circuit:
        """The circuit."""
        return self._circuit

    @property
    def params(self) -> Params:
        """Parameters by name, un-read."""
        return self._params

    @property
    def program(self) -> Program:
        """The compiled circuit."""
        return self._circuit.program

    @property
    def event_key(self) -> EventKey:
        """The variables of the event, for `Query`."""
        return self._event.key

    @property
    def variables_of_event(self) -> tuple[int, ...]:
        """The circuit's variables (of one step) that the event ranges over."""
        return self._event.variables

    @property
    def chosen_of_event(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """By name of an axis, what the event ranges over, and how much there is."""
        return self._event.chosen

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Trainable variables; those of frozen Keras layers are left out."""
        frozen = frozen_variable_ids(self._circuit)
        variables = super().trainable_variables  # type: ignore[misc]
        return tuple(v for v in variables if id(v) not in frozen)

    def _arguments(self) -> Config:
        arguments = super()._arguments()
        if self._is_view:  # the circuit brings its own
            arguments["params"] = None
        return arguments

    def copy(self, **override_parameters_kwargs: object) -> Self:
        """As in TFP; with another circuit, a view of that circuit's own parameters.

        Parameters that are not those of the present circuit stay, unless replaced too.
        """
        changes = override_parameters_kwargs
        if "circuit" in changes and "params" not in changes and self._is_view:
            changes["params"] = None
        return super().copy(**changes)  # type: ignore[misc]

    def tables(self) -> ProgramTables:
        """Reads the parameters, once each."""
        params = {k: tf.convert_to_tensor(v) for k, v in self._params.items()}
        return self.program.tables(params)

    def ask(self, function: Callable[..., T], *arguments: Tensor, **options: Any) -> T:
        """The answer to a query that is given no evidence, see `_queries.ask`."""
        return _queries.ask(self, function, *arguments, **options)

    def ask_of(
        self,
        function: Callable[..., T],
        given: Given,
        **options: Any,
    ) -> T:
        """The answer to a query about values, checked as far as they are known."""
        given = self._event.checked(given)
        if self.batch_rank:
            _queries.check_broadcasts(self._event.lead_of(given.value), self)
        return self.ask_given(function, given, **options)

    def ask_given(
        self, function: Callable[..., T], *arguments: Tensor, **options: Any
    ) -> T:
        """The answer to a query whose last argument is checked evidence."""
        count = self._num_examples(arguments[-1].value)
        return _queries.ask(self, function, *arguments, num_examples=count, **options)

    def log_cdf_of(
        self, value: Tensor, observed: TensorLike | None, is_survival: bool = False
    ) -> Tensor:
        """Log-probability that no bound is exceeded, or that some bound is."""
        given = self._event.checked(Given(value, bounded=observed))
        bounds = self._event.maybe_bounded(given.bounded)
        if is_survival and not 0 < self._event.num_bounds(bounds) <= _queries.MAX_TERMS:
            return log1mexp(self.log_cdf_of(value, observed))
        return self.ask_of(
            _queries.log_cdf, given, can_be_bounded=bounds, is_survival=is_survival
        )

    def _num_examples(self, value: Tensor) -> int | None:
        """Returns how many examples each member of the batch has, if that is known."""
        lead = self._event.lead_of(value)
        own = lead[: max(0, lead.rank - self.batch_rank)]
        return math.prod(own) if own.is_fully_defined() else None

    @functools.cached_property
    def batch_rank(self) -> int:
        """Number of batch dimensions."""
        ranks = [
            self._params[name].shape.rank - ndims
            for name, ndims in self.program.param_event_ndims.items()
        ]
        return max([0, *ranks])

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._event.shape)

    def _event_shape_tensor(self) -> Tensor:
        return tf.constant(self._event.shape, tf.int32)

    def _sample_n(self, n: Tensor, seed: Seed = None) -> Tensor:
        seed = tfp.random.sanitize_seed(seed)
        drawn = self.ask(_queries.sample, tf.convert_to_tensor(n, tf.int32), seed)
        static = tf.TensorShape([tf.get_static_value(n)])
        return tf.cast(self._with_shape(drawn, static), self.dtype)

    def _mode(self) -> Tensor:
        return tf.cast(self.ask(_queries.mode), self.dtype)

    def _mean(self) -> Tensor:
        self.check_moments()
        return self.defined(self.ask(_queries.mean_and_variance)[0])

    def _variance(self) -> Tensor:
        self.check_moments()
        return self.defined(self.ask(_queries.mean_and_variance)[1])

    def check_moments(self) -> None:
        """Raises if moments are undefined and NaN is not allowed in their place."""
        leaf = self.program.leaf
        if not (leaf.has_moments or self.allow_nan_stats):
            raise ValueError(
                f"SumProductNetwork: a moment of {leaf.label} is undefined, and "
                "allow_nan_stats=False. Use mode, or allow_nan_stats=True to receive "
                "NaN."
            )

    def defined(self, moment: Tensor) -> Tensor:
        """A moment; an error at run time if it is NaN and may not be."""
        if self.allow_nan_stats:
            return moment
        with tf.control_dependencies([_assertions.is_defined(self, moment)]):
            return tf.identity(moment)

    def _with_shape(self, drawn: Tensor, lead: tf.TensorShape) -> Tensor:
        """Notes what is known of the shape of samples."""
        tail = drawn.shape[drawn.shape.rank - self._event.ndims :]
        middle = drawn.shape[lead.rank : drawn.shape.rank - self._event.ndims]
        return tf.ensure_shape(drawn, lead.concatenate(middle).concatenate(tail))

    def _as_tensor(self, value: TensorLike, observed: Any = None) -> Tensor:
        return self._event.as_tensor(value, observed, self._params)

    def _checked(self, value: TensorLike, *arguments: TensorLike) -> Tensor:
        """The value as a tensor, checked at run time if `validate_args`."""
        value = self._as_tensor(value, *arguments[:1])
        checks = self._sample_control_dependencies(value, *arguments)
        if not checks:
            return value
        with tf.control_dependencies(checks):
            return tf.identity(value)

    def _sample_control_dependencies(
        self, value: Tensor, observed: TensorLike | None = None
    ) -> list:
        if not self.validate_args:
            return []
        value, observed = with_one_lead(self._event, value, observed)
        value, observed = self._event.spread(value, observed)
        return _assertions.in_support(self, value, observed)
