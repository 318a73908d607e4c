"""The conditional distribution given evidence, each example its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.experimental.tangent_spaces.spaces import (
    TangentSpace,
)

from tfp_spn._typing import Seed, Tensor, TensorLike
from tfp_spn.distributions import (
    _assertions,
    _event_space,
    _parameters,
    _queries,
)
from tfp_spn.distributions._event import Given, check_vector_event
from tfp_spn.distributions._tensor_values import (
    TensorValues,
    of_any_rank,
    with_one_lead,
)
from tfp_spn.distributions.conditional_marginal import ConditionalMarginal
from tfp_spn.ops.log_space import at_most_zero, log1mexp

if TYPE_CHECKING:
    from tfp_spn.distributions.sum_product_network import SumProductNetwork

T = TypeVar("T")


class ConditionedSumProductNetwork(TensorValues, tfd.AutoCompositeTensorDistribution):
    """A circuit's distribution given some of the values.

        p(x | evidence) = p(x) / p(evidence)   if x agrees with the evidence, else 0

    Events keep their shape: samples, modes and means repeat the observed values, so
    that each example may have another mask. Densities are those of the unobserved
    coordinates, cdfs those of all: 0 below an observed value. Usually made by
    `SumProductNetwork.condition`.

    Args:
        distribution: A `SumProductNetwork`.
        value: Evidence, ``[..., *event_shape]``; unobserved values may be anything.
        observed: bool ``[..., num_variables]`` (``[..., height, width]`` of images),
            True where `value` counts.
        validate_args: Whether to check at run time that observed values lie in the
            support and are not NaN.
        allow_nan_stats: Whether undefined statistics are NaN; else they raise.
        name: Name of the distribution.

    Evidence of probability zero leaves nothing to condition on: `log_prob` is ``-inf``,
    samples and moments follow the circuit's unconditional choices where the evidence
    says nothing.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 2, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> spn = tfp_spn.distributions.SumProductNetwork(circuit)
        >>> x = np.array([[0, 1, 1, 0], [1, 1, 0, 0]])
        >>> given = spn.condition(x, observed=[[True] * 4, [True, False, False, True]])
        >>> given.batch_shape, given.sample(5, seed=1).shape
        (TensorShape([2]), TensorShape([5, 2, 4]))
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        value: TensorLike,
        observed: TensorLike,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "ConditionedSumProductNetwork",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            event = distribution._event  # noqa: SLF001
            params = distribution.params
            value = event.value(event.as_tensor(value, observed, params))
            observed = event.mask(observed, event.lead_of(value))
            self._distribution = distribution
            self._event = event
            self._value = value
            self._observed = observed
            parameters.update(value=value, observed=observed)
            self._begin(distribution.dtype, parameters, name)

    @classmethod
    def _parameter_properties(
        cls, dtype: tf.DType, num_classes: int | None = None
    ) -> dict:
        del dtype, num_classes
        return {
            "distribution": _parameters.BatchedComponentProperties(),
            "value": tfp.util.ParameterProperties(
                event_ndims=lambda self: self._event.ndims  # noqa: SLF001
            ),
            "observed": tfp.util.ParameterProperties(
                event_ndims=lambda self: len(self._event.mask_shape)  # noqa: SLF001
            ),
        }

    @property
    def distribution(self) -> SumProductNetwork:
        """The unconditional distribution."""
        return self._distribution

    @property
    def value(self) -> Tensor:
        """The evidence."""
        return self._value

    @property
    def observed(self) -> Tensor:
        """Which values count."""
        return self._observed

    def _event_shape(self) -> tf.TensorShape:
        return self._distribution.event_shape

    def _event_shape_tensor(self) -> Tensor:
        return self._distribution.event_shape_tensor()

    def _as_tensor(self, value: TensorLike, observed: TensorLike = None) -> Tensor:
        return self._event.as_tensor(value, observed, self._distribution.params)

    def _ask(self, function: Callable[..., T], *arguments: Tensor) -> T:
        """The answer to a query that is given the evidence."""
        given = Given(self._value, self._observed)
        return self._distribution.ask_given(function, *arguments, given)

    def _parameter_control_dependencies(self, is_init: bool) -> list:
        if not (self.validate_args and is_init):
            return []
        value, observed = self._event.spread(self._value, self._observed)
        return _assertions.in_support(self._distribution, value, observed)

    def _sample_control_dependencies(
        self, value: Tensor, observed: TensorLike | None = None
    ) -> list:
        if not self.validate_args:
            return []
        value, observed = with_one_lead(self._event, value, observed)
        value, observed = self._event.spread(value, observed)
        return _assertions.in_support(self._distribution, value, observed)

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Trainable variables; those of frozen Keras layers are left out."""
        return self._distribution.trainable_variables

    def condition(
        self,
        value: TensorLike,
        observed: TensorLike,
        validate_args: bool | None = None,
        name: str | None = None,
    ) -> ConditionedSumProductNetwork:
        """The distribution given further values.

        Args:
            value: As in `SumProductNetwork.condition`.
            observed: Where `value` counts, unless the present evidence has a value.
            validate_args: As in the constructor; default: as this distribution.
            name: Name of the result.
        """
        value = self._event.value(self._as_tensor(value, observed))
        observed = self._event.mask(observed, self._event.lead_of(value))
        if validate_args is None:
            validate_args = self.validate_args
        return type(self)(
            self._distribution,
            tf.where(self._is_observed(), self._value, value),
            observed | self._observed,
            validate_args=validate_args,
            allow_nan_stats=self.allow_nan_stats,
            name=name or self.name,
        )

    def marginal(
        self,
        variables: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        name: str | None = None,
    ) -> ConditionalMarginal:
        """The distribution of some of the variables given the evidence.

        Args:
            variables: Distinct indices of coordinates of the event (of each step, if
                it is a sequence); pixels of an image are counted row by row. Default:
                all.
            steps: Of sequences: distinct indices of steps. Default: all.
            name: Name of the result.

        Returns:
            A distribution with event shape ``[len(variables)]``, or ``[len(steps),
            len(variables)]``.
        """
        if variables is None:
            step = self._event.mask_shape[1 if self._event.has_steps else 0 :]
            variables = range(math.prod(step))
        return ConditionalMarginal(
            self,
            variables,
            steps,
            validate_args=self.validate_args,
            allow_nan_stats=self.allow_nan_stats,
            name=name or f"{self.name}_marginal",
        )

    def log_evidence(self) -> Tensor:
        """``log p(evidence)``, of the shape of the batch."""
        return self._distribution.log_prob(self._value, observed=self._observed)

    def _is_observed(self) -> Tensor:
        """Returns the mask with an axis for the dimensions of variables."""
        return self._with_rank_of_value(self._observed)

    def _with_rank_of_value(self, mask: Tensor) -> Tensor:
        """Inserts axes, so that the evidence has the rank of a value."""
        has_value_rank = len(self._event.mask_shape) == self._event.ndims
        return mask if has_value_rank else mask[..., tf.newaxis]

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
        value, asked, holds = self._asked(
            value, observed, lambda value: value == self._value
        )
        if asked is not None:
            asked |= self._observed
        merged = tf.where(self._is_observed(), self._value, value)
        log_prob = self._distribution.log_prob(merged, observed=asked)
        return self._relative_to_evidence(log_prob, holds)

    @of_any_rank
    def _log_cdf(self, value: Tensor, observed: TensorLike | None = None) -> Tensor:
        """The probability that no value is above that of `value`.

        Args (besides those of TFP):
            observed: bool ``[..., num_variables]``: which variables are bounded.
                Default: all.
        """
        return self._log_cdf_of(value, observed)

    def _log_survival_function(
        self, value: Tensor, observed: TensorLike | None = None
    ) -> Tensor:
        return self._log_cdf_of(value, observed, is_survival=True)

    def _log_cdf_of(
        self, value: Tensor, observed: TensorLike | None, is_survival: bool = False
    ) -> Tensor:
        """Log-probability that no bound is exceeded, or that some bound is."""
        value, asked, holds = self._asked(
            value, observed, lambda value: self._value <= value
        )
        given = self._observed
        if asked is not None:
            given &= tf.ones_like(asked)  # of all leading axes
        merged = tf.where(self._is_observed(), self._value, value)
        bounds = self._event.maybe_bounded(asked, given)
        is_exact = 0 < self._event.num_bounds(bounds) <= _queries.MAX_TERMS
        log_joint = self._distribution.ask_of(
            _queries.log_cdf,
            Given(merged, observed=given, bounded=asked),
            can_be_bounded=bounds,
            is_survival=is_survival and is_exact,
        )
        found = at_most_zero(self._relative_to_evidence(log_joint, holds))
        if not is_survival:
            return found
        if not is_exact:
            return log1mexp(found)
        # An observed value above its bound, or impossible evidence, is not below.
        possible = holds & (self.log_evidence() > -float("inf"))
        return tf.where(possible, found, tf.zeros_like(found))

    def _asked(
        self,
        value: Tensor,
        observed: TensorLike | None,
        agrees: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Returns value, mask, and whether the value agrees with the evidence."""
        value = self._event.value(value)
        lead = value.shape[: value.shape.rank - self._event.ndims]
        _queries.check_broadcasts(lead, self)
        holds = agrees(value) | ~self._is_observed()
        if observed is not None:
            observed = self._event.mask(observed, lead)
            holds |= ~self._with_rank_of_value(observed)
        holds = tf.reduce_all(holds, axis=list(range(-self._event.ndims, 0)))
        return value, observed, holds

    def _relative_to_evidence(self, log_joint: Tensor, holds: Tensor) -> Tensor:
        """``log_joint - log p(evidence)``, ``-inf`` where one or the other fails."""
        log_evidence = self.log_evidence()
        possible = holds & (log_evidence > -float("inf"))
        safe_evidence = tf.where(possible, log_evidence, tf.zeros_like(log_evidence))
        return tf.where(possible, log_joint - safe_evidence, -float("inf"))

    def _sample_n(self, n: Tensor, seed: Seed = None) -> Tensor:
        n = tf.convert_to_tensor(n, tf.int32)
        drawn = self._ask(_queries.sample, n, tfp.random.sanitize_seed(seed))
        static = tf.TensorShape([tf.get_static_value(n)])
        drawn = tf.ensure_shape(drawn, static.concatenate(drawn.shape[1:]))
        return self._with_evidence(drawn)

    def _mode(self) -> Tensor:
        return self._with_evidence(self._ask(_queries.mode))

    def _with_evidence(self, value: Tensor) -> Tensor:
        """Puts the observed values in the place of others."""
        merged = tf.where(self._is_observed(), self._value, value)
        return tf.cast(merged, self.dtype)

    def _mean(self) -> Tensor:
        self._distribution.check_moments()
        mean, _ = self._ask(_queries.mean_and_variance)
        mean = tf.where(self._is_observed(), self._value, mean)
        return self._distribution.defined(mean)

    def _variance(self) -> Tensor:
        self._distribution.check_moments()
        _, variance = self._ask(_queries.mean_and_variance)
        zero = tf.zeros([], variance.dtype)
        variance = tf.where(self._is_observed(), zero, variance)
        return self._distribution.defined(variance)

    def _covariance(self) -> Tensor:
        check_vector_event(self._event, "covariance")
        self._distribution.check_moments()
        covariance = self._ask(_queries.covariance)
        hidden = ~self._observed
        both = hidden[..., :, tf.newaxis] & hidden[..., tf.newaxis, :]
        covariance = tf.where(both, covariance, tf.zeros([], covariance.dtype))
        return self._distribution.defined(covariance)

    def _default_event_space_bijector(self) -> None:
        return None  # observed coordinates are fixed: no bijection onto the support

    def _experimental_tangent_space(self, x: Tensor) -> TangentSpace:
        if self._distribution.program.leaf.is_discrete:
            return _event_space.tangent_space(self._event, x)
        raise NotImplementedError(
            f"{type(self).__name__}: the density is that of the unobserved "
            "coordinates, so that no bijector of the whole event has the right volume. "
            "Transform the distribution of all variables, or a marginal."
        )

    def univariate_posteriors(self) -> tfd.Distribution:
        """As `SumProductNetwork.univariate_posteriors`, under the evidence."""
        return self._distribution.univariate_posteriors(self._value, self._observed)
