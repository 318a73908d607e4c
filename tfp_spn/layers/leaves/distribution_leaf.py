"""Leaves of any family of TensorFlow Probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import keras
import tensorflow as tf

from tfp_spn._arguments import a_count, a_text, reads
from tfp_spn._keras_bridge import Distribution
from tfp_spn._keras_typing import Initializer, InitializerLike, LayerOptions
from tfp_spn._serialization import (
    configuration_of,
    deserialize,
    initializer_of,
    register,
    serialize,
)
from tfp_spn._typing import Config, Params, Tensor, TensorLike
from tfp_spn.layers.leaves.base_leaf import ParameterSpec
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf, slot_flow
from tfp_spn.layers.leaves.family import Family
from tfp_spn.layers.leaves.family_parameters import FamilyParameter
from tfp_spn.layers.leaves.initial_parameters import LeafData, by_m_steps
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.maximum_likelihood import above_zero
from tfp_spn.layers.leaves.support import SUPPORTS, Support
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.ops.log_space import is_finite
from tfp_spn.ops.long_sums import long_sum


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
    support) its mean stands in for it, or its median. Undefined moments are what the
    family says: NaN. So are those of angles: the mean of a mixture of directions is no
    mean of means.

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
            ``"nonnegative"``, ``"unit_interval"``,
            ``"closed_unit_interval"``, ``"circle"``, ``"binary"``,
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

    @reads(support=a_text(), event_ndims=a_count(least=0))
    def __init__(
        self,
        make_distribution: Callable[..., Distribution] | str,
        num_components: int,
        parameters: Mapping[str, Sequence[int] | None] | None = None,
        initializers: Mapping[str, InitializerLike] | None = None,
        constants: Mapping[str, TensorLike] | None = None,
        support: str | None = None,
        event_ndims: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.family = Family(
            deserialize(self, "make_distribution", make_distribution, functions=True),
            parameters,
            constants,
            support,
            event_ndims,
            self.compute_dtype,
        )
        self.event_ndims = self.family.event_ndims
        self._initializers = {
            name: initializer_of(self, "initializers", value)
            for name, value in (initializers or {}).items()
        }
        known = set(self.family.parameters(2))
        unknown = set(self._initializers) - known
        if unknown:
            raise ValueError(
                f"{self.label}: received initializers {sorted(unknown)}, expected "
                f"names among {sorted(known)}: the learned parameters."
            )

    @property
    def label(self) -> str:
        """``DistributionLeaf(Gamma)``."""
        return self.family.label

    @property
    def value_support(self) -> Support:
        """Which values are possible."""
        return self.family.support

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """Whether values are integers."""
        return self.family.is_discrete

    @property
    def event_dtype(self) -> str:
        """The dtype of samples, which holds all possible values."""
        if not self.is_discrete:
            return self.compute_dtype
        return self.value_support.integer_dtype

    @property
    def has_mode(self) -> bool:  # type: ignore[override]
        """Whether the family has a mode."""
        return self.family.has_mode

    @property
    def has_moments(self) -> bool:  # type: ignore[override]
        """Whether the family has a mean and a variance."""
        return self.family.has_moments

    @property
    def has_linear_moments(self) -> bool:  # type: ignore[override]
        """Whether means and variances are of numbers, not of directions."""
        return not self.family.is_circular

    def _parameter(self, name: str) -> FamilyParameter:
        return self.family.parameters(self.num_dims)[name]

    def values(self, params: Params) -> Params:
        """Canonical parameters as the family takes them, ``[..., L, K, *shape]``."""
        return {
            name: self._parameter(name).constrained(tf.convert_to_tensor(value))
            for name, value in params.items()
        }

    def components(self, params: Params) -> Distribution:
        """The components, of batch shape ``[..., L, K, D]`` or ``[..., L, K]``."""
        return self.family.distribution(self.values(params))

    # --- state ------------------------------------------------------------------

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """Returns specs of the unconstrained parameters, before the bijectors."""
        specs = {}
        for name, p in self.family.parameters(num_dims).items():
            initializer: Initializer = keras.initializers.RandomNormal(stddev=1.0)
            if name in self._initializers:
                initializer = p.initializer(self.label, self._initializers[name])
            shape = (self.num_components, *p.unconstrained_shape)
            specs[name] = ParameterSpec(shape, initializer)
        return specs

    def add_parameters(self, slots: tuple[int, ...], num_dims: int) -> None:
        """Creates the variables, with leading axes `slots`."""
        if not self.num_slots:
            self.family.probe(num_dims)
        super().add_parameters(slots, num_dims)

    # --- values -----------------------------------------------------------------

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Returns the family's log-density."""
        values = self.values(params)
        if self.event_ndims:
            x = tf.linalg.matrix_transpose(x)  # [..., L, N, D]
        x = x[..., tf.newaxis, :, :]
        expanded = {
            name: self._parameter(name).expanded(value)
            for name, value in values.items()
        }
        log_prob = self.family.log_prob(expanded, x)
        return log_prob if self.event_ndims else long_sum(log_prob, axis=-2)

    # --- components -------------------------------------------------------------

    def component_tables(self, params: Params) -> Params:
        """The parameters, flattened."""
        tables = {}
        for name, value in self.values(params).items():
            num_event = self._parameter(name).event_ndims
            start = value.shape.rank - num_event
            sizes = [1, None] if self.event_ndims else [None]
            table = reshape_axes(value, start, 0, sizes)
            dims = 1 if self.event_ndims else self.num_dims
            static = [self.num_slots, self.num_components, dims, table.shape[-1]]
            lead = [None] * (table.shape.rank - 4)
            tables[name] = tf.ensure_shape(table, [*lead, *static])
        return tables

    def component_distribution(self, rows: Params) -> Distribution:
        """Distributions of batch ``[...]`` of flattened parameters ``[..., G]``."""
        values = {}
        for name, row in rows.items():
            p = self._parameter(name)
            event = p.shape[len(p.shape) - p.event_ndims :]
            values[name] = reshape_axes(row, -1, 0, event)
        return self.family.distribution(values)

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """Draws of the family."""
        some = next(iter(rows.values()))
        shape = tf.concat([tf.shape(some)[:-2], [self.num_dims]], 0)
        static = [*some.shape[:-2], self.num_dims]
        if self.event_ndims:
            # One more row: TFP divides by the number of vectors.
            rows = {name: self._with_one_more(name, row) for name, row in rows.items()}
        drawn = self.component_distribution(rows).sample(seed=seed)
        if self.event_ndims:
            drawn = tf.reshape(drawn[1:], shape)
        drawn = self.value_support.rounded_inwards(tf.cast(drawn, self.compute_dtype))
        return tf.ensure_shape(drawn, static)

    def _with_one_more(self, name: str, row: Tensor) -> Tensor:
        """``[..., 1, G]`` to ``[1 + ..., G]``."""
        p, size = self._parameter(name), row.shape[-1]
        one = p.constrained(tf.zeros(p.unconstrained_shape, row.dtype))
        return tf.concat([tf.reshape(one, [1, size]), tf.reshape(row, [-1, size])], 0)

    def component_mode(self, params: Params) -> Tensor:
        """The family's mode; the mean where there is none."""
        return self._with_static_shape(self.family.mode(self.components(params)))

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """The log-density there."""
        components = self.components(params)
        mode = self.family.mode(components)
        if self.family.has_large_counts:
            log_prob = self.family.log_prob(self.values(params), mode)
        else:
            log_prob = tf.cast(components.log_prob(mode), self.compute_dtype)
        return log_prob if self.event_ndims else tf.reduce_sum(log_prob, axis=-1)

    def component_mean(self, params: Params) -> Tensor:
        """The family's mean."""
        mean = self.family.ask(self.components(params), "mean")
        return self._with_static_shape(mean)

    def component_variance(self, params: Params) -> Tensor:
        """The family's variance."""
        variance = self.family.ask(self.components(params), "variance")
        return self._with_static_shape(variance)

    def _with_static_shape(self, value: Tensor) -> Tensor:
        tail = [self.num_slots, self.num_components, self.num_dims]
        lead = tf.shape(value)[: value.shape.rank - 3]
        value = tf.broadcast_to(value, tf.concat([lead, tail], 0))
        return tf.ensure_shape(value, [None] * (value.shape.rank - 3) + tail)

    # --- EM ---------------------------------------------------------------------

    def initial_parameters(self, data: LeafData) -> Params:
        """By M-steps; locations and scales over the real line begin as in `NormalLeaf`.

        Those alone do where the family has no M-step.
        """
        start = {}
        if self.value_support is SUPPORTS["real"] and not self.event_ndims:
            for name, value in (("loc", data.location), ("scale", data.scale)):
                if {"loc", "scale"} <= set(self.parameters):
                    value = tf.constant(value, self.compute_dtype)
                    start[name] = self._parameter(name).unconstrained(value)
        return by_m_steps(self, data, start)

    def _rule_values(self, params: Params) -> Params:
        values = {**self.values(params), **self.family.constants}
        return {**values, "loc_is_constant": "loc" in self.family.constants}

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """``count [L, K]`` and the family's statistics, ``[L, K, F]`` each."""
        rule = self.family.m_step(self.num_dims)
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
            else:  # where nothing flows, one that overflows does not count
                terms = tf.math.multiply_no_nan(statistic, flow[:, :, tf.newaxis])
                total = tf.reduce_sum(terms, -1)
            sums[f"statistic_{number}"] = total
        return sums

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the expectations of the family's statistics by `step_size`.

        `pseudocount` examples distributed as the current component are added. What
        follows from sums that overflowed is NaN, for `fit` to refuse.
        """
        rule = self.family.m_step(self.num_dims)
        values = self._rule_values(params)
        count = statistics["count"]
        total = (tf.maximum(count, 1e-30) + pseudocount)[..., tf.newaxis]
        mean = []
        are_finite = tf.ones_like(count, tf.bool)
        for number, old in enumerate(rule.expected(values)):
            sums = statistics[f"statistic_{number}"]
            are_finite &= tf.reduce_all(is_finite(sums), -1)
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
                received, known = (
                    tf.reshape(flags, [*count.shape, *ones])
                    for flags in (count > 0, are_finite)
                )
                stored = tf.where(known, stored, tf.constant(math.nan, stored.dtype))
                result[name] = tf.where(received, stored, old)
        return result

    def _within_reach(self, name: str, value: Tensor) -> Tensor:
        """Positive parameters above what their bijector can reach."""
        if self._parameter(name).event_ndims or name.startswith(("lo", "probit")):
            return value  # matrices, locations, logarithms and logits
        if name == "probs":
            return tf.clip_by_value(value, 1e-6, 1 - 1e-6)
        return above_zero(value)

    def configuration(self) -> Config:
        """The same of functions that are not registered, by what is known of them."""
        config = {**super().get_config(), **self.family.arguments()}
        if self.family.name is None:
            config["make_distribution"] = self.family.make
        return configuration_of(self, {**config, "family": self.label})

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            **self.family.config(),
            "initializers": {k: serialize(v) for k, v in self._initializers.items()},
        }
