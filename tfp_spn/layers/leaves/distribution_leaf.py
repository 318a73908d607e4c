"""Leaves of any family of TensorFlow Probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import (
    family_named,
    is_discrete_family,
    is_distribution,
    is_family,
    name_of_family,
)
from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves import family_parameters
from tfp_spn.layers.leaves.base_leaf import BaseLeaf, ParameterSpec
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.family_parameters import FamilyParameter
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.maximum_likelihood import FAMILIES, MaximumLikelihood
from tfp_spn.layers.leaves.support import (
    SUPPORT_OF_FAMILY,
    SUPPORTS,
    Support,
    integers_up_to,
)

_HAVE_A_LEAF = {
    "Cauchy": "CauchyLeaf",
    "Laplace": "LaplaceLeaf",
}


@register
class DistributionLeaf(ElementwiseLeaf):
    """Components of any family of `tfd`.

        log p(x | k) = sum_d make_distribution(**parameters[k, d]).log_prob(x[d])

    or, for families of vectors, ``make_distribution(**parameters[k]).log_prob(x)``. All
    queries follow from the family: samples, modes, moments, and the cdf of
    `SumProductNetwork.univariate_posteriors`. Where the family lacks a method, the
    query raises and names both. The dedicated leaves (`NormalLeaf`, `CategoricalLeaf`,
    ...) are faster where there is one.

    EM has an M-step, exact up to rounding, for Bernoulli, Beta, Binomial, Categorical,
    Dirichlet, Exponential, Gamma, Geometric, HalfNormal, InverseGamma, InverseGaussian,
    LogNormal, LogitNormal, MultivariateNormalDiag, MultivariateNormalTriL,
    NegativeBinomial (of constant `total_count`), Normal, Poisson, ProbitBernoulli and
    VonMises. That of StudentT moves location and scale, never `df`. Scales have a floor
    of 1e-3. Others learn by gradient.

    Where a component has no mode (a density that is unbounded at an end of the
    support) its mean stands in for it. Undefined moments are what the family says: NaN.
    So are those of angles: the mean of a mixture of directions is no mean of means.

    Args:
        make_distribution: A class of `tfd` (or its name), or a function from named
            tensors to a distribution. A function is called with real numbers and
            constrains them itself; it is saved if it was registered by
            `keras.saving.register_keras_serializable`.
        num_components: Number of components ``K`` per leaf slot.
        parameters: Names of the learned parameters, and the shape of one component's
            where it is not to be found out, else `None`: ``{"logits": (5,)}``. Default:
            the tensors that the class prefers. A function needs it.
        initializers: Initializers by name, of values ``[..., num_components, dims,
            *shape]`` (``[..., num_components, *shape]`` for families of vectors) of
            the parameters, as the family takes them. Default: what is stored, before
            the family's default constraining bijector, is normal of standard deviation
            1.
        constants: Further arguments of `make_distribution`: numbers, such as
            ``{"df": 4.0}``, strings and flags.
        support: Which values are possible: one of ``"real"``, ``"positive"``,
            ``"nonnegative"``, ``"unit_interval"``, ``"circle"``, ``"binary"``,
            ``"nonnegative_integers"``, ``"positive_integers"``, ``"integers"``,
            ``"simplex"``, ``"one_hot"``, or ``"of_component"``: any finite number, of
            which each component judges. Default: the family's own if it is known, else
            ``"of_component"``.
        event_ndims: 0 for a distribution over each dimension of a variable, 1 over all
            of them together. Default: that of the class; 0 for a function.
        **kwargs: Passed on to `keras.layers.Layer`.

    Raises:
        TypeError: `make_distribution` is neither a class of `tfd` nor callable, or
            does not return a distribution.
        ValueError: The family needs other parameters, or `support` is unknown.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tensorflow_probability as tfp, tfp_spn
        >>> gamma = tfp_spn.layers.DistributionLeaf(tfp.distributions.Gamma, 4)
        >>> gamma.support
        'numbers above 0'
        >>> heavy_tailed = tfp_spn.layers.DistributionLeaf(
        ...     "StudentT", 4, constants={"df": 4.0})
    """

    def __init__(
        self,
        make_distribution: Callable[..., Any] | str,
        num_components: int,
        parameters: Mapping[str, Any] | None = None,
        initializers: Mapping[str, Any] | None = None,
        constants: Mapping[str, Any] | None = None,
        support: str | None = None,
        event_ndims: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.make_distribution = _callable_of(deserialize(make_distribution))
        self.constants = _checked_constants(dict(constants or {}))
        self._shapes = _as_shapes(parameters)
        self._initializers = {
            name: keras.initializers.get(deserialize(value))
            for name, value in (initializers or {}).items()
        }
        if not is_family(self.make_distribution) and not self._shapes:
            raise ValueError(
                f"{self.label}: a function needs the names and shapes of its "
                f"parameters, received parameters={parameters!r}. Pass for example "
                'parameters={"loc": (), "scale": ()}.'
            )
        if event_ndims not in (None, 0, 1):
            raise ValueError(
                f"{self.label}: event_ndims must be 0 or 1, received {event_ndims!r}."
            )
        self._event_ndims_argument = event_ndims
        self._support_argument = support
        if support is not None and support not in SUPPORTS:
            raise ValueError(
                f"{self.label}: received support={support!r}, expected one of "
                f"{sorted(SUPPORTS)}."
            )
        self.event_ndims = 0 if event_ndims is None else event_ndims
        self._probe()
        known = set(self._family_parameters(2))
        unknown = set(self._initializers) - known
        if unknown:
            raise ValueError(
                f"{self.label}: received initializers {sorted(unknown)}, expected names "
                f"among {sorted(known)}: the learned parameters."
            )

    # --- the family ----------------------------------------------------------------

    @property
    def label(self) -> str:
        """``DistributionLeaf(Gamma)``."""
        name = getattr(self.make_distribution, "__name__", None)
        name = name or type(self.make_distribution).__name__
        return f"{type(self).__name__}({name})"

    @property
    def value_support(self) -> Support:
        """Which values are possible."""
        if self._support_argument is not None:
            return SUPPORTS[self._support_argument]
        name = name_of_family(self.make_distribution)
        if name == "Binomial" and "total_count" in self.constants:
            return integers_up_to(int(self.constants["total_count"]))
        if name == "Categorical":
            shape = next(iter(self._family_parameters(2).values())).shape
            return integers_up_to(shape[-1] - 1)
        return SUPPORT_OF_FAMILY.get(name or "", SUPPORTS["of_component"])

    @property
    def support(self) -> str:
        """The same in words."""
        return self.value_support.words

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """Whether values are integers."""
        return self.value_support.is_integer or is_discrete_family(
            self.make_distribution
        )

    @property
    def has_moments(self) -> bool:  # type: ignore[override]
        """Whether the family has a mean and a variance."""
        return self._has_moments

    def _family_parameters(self, num_dims: int) -> dict[str, FamilyParameter]:
        shapes = None if self._shapes is None else tuple(self._shapes.items())
        is_vector = bool(self.event_ndims)
        if not is_family(self.make_distribution):
            return family_parameters.of_function(shapes or (), num_dims, is_vector)
        return family_parameters.of_class(
            self.label,
            self.make_distribution,
            num_dims,
            tf.as_dtype(self.compute_dtype),
            shapes,
            tuple(self.constants),
            is_vector,
        )

    def _probe(self, num_dims: int | None = None) -> None:
        """Makes one component, to learn its event and what it cannot do."""
        with tf.init_scope():
            # Threes: the shapes and degrees of freedom at which moments are defined.
            values = {
                name: p.constrained(
                    tf.fill(p.unconstrained_shape, tf.constant(3.0, self.compute_dtype))
                )
                for name, p in self._family_parameters(num_dims or 2).items()
            }
            distribution = self._make(values)
            event = distribution.event_shape
            if self._event_ndims_argument is None and is_family(self.make_distribution):
                self.event_ndims = min(event.rank or 0, 1)
            expected = [num_dims] if self.event_ndims else []
            if event.rank != self.event_ndims or not event.is_compatible_with(expected):
                raise ValueError(
                    f"{self.label}: received a distribution of event shape "
                    f"{event}, expected {expected}: numbers, or vectors over the "
                    "num_dims dimensions of a variable. Pass event_ndims=1 for "
                    "vectors, and the circuit's num_dims."
                )
            self._has_moments = not self._is_circular
            for query in ("mean", "variance"):
                try:
                    value = getattr(distribution, query)()
                    self._has_moments &= not np.any(np.isnan(value))
                except NotImplementedError:
                    self._has_moments = False

    @property
    def has_linear_moments(self) -> bool:  # type: ignore[override]
        """Whether means and variances are of numbers, not of directions."""
        return not self._is_circular

    @property
    def _is_circular(self) -> bool:
        return self.value_support is SUPPORTS["circle"]

    def _make(self, values: Params) -> Any:
        """The distribution of parameters by name."""
        constants = {
            name: tf.constant(value, self.compute_dtype)
            if isinstance(value, int | float) and not isinstance(value, bool)
            else value
            for name, value in self.constants.items()
        }
        try:
            made = self.make_distribution(**values, **constants)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.label}: received the parameters {sorted(values)} and the "
                f"constants {sorted(constants)}, of which no distribution can be made: "
                f"{str(error).splitlines()[0]} Name what is learned by `parameters`, "
                "and pass the rest by `constants`."
            ) from error
        if not is_distribution(made):
            raise TypeError(
                f"{self.label}: received {type(made).__name__}, expected that "
                "make_distribution returns a tfd.Distribution."
            )
        return made

    def values(self, params: Params) -> Params:
        """Canonical parameters as the family takes them, ``[..., L, K, *shape]``."""
        return {
            name: self._parameter(name).constrained(tf.convert_to_tensor(value))
            for name, value in params.items()
        }

    def _parameter(self, name: str) -> FamilyParameter:
        return self._family_parameters(self.num_dims)[name]

    def components(self, params: Params) -> Any:
        """The components, of batch shape ``[..., L, K, D]`` or ``[..., L, K]``."""
        return self._make(self.values(params))

    def _ask(self, distribution: Any, query: str) -> Tensor:
        """A statistic, or an error that says which family lacks which."""
        try:
            return tf.cast(getattr(distribution, query)(), self.compute_dtype)
        except NotImplementedError:
            raise NotImplementedError(
                f"{self.label}: the family has no {query}, so that this query is not "
                "defined. Choose a family that has one, or ask for samples."
            ) from None

    # --- state -----------------------------------------------------------------------

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """What the constraining bijectors map to the parameters."""
        specs = {}
        for name, p in self._family_parameters(num_dims).items():
            initializer: Any = keras.initializers.RandomNormal(stddev=1.0)
            if name in self._initializers:
                initializer = p.initializer(self._initializers[name])
            shape = (self.num_components, *p.unconstrained_shape)
            specs[name] = ParameterSpec(shape, initializer)
        return specs

    def add_parameters(self, slots: tuple[int, ...], num_dims: int) -> None:
        """Creates the variables, with leading axes `slots`."""
        if not self.num_slots:
            self._probe(num_dims)
        super().add_parameters(slots, num_dims)

    # --- values ------------------------------------------------------------------------

    def log_base(self, x: Tensor) -> Tensor:
        """0, or ``-inf`` outside the support that all components share."""
        valid = tf.reduce_all(self.value_support.contains(x), axis=-2)
        return tf.where(valid, tf.zeros([], x.dtype), -float("inf"))

    def safe_value(self, x: Tensor) -> Tensor:
        """A value amid the support in place of those outside."""
        return self.value_support.safe_value(x)

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """What the family says."""
        values = self.values(params)
        if self.event_ndims:
            x = tf.linalg.matrix_transpose(x)  # [..., L, N, D]
        x = x[..., tf.newaxis, :, :]
        expanded = {
            name: self._parameter(name).expanded(value)
            for name, value in values.items()
        }
        distribution = self._make(expanded)
        if self.value_support.depends_on_parameters:
            log_prob = self._guarded_log_prob(distribution, x)
        else:
            log_prob = distribution.log_prob(x)
        log_prob = tf.cast(log_prob, self.compute_dtype)
        return log_prob if self.event_ndims else tf.reduce_sum(log_prob, axis=-2)

    @staticmethod
    def _guarded_log_prob(distribution: Any, x: Tensor) -> Tensor:
        """``-inf`` where the component says NaN or infinity, and no gradient there.

        The density is evaluated at a draw of the component instead, lest its gradient
        be NaN. (Infinite densities count as impossible, too.)
        """
        valid = tf.math.is_finite(distribution.log_prob(tf.stop_gradient(x)))
        draw = distribution.sample(seed=tf.zeros([2], tf.int32))
        draw = tf.stop_gradient(tf.cast(draw, x.dtype))
        is_inside = valid
        if distribution.event_shape.rank:
            is_inside = valid[..., tf.newaxis]
        log_prob = distribution.log_prob(tf.where(is_inside, x, draw))
        return tf.where(valid, log_prob, tf.constant(-math.inf, log_prob.dtype))

    # --- components ----------------------------------------------------------------------

    def component_tables(self, params: Params) -> Params:
        """The parameters, flattened."""
        tables = {}
        for name, value in self.values(params).items():
            num_event = self._parameter(name).event_ndims
            lead = tf.shape(value)[: value.shape.rank - num_event]
            size = math.prod(value.shape[value.shape.rank - num_event :])
            if self.event_ndims:
                lead = tf.concat([lead, [1]], 0)
            table = tf.reshape(value, tf.concat([lead, [size]], 0))
            static = [None] * (table.shape.rank - 1) + [size]
            dims = 1 if self.event_ndims else self.num_dims
            static[-4:-1] = [self.num_slots, self.num_components, dims]
            tables[name] = tf.ensure_shape(table, static)
        return tables

    def distribution_of_rows(self, rows: Params) -> Any:
        """The distributions of flattened parameters ``[..., T]``, of batch ``[...]``."""
        values = {}
        for name, row in rows.items():
            p = self._parameter(name)
            event = p.shape[len(p.shape) - p.event_ndims :]
            values[name] = tf.reshape(row, tf.concat([tf.shape(row)[:-1], event], 0))
            values[name].set_shape([*row.shape[:-1], *event])
        return self._make(values)

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """Draws of the family."""
        some = next(iter(rows.values()))
        shape = tf.concat([tf.shape(some)[:-2], [self.num_dims]], 0)
        static = [*some.shape[:-2], self.num_dims]
        if self.event_ndims:
            # One more row: TFP divides by the number of vectors.
            rows = {name: self._with_one_more(name, row) for name, row in rows.items()}
        drawn = self.distribution_of_rows(rows).sample(seed=seed)
        if self.event_ndims:
            drawn = tf.reshape(drawn[1:], shape)
        drawn = self.value_support.rounded_inwards(tf.cast(drawn, self.compute_dtype))
        return tf.ensure_shape(drawn, static)

    def _with_one_more(self, name: str, row: Tensor) -> Tensor:
        """``[..., 1, T]`` to ``[1 + ..., T]``."""
        p, size = self._parameter(name), row.shape[-1]
        one = p.constrained(tf.zeros(p.unconstrained_shape, row.dtype))
        return tf.concat([tf.reshape(one, [1, size]), tf.reshape(row, [-1, size])], 0)

    def component_mode(self, params: Params) -> Tensor:
        """The family's mode; the mean where there is none."""
        components = self.components(params)
        mode = self._ask(components, "mode")
        name = name_of_family(self.make_distribution)
        if name == "Exponential":  # TFP says NaN
            mode = tf.zeros_like(mode)
        elif self._is_circular:
            turn = tf.constant(2 * math.pi, mode.dtype)
            mode = self.value_support.rounded_inwards(
                mode - turn * tf.math.round(mode / turn)
            )
        elif self.has_moments and not self.is_discrete:
            has_mode = tf.math.is_finite(mode)
            has_mode &= tf.math.is_finite(self._log_prob_at(components, mode))
            mode = tf.where(has_mode, mode, self._ask(components, "mean"))
        return self._with_static_shape(mode)

    def _log_prob_at(self, components: Any, value: Tensor) -> Tensor:
        """``[..., L, K, D]``: of each dimension, or of the vector repeated."""
        log_prob = components.log_prob(value)
        return log_prob[..., tf.newaxis] if self.event_ndims else log_prob

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """The log-density there."""
        log_prob = self._log_prob_at(
            self.components(params), self.component_mode(params)
        )
        return tf.cast(tf.reduce_sum(log_prob, axis=-1), self.compute_dtype)

    def component_mean(self, params: Params) -> Tensor:
        """The family's mean."""
        return self._moment(params, "mean")

    def component_variance(self, params: Params) -> Tensor:
        """The family's variance."""
        return self._moment(params, "variance")

    def _moment(self, params: Params, query: str) -> Tensor:
        moment = self._ask(self.components(params), query)
        if self._is_circular:  # directions do not average like numbers
            moment = tf.fill(tf.shape(moment), tf.constant(math.nan, moment.dtype))
        return self._with_static_shape(moment)

    def _with_static_shape(self, value: Tensor) -> Tensor:
        tail = [self.num_slots, self.num_components, self.num_dims]
        lead = tf.shape(value)[: value.shape.rank - 3]
        value = tf.broadcast_to(value, tf.concat([lead, tail], 0))
        return tf.ensure_shape(value, [None] * (value.shape.rank - 3) + tail)

    # --- EM ------------------------------------------------------------------------------

    def maximum_likelihood(self) -> MaximumLikelihood:
        """The M-step of the family.

        Raises:
            NotImplementedError: It has none.
        """
        name = name_of_family(self.make_distribution) or ""
        rule, reason = FAMILIES.get(name), "the family has no M-step"
        if rule is not None:
            obstacle = rule.obstacle(self._family_parameters(self.num_dims))
            if obstacle is None:
                return rule
            reason = f"the M-step of the family does not serve: {obstacle}"
        other = ""
        if name in _HAVE_A_LEAF:
            other = f", or tfp_spn.layers.{_HAVE_A_LEAF[name]}, which has one"
        raise NotImplementedError(
            f"{self.label}: EM was asked for, but {reason}. Learn by gradient, "
            f'tfp_spn.learning.fit(..., method="gradient"){other}.'
        )

    def _rule_values(self, params: Params) -> Params:
        values = {**self.values(params), **self.constants}
        return {**values, "loc_is_constant": "loc" in self.constants}

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``count [L, K]`` and the family's statistics, ``[L, K, F]`` each."""
        rule = self.maximum_likelihood()
        x = layout.gather_variables(self.safe_value(x), axis=-3)[:, tf.newaxis]
        flow = slot_flow(flow, observed, layout)
        values = self._rule_values(params)
        for name in params:
            if self.event_ndims:
                values[name] = values[name][..., tf.newaxis]
            else:
                values[name] = self._parameter(name).expanded(values[name])
        sums = {"count": tf.reduce_sum(flow, -1)}
        for number, statistic in enumerate(rule.statistics(values, x)):
            if statistic.shape[1] == 1 and self.num_components > 1:
                total = tf.einsum("lkn,lfn->lkf", flow, statistic[:, 0])
            else:
                total = tf.einsum("lkn,lkfn->lkf", flow, statistic)
            sums[f"statistic_{number}"] = total
        return sums

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the expectations of the family's statistics by `step_size`.

        `pseudocount` examples distributed as the current component are added.
        """
        rule = self.maximum_likelihood()
        values = self._rule_values(params)
        count = statistics["count"]
        total = (tf.maximum(count, 1e-30) + pseudocount)[..., tf.newaxis]
        mean = []
        for number, old in enumerate(rule.expected(values)):
            sums = statistics[f"statistic_{number}"]
            target = (sums + pseudocount * old) / total
            step = tf.cast(step_size, old.dtype)
            # A whole step is taken exactly: old may be infinite.
            moved = tf.where(step == 1, target, old + step * (target - old))
            mean.append(tf.where(count[..., tf.newaxis] > 0, moved, old))
        new = rule.maximizer(tuple(mean), values)
        result = dict(params)
        for name, old in params.items():
            if name in new:
                stored = self._parameter(name).unconstrained(
                    self._within_reach(name, new[name])
                )
                ones = [1] * (stored.shape.rank - count.shape.rank)
                received = tf.reshape(count > 0, [*count.shape, *ones])
                stored = tf.where(received, stored, old)
                result[name] = tf.where(tf.math.is_finite(stored), stored, old)
        return result

    def _within_reach(self, name: str, value: Tensor) -> Tensor:
        """Positive parameters above what their bijector can reach."""
        if self._parameter(name).event_ndims or name.startswith(("lo", "probit")):
            return value  # matrices, locations, logarithms and logits
        if name == "probs":
            return tf.clip_by_value(value, 1e-6, 1 - 1e-6)
        return tf.maximum(value, 1e-5)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        shapes = self._shapes
        if shapes is not None:
            shapes = {k: None if v is None else list(v) for k, v in shapes.items()}
        return {
            **super().get_config(),
            "make_distribution": self._serialized_family(),
            "parameters": shapes,
            "initializers": {k: serialize(v) for k, v in self._initializers.items()},
            "constants": dict(self.constants),
            "support": self._support_argument,
            "event_ndims": self._event_ndims_argument,
        }

    def _serialized_family(self) -> Any:
        name = name_of_family(self.make_distribution)
        if name is not None:
            return name
        registered = keras.saving.get_registered_name(self.make_distribution)
        if keras.saving.get_registered_object(registered) is None:
            raise ValueError(
                f"{self.label}: make_distribution cannot be saved, received "
                f"{self.make_distribution!r}, expected a class of tfd or a function "
                "known to Keras. Decorate it with "
                "@keras.saving.register_keras_serializable(package=...)."
            )
        return serialize(self.make_distribution)


def _callable_of(make_distribution: Any) -> Callable[..., Any]:
    if isinstance(make_distribution, str):
        family = family_named(make_distribution)
        if family is None:
            raise ValueError(
                f"DistributionLeaf: received make_distribution={make_distribution!r}, "
                'expected the name of a class of tfd, such as "Gamma".'
            )
        return family
    if is_distribution(make_distribution) or not callable(make_distribution):
        raise TypeError(
            "DistributionLeaf: make_distribution must be a class of tfd, such as "
            "tfd.Gamma, or a function that returns a distribution, received "
            f"{type(make_distribution).__name__}."
        )
    return make_distribution


def _checked_constants(constants: dict[str, Any]) -> dict[str, Any]:
    for name, value in constants.items():
        if isinstance(value, np.number):
            constants[name] = value.item()
        elif not (value is None or isinstance(value, int | float | str | bool)):
            raise TypeError(
                f"DistributionLeaf: received the constant {name!r} of type "
                f"{type(value).__name__}, expected a number, a string or a flag. Build "
                "families with other fixed arguments in a function."
            )
    return constants


def _as_shapes(parameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if parameters is None:
        return None
    return {
        name: None if shape is None else tuple(int(size) for size in shape)
        for name, shape in parameters.items()
    }

