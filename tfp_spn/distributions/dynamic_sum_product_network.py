"""A circuit over sequences as a `tfd.Distribution`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.experimental.tangent_spaces.spaces import (
    TangentSpace,
)

from tfp_spn._typing import Config, Params, Tensor, TensorLike
from tfp_spn.circuits.dynamic_circuit import DynamicCircuit
from tfp_spn.distributions import _assertions, _event_space, _parameters, _queries
from tfp_spn.distributions._circuit_view import CircuitView, properties_of_params
from tfp_spn.distributions._event import check_variables, check_vector_event
from tfp_spn.distributions._hidden_states import HiddenStates
from tfp_spn.distributions._sequence_event import Padding, SequenceEvent
from tfp_spn.distributions._tensor_values import of_any_rank
from tfp_spn.distributions.conditioned_dynamic import (
    ConditionedDynamicSumProductNetwork,
)
from tfp_spn.distributions.sum_product_network import view_of
from tfp_spn.programs.dynamic.dynamic_program import DynamicProgram

_OWNER = "DynamicSumProductNetwork"


class DynamicSumProductNetwork(
    HiddenStates, CircuitView, tfd.AutoCompositeTensorDistribution
):
    """The distribution over sequences that a dynamic circuit defines.

        p(x) = sum_{q_1 ... q_T} p(q_1) c[q_1](x_1) prod_t p(q_t | q_{t-1}) c[q_t](x_t)

    where ``c[k]`` are the roots of a circuit over one step and the interface carries
    on what is known from step to step: a hidden Markov model whose observations are a
    circuit's, or a more general template, see `tfp_spn.circuits.dynamic_from_circuit`.
    Events are ``[num_steps, *event_shape]`` of the template's. Every query is exact:

    * ``log_prob(x, observed=mask)`` integrates out any variables of any steps;
      ``log_prob(x, lengths=lengths)`` takes sequences of unequal length, whose padding
      may hold anything;
    * ``cdf(x)``: the probability that no variable of any step is above its value;
    * ``sample``, ``mean``, ``variance``, ``stddev``, ``mode`` (max-product decoding);
    * ``marginal(variables, steps)`` and ``condition(x, observed)`` are distributions
      again: imputation, and forecasts where the past is observed;
    * of the hidden states, named as in `tfd.HiddenMarkovModel`:
      ``posterior_marginals``, ``prior_marginals``, ``posterior_mode``, and
      ``filtered_marginals``; ``predictive_log_probs`` of each step given those before.

    The distribution is a view: it owns nothing and reads the circuit's variables when
    asked, so it follows their training.

    Args:
        circuit: What `tfp_spn.circuits.dynamic_from_circuit` returns.
        params: Parameters by name, in place of the circuit's variables: tensors or
            variables with any leading batch dimensions, which broadcast against each
            other (a conditional model: parameters from a network). `chain_params`
            makes those of the interface from stochastic matrices.
        variables_of_event: Indices of the template's variables that the event ranges
            over, the others are integrated out. Default: all.
        steps_of_event: Indices of the steps that the event ranges over. Default: all.
        parameters_in_time: Names of parameters of the template that have an axis
            ``[num_steps]`` after the batch: another value for each step.
        validate_args: Whether to check values at run time: categories in range, no NaN
            under ``observed=True``.
        allow_nan_stats: Whether undefined statistics (the mean of a Cauchy variable)
            are NaN; else they raise.
        name: Name of the distribution.

    Attributes:
        circuit: The circuit.
        params: Its parameters, un-read.

    Raises:
        ValueError: For values, masks or lengths that do not fit; lengths of 0 or more
            than `num_steps`.
        TypeError: For arguments of another type.

    Example:
        >>> import numpy as np, tfp_spn
        >>> template = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(3, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.NormalLeaf(num_components=2), num_sums=2,
        ...     num_classes=4)
        >>> circuit = tfp_spn.circuits.dynamic_from_circuit(template, num_steps=10)
        >>> spn = tfp_spn.distributions.DynamicSumProductNetwork(circuit)
        >>> x = spn.sample(2, seed=1)
        >>> x.shape, spn.log_prob(x, lengths=[10, 7]).shape
        (TensorShape([2, 10, 3]), TensorShape([2]))
        >>> past = np.arange(10)[:, np.newaxis] < 6
        >>> spn.condition(x, observed=past).mean().shape  # a forecast
        TensorShape([2, 10, 3])

    Source:
        Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 77 (1989); Melibari,
        Poupart, Doshi, Trimponias, "Dynamic sum product networks for tractable
        inference on sequence data", PGM 2016.
    """

    _event: SequenceEvent

    def __init__(
        self,
        circuit: DynamicCircuit,
        params: Params | None = None,
        variables_of_event: Sequence[int] | None = None,
        steps_of_event: Sequence[int] | None = None,
        parameters_in_time: Sequence[str] = (),
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "DynamicSumProductNetwork",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            if not isinstance(circuit, DynamicCircuit):
                raise TypeError(
                    f"{_OWNER}: circuit must be what tfp_spn.circuits."
                    f"dynamic_from_circuit returns, received {type(circuit).__name__}. "
                    "Build one over your circuit: dynamic_from_circuit(circuit, "
                    "num_steps=...)."
                )
            program = circuit.program
            parameters_in_time = tuple(parameters_in_time)
            if parameters_in_time:
                program = _in_time(program, parameters_in_time)
            live = circuit.live_params()
            params = live if params is None else params
            self._is_view = _parameters.are_same(params, live)
            params = _parameters.check_params(params, circuit, program, _OWNER)
            if variables_of_event is not None:
                variables_of_event = tuple(
                    check_variables(variables_of_event, program.num_variables, _OWNER)
                )
            if steps_of_event is not None:
                steps_of_event = tuple(
                    check_variables(steps_of_event, program.num_steps, _OWNER, "steps")
                )
            self._circuit = circuit
            self._program = program
            self._params = self._no_dependency(params)
            self._event = SequenceEvent(
                program, variables_of_event, steps_of_event, _OWNER
            )
            parameters.update(
                circuit=circuit,
                params=params,
                variables_of_event=variables_of_event,
                steps_of_event=steps_of_event,
                parameters_in_time=parameters_in_time,
            )
            self._begin(program.event_dtype, parameters, name)

    @classmethod
    def _parameter_properties(
        cls, dtype: tf.DType, num_classes: int | None = None
    ) -> dict:
        del dtype, num_classes
        return properties_of_params()

    @property
    def steps_of_event(self) -> tuple[int, ...]:
        """The steps that the event ranges over."""
        return self._event.steps

    @property
    def parameters_in_time(self) -> tuple[str, ...]:
        """Names of the template's parameters that have an axis of steps."""
        return tuple(sorted(self._program.parameters_in_time))

    @property
    def program(self) -> DynamicProgram:
        """The compiled circuit."""
        return self._program

    @property
    def num_steps(self) -> int:
        """Steps of the circuit."""
        return self._program.num_steps

    @property
    def num_states(self) -> int:
        """Units of the interface: what the posteriors range over."""
        return self._program.num_interfaces

    # --- density -----------------------------------------------------------------

    @of_any_rank
    def _log_prob(
        self,
        value: Tensor,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> Tensor:
        """With ``observed=`` or ``lengths=``, of a part of the values.

        Args (besides those of TFP):
            observed: bool ``[..., num_steps, num_variables]`` or ``[..., num_steps,
                1]``: which values count. The others are integrated out exactly and may
                hold anything, NaN included. Default: all.
            lengths: int ``[...]``: how many steps each sequence has. Default: all.
            padding: ``"right"`` or ``"left"``: on which side the padding is.
        """
        given = self._event.with_lengths(value, observed, lengths, padding)
        return self.ask_of(_queries.log_prob, given)

    @of_any_rank
    def _log_cdf(
        self, value: Tensor, *given: TensorLike, **named: TensorLike
    ) -> Tensor:
        value, observed, _ = self._event.with_lengths(value, *given, **named)
        return self.log_cdf_of(value, observed)

    @of_any_rank
    def _log_survival_function(
        self, value: Tensor, *given: TensorLike, **named: TensorLike
    ) -> Tensor:
        value, observed, _ = self._event.with_lengths(value, *given, **named)
        return self.log_cdf_of(value, observed, is_survival=True)

    def _mask_given(self, kwargs: Config) -> TensorLike:
        """The mask, without the steps behind the ends; arguments may be wrong."""
        observed, lengths = super()._mask_given(kwargs), kwargs.get("lengths")
        if lengths is None:
            return observed
        try:
            lengths = tf.convert_to_tensor(lengths)
            exists = tf.sequence_mask(lengths, self._event.shape[0])
            if kwargs.get("padding") == "left":
                exists = tf.reverse(exists, [-1])
            exists = exists[(..., *[tf.newaxis] * (len(self._event.mask_shape) - 1))]
            exists = tf.broadcast_to(exists, [*lengths.shape, *self._event.mask_shape])
            return (
                exists if observed is None else exists & tf.convert_to_tensor(observed)
            )
        except (TypeError, ValueError, tf.errors.InvalidArgumentError):
            return observed

    def _sample_control_dependencies(
        self, value: Tensor, *given: TensorLike, **named: TensorLike
    ) -> list:
        if not self.validate_args:
            return []
        value, observed, _ = self._event.with_lengths(value, *given, **named)
        value, observed = self._event.spread(value, observed)
        return _assertions.in_support(self, value, observed)

    # --- statistics ------------------------------------------------------------------

    def _covariance(self) -> None:
        check_vector_event(self._event, "covariance")  # it never is: this raises

    def _default_event_space_bijector(self) -> tfb.Bijector | None:
        return _event_space.default_bijector(self._event.step)

    def _experimental_tangent_space(self, x: Tensor) -> TangentSpace:
        event = self._event
        return _event_space.tangent_space(event.step, x, len(event.steps))

    # --- queries that give distributions --------------------------------------------

    def marginal(
        self,
        variables: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        name: str | None = None,
    ) -> DynamicSumProductNetwork:
        """The distribution of some variables of some steps, in the given order.

        Args:
            variables: Distinct indices of variables of a step; pixels of an image are
                counted row by row. Default: all.
            steps: Distinct indices of steps. Default: all.
            name: Name of the result.

        Returns:
            A distribution with event shape ``[len(steps), len(variables)]``.
        """
        changes: Config = {"name": name or f"{self.name}_marginal"}
        if variables is not None:
            changes["variables_of_event"] = self._event.subset(variables)
        if steps is not None:
            changes["steps_of_event"] = self._event.subset_of_steps(steps)
        return self.copy(**changes)

    def condition(
        self,
        value: TensorLike,
        observed: TensorLike,
        validate_args: bool | None = None,
        name: str | None = None,
    ) -> ConditionedDynamicSumProductNetwork:
        """The distribution given some of the values, each example its own.

        Args:
            value: ``[..., *event_shape]``; what is not observed may be anything.
            observed: bool ``[..., num_steps, num_variables]`` (or ``[..., num_steps,
                1]``, for whole steps), True where `value` counts. To forecast, the
                past: ``np.arange(num_steps)[:, np.newaxis] < now``.
            validate_args: As in the constructor; default: as this distribution.
            name: Name of the result.

        Returns:
            A distribution whose batch shape is the leading shape of `value` (broadcast
            with this distribution's) and whose samples repeat the observed values.
        """
        return ConditionedDynamicSumProductNetwork(
            self,
            value,
            observed,
            validate_args=self.validate_args
            if validate_args is None
            else validate_args,
            allow_nan_stats=self.allow_nan_stats,
            name=name or f"{self.name}_conditioned",
        )


@view_of.register(DynamicCircuit)
def _view_of_sequences(
    circuit: DynamicCircuit, params: Params | None = None, **arguments: Any
) -> DynamicSumProductNetwork:
    return DynamicSumProductNetwork(circuit, params, **arguments)


def _in_time(program: DynamicProgram, names: tuple[str, ...]) -> DynamicProgram:
    """Returns the program with an axis of steps for these parameters."""
    known = program.step.param_event_ndims
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"{_OWNER}: received parameters_in_time={list(names)}, of which {unknown} "
            f"are no parameters of the template, expected any of {sorted(known)}. "
            "Transitions that differ in time come from a circuit with "
            "is_stationary=False."
        )
    return dataclasses.replace(program, parameters_in_time=frozenset(names))
