"""A circuit as a `tfd.Distribution`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NoReturn

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.experimental.tangent_spaces.spaces import (
    TangentSpace,
)

from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.components import components_of
from tfp_spn.distributions import _event_space, _factors, _parameters, _queries
from tfp_spn.distributions._circuit_view import CircuitView, properties_of_params
from tfp_spn.distributions._event import (
    Event,
    Given,
    check_variables,
    check_vector_event,
)
from tfp_spn.distributions._parameters import Viewed
from tfp_spn.distributions._tensor_values import of_any_rank
from tfp_spn.distributions.conditioned import ConditionedSumProductNetwork
from tfp_spn.distributions.univariate import univariate_posteriors
from tfp_spn.programs.parameter_names import PRIOR


class SumProductNetwork(CircuitView, tfd.AutoCompositeTensorDistribution):
    """The distribution that a circuit defines.

        p(x) = sum_c p(c) p(x | c)

    over ``num_variables`` variables, where ``c`` ranges over the circuit's class roots
    (often just one). It is normalised whatever the parameters. Every query is exact:

    * ``log_prob(x, observed=mask)`` integrates out the variables where the mask is
      False, a different mask for each example;
    * ``sample``, ``mean``, ``variance``, ``stddev``, ``covariance``, ``mode``;
    * ``cdf(x)``: the probability that no variable is above its value (of those where a
      mask ``observed`` is True), and ``survival_function``, that some variable is (a
      sum over up to 32 variables, exact however small; of more, one less the cdf);
    * ``marginal(variables)`` and ``condition(x, observed)`` are distributions again;
    * ``univariate_posteriors(x, observed)``: all single-variable posteriors at once;
    * of a circuit with classes: ``posterior_marginal``, ``posterior_mode``,
      ``mixture_distribution``, ``components_distribution``.

    The distribution is a view: it owns nothing and reads the circuit's variables when
    asked, so it follows their training.

    Args:
        circuit: What `tfp_spn.circuits.from_region_graph` returns, or a
            `keras.Sequential` of region or spatial layers.
        params: Parameters by name, in place of the circuit's variables: tensors or
            variables with any leading batch dimensions, which broadcast against each
            other (a conditional sum-product network: parameters from a network).
        variables_of_event: Indices of the circuit's variables that the event ranges
            over, the others are integrated out. Default: all.
        validate_args: Whether to check values at run time: categories in range,
            no NaN under ``observed=True``. Without it such values have log-probability
            ``-inf``.
        allow_nan_stats: Whether undefined statistics (the mean of a Cauchy variable)
            are NaN; else they raise.
        name: Name of the distribution.

    Attributes:
        circuit: The circuit.
        params: Its parameters, un-read.

    Raises:
        ValueError: For values or masks of another shape, empty or repeated variables.
        TypeError: For values or masks of another dtype.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 2, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> spn = tfp_spn.distributions.SumProductNetwork(circuit)
        >>> spn.sample(3, seed=1).shape
        TensorShape([3, 4])
        >>> x = np.array([[0, 1, 1, 0]])
        >>> spn.condition(x, observed=[True, True, False, False]).mean().shape
        TensorShape([1, 4])
    """

    def __init__(
        self,
        circuit: Viewed,
        params: Params | None = None,
        variables_of_event: Sequence[int] | None = None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "SumProductNetwork",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            circuit = as_circuit(circuit)
            program = circuit.program
            live = circuit.live_params()
            params = live if params is None else params
            # A view of a circuit's own variables, not of their values or of others.
            self._is_view = isinstance(circuit, keras.Model) and _parameters.are_same(
                params, live
            )
            params = _parameters.check_params(
                params, circuit, program, "SumProductNetwork"
            )
            if variables_of_event is not None:
                variables_of_event = tuple(
                    check_variables(
                        variables_of_event, program.num_variables, "SumProductNetwork"
                    )
                )
            self._circuit = circuit
            self._params = self._no_dependency(params)
            self._event = Event(program, variables_of_event, "SumProductNetwork")
            parameters.update(
                circuit=circuit, params=params, variables_of_event=variables_of_event
            )
            self._begin(program.event_dtype, parameters, name)

    @classmethod
    def _parameter_properties(
        cls, dtype: tf.DType, num_classes: int | None = None
    ) -> dict:
        del dtype, num_classes
        return properties_of_params()

    @property
    def num_classes(self) -> int:
        """Number of class roots."""
        return self.program.num_classes

    # --- density ----------------------------------------------------------------

    @of_any_rank
    def _log_prob(self, value: Tensor, observed: TensorLike | None = None) -> Tensor:
        """With ``observed=``, only where the mask is True.

        Args (besides those of TFP):
            observed: bool ``[..., num_variables]`` (``[..., height, width]`` of
                images), or one mask for all examples: which values count. The others
                are integrated out exactly and may hold anything, NaN included.
                Default: all; an observed NaN has probability zero. Data with NaN are
                split by ``x, observed = tfp_spn.from_nan(x)``.
        """
        return self.ask_of(_queries.log_prob, Given(value, observed))

    @of_any_rank
    def _log_cdf(self, value: Tensor, observed: TensorLike | None = None) -> Tensor:
        """The probability that no value is above that of `value`.

        Args (besides those of TFP):
            observed: bool ``[..., num_variables]``: which variables are bounded.
                Default: all.
        """
        return self.log_cdf_of(value, observed)

    @of_any_rank
    def _log_survival_function(
        self, value: Tensor, observed: TensorLike | None = None
    ) -> Tensor:
        return self.log_cdf_of(value, observed, is_survival=True)

    def log_joint(
        self, value: TensorLike, observed: TensorLike | None = None
    ) -> Tensor:
        """``log p(x, c)`` for each class, ``[..., num_classes]``."""
        return self._log_joint(self._checked(value, observed), observed)

    @of_any_rank
    def _log_joint(self, value: Tensor, observed: TensorLike | None = None) -> Tensor:
        return self.ask_of(_queries.log_joint, Given(value, observed))

    # --- statistics ----------------------------------------------------------------

    def is_mode_exact(self) -> bool:
        """Whether `mode` is the mode of the density, not only of its best sub-circuit.

        True when at most one child of every sum can have positive probability: here,
        when no sum has more than one child (circuits whose sums are selective through
        their parameters are not recognised).
        """
        widths = [step.num_inputs for step in self.program.step.steps if step.sums]
        return all(width == 1 for width in widths) and self.num_classes == 1

    def _covariance(self) -> Tensor:
        check_vector_event(self._event, "covariance")
        self.check_moments()
        return self.defined(self.ask(_queries.covariance))

    def _entropy(self) -> Tensor:
        return _factors.entropy(self)

    @classmethod
    def experimental_fit(
        cls, value: TensorLike, *args: object, **kwargs: object
    ) -> NoReturn:
        """Not implemented: there is no closed form. Use `tfp_spn.learning.fit`."""
        raise NotImplementedError(
            "SumProductNetwork.experimental_fit: a circuit has no closed-form maximum "
            "likelihood. Use tfp_spn.learning.fit(spn, x), which learns a circuit by "
            "EM or gradient."
        )

    def _default_event_space_bijector(self) -> tfb.Bijector | None:
        return _event_space.default_bijector(self._event)

    def _experimental_tangent_space(self, x: Tensor) -> TangentSpace:
        return _event_space.tangent_space(self._event, x)

    # --- queries that give distributions ----------------------------------------

    def marginal(
        self, variables: Sequence[int], name: str | None = None
    ) -> SumProductNetwork:
        """The distribution of some of the variables, in the given order.

        Args:
            variables: Distinct indices of coordinates of this distribution's event;
                pixels of an image are counted row by row.
            name: Name of the result.

        Returns:
            A distribution with event shape ``[len(variables)]``.
        """
        chosen = self._event.subset(variables)
        name = name or f"{self.name}_marginal"
        return self.copy(variables_of_event=chosen, name=name)

    def condition(
        self,
        value: TensorLike,
        observed: TensorLike,
        validate_args: bool | None = None,
        name: str | None = None,
    ) -> ConditionedSumProductNetwork:
        """The distribution given some of the values, each example its own.

        Args:
            value: ``[..., *event_shape]``; what is not observed may be anything.
            observed: bool ``[..., num_variables]`` (``[..., height, width]`` of
                images), True where `value` counts.
            validate_args: As in the constructor; default: as this distribution.
            name: Name of the result.

        Returns:
            A distribution whose batch shape is the leading shape of `value` (broadcast
            with this distribution's) and whose samples repeat the observed values.
        """
        return ConditionedSumProductNetwork(
            self,
            value,
            observed,
            validate_args=self.validate_args
            if validate_args is None
            else validate_args,
            allow_nan_stats=self.allow_nan_stats,
            name=name or f"{self.name}_conditioned",
        )

    def univariate_posteriors(
        self, value: TensorLike | None = None, observed: TensorLike | None = None
    ) -> tfd.Distribution:
        """The distribution of every single variable given the evidence, in one pass.

        Args:
            value: Evidence ``[..., *event_shape]``, or `None` for the prior marginals.
            observed: bool mask. The posterior of an observed variable is a point mass
                on its value; where the result is a mixture, which has none, it is the
                mixture of the components that may have generated the value.

        Returns:
            A distribution with batch shape ``[..., num_variables]`` (pixels row by
            row): `tfd.Categorical` or `tfd.Bernoulli` over finitely many values, else a
            `tfd.MixtureSameFamily` of the leaf family. Its `cdf` and
            `survival_function` are those of single variables. Of variables of
            different types it is a `MixedUnivariate`, which has the distribution of a
            single one, ``posteriors.of_variable(2)``.
        """
        return univariate_posteriors(self, value, observed)

    # --- classes ----------------------------------------------------------------

    @property
    def mixture_distribution(self) -> tfd.Categorical:
        """``p(c)``."""
        log_prior = self.tables().log_prior
        if log_prior is None:
            log_prior = tf.zeros([1], self.program.dtype)
        return tfd.Categorical(logits=log_prior)

    @property
    def components_distribution(self) -> SumProductNetwork:
        """``p(x | c)``: batch shape ends in ``[num_classes]``."""
        components = components_of(self._circuit)
        params = {k: v for k, v in self._params.items() if k != PRIOR}
        for name, ndims in self.program.param_event_ndims.items():
            if name in params and params[name].shape.rank > ndims:
                params[name] = tf.expand_dims(params[name], -ndims - 1)
        return SumProductNetwork(
            components,
            params={**params, "selector": components.selector()},
            variables_of_event=self.variables_of_event,
            validate_args=self.validate_args,
            allow_nan_stats=self.allow_nan_stats,
            name=f"{self.name}_components",
        )

    def posterior_marginal(
        self, value: TensorLike, observed: TensorLike | None = None
    ) -> tfd.Categorical:
        """``p(c | x)``; the prior where the evidence is impossible."""
        log_joint = self.log_joint(value, observed)
        possible = tf.reduce_max(log_joint, -1, keepdims=True) > -float("inf")
        prior = self.mixture_distribution.logits
        return tfd.Categorical(logits=tf.where(possible, log_joint, prior))

    def posterior_mode(
        self, value: TensorLike, observed: TensorLike | None = None
    ) -> Tensor:
        """The most probable class, int32."""
        return self.posterior_marginal(value, observed).mode()


@functools.singledispatch
def view_of(
    circuit: Circuit, params: Params | None = None, **arguments: Any
) -> SumProductNetwork:
    """The distribution over a circuit; those of other kinds join in their modules."""
    return SumProductNetwork(circuit, params, **arguments)


@tfd.RegisterKL(SumProductNetwork, SumProductNetwork)
def _kl_divergence(
    one: SumProductNetwork, other: SumProductNetwork, name: str | None = None
) -> Tensor:
    with tf.name_scope(name or "kl_sum_product_networks"):
        return _factors.kl_divergence(one, other)


def as_circuit(circuit: keras.Model) -> Circuit:
    """A circuit, compiled if it is a `keras.Sequential`."""
    if isinstance(circuit, keras.Sequential):
        from tfp_spn.circuits.from_layers import from_layers

        return from_layers(circuit)
    if not hasattr(circuit, "program"):
        raise TypeError(
            "SumProductNetwork: circuit must be what "
            "tfp_spn.circuits.from_region_graph returns, or a keras.Sequential of "
            "tfp_spn layers; received "
            f"{type(circuit).__name__}."
        )
    if circuit.program.chain_specs:
        raise TypeError(
            f"SumProductNetwork: received a {type(circuit).__name__}, a circuit over "
            "sequences, expected one over vectors or images. Use "
            "tfp_spn.distributions.DynamicSumProductNetwork."
        )
    return circuit
