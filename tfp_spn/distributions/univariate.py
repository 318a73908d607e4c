"""All single-variable posteriors of a circuit, as one batch of distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.circuits import posterior
from tfp_spn.distributions import _queries
from tfp_spn.distributions.mixed_univariate import MixedUnivariate
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.bernoulli_leaf import BernoulliLeaf
from tfp_spn.layers.leaves.binomial_leaf import BinomialLeaf
from tfp_spn.layers.leaves.categorical_leaf import CategoricalLeaf
from tfp_spn.layers.leaves.cauchy_leaf import CauchyLeaf
from tfp_spn.layers.leaves.distribution_leaf import DistributionLeaf
from tfp_spn.layers.leaves.indicator_leaf import IndicatorLeaf
from tfp_spn.layers.leaves.laplace_leaf import LaplaceLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.normal_leaf import NormalLeaf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.layers.leaves.support import SUPPORT_OF_FAMILY, SUPPORTS, Support

# Families without finite support: the posterior is a mixture over leaf components.
_FAMILIES: dict[type[BaseLeaf], Callable[[Any, Params], tfd.Distribution]] = {
    NormalLeaf: lambda leaf, p: tfd.Normal(p["location"][..., 0], p["scale"][..., 0]),
    LaplaceLeaf: lambda leaf, p: tfd.Laplace(p["location"][..., 0], p["scale"][..., 0]),
    CauchyLeaf: lambda leaf, p: tfd.Cauchy(p["location"][..., 0], p["scale"][..., 0]),
    BinomialLeaf: lambda leaf, p: tfd.Binomial(
        float(leaf.total_count), logits=p["logits"][..., 0]
    ),
    DistributionLeaf: lambda leaf, p: leaf.distribution_of_rows(p),
}


def univariate_posteriors(
    distribution: Any, value: TensorLike | None, observed: TensorLike | None
) -> tfd.Distribution:
    """See `SumProductNetwork.univariate_posteriors`."""
    event = distribution._event  # noqa: SLF001
    program, tables = distribution.program, distribution.tables()
    if program.layout.num_dims > 1:
        raise NotImplementedError(
            "univariate_posteriors: defined for variables of one dimension, this "
            f"circuit has num_dims={program.layout.num_dims}."
        )
    evidence = None
    if value is None and observed is not None:
        raise ValueError(
            "univariate_posteriors: received observed without a value, expected both "
            "or neither. Pass the evidence that the mask belongs to."
        )
    if value is not None:
        value = distribution._checked(value, observed)  # noqa: SLF001
        value, observed = event.spread(value, observed)
        evidence = _queries.possible_evidence(distribution, value, observed)
    weights = _queries.leaf_posterior(program, tables, evidence)
    found, places = [], []
    for part in program.leaf.parts(program.layout):
        place = [n for n, v in enumerate(event.variables) if v in part.variables]
        if place:
            chosen = [event.variables[n] for n in place]
            known = _Known(distribution, part, chosen, evidence)
            params = part.params(tables.leaf)
            found.append(_of_part(known, params, part.of_region(weights, -3)))
            places.append(tuple(place))
    if len(found) == 1:
        return found[0]
    return MixedUnivariate(found, places)


class _Known:
    """What is asked for: some variables of one leaf layer, and the evidence."""

    def __init__(
        self, distribution: Any, part: LeafPart, variables: list[int], evidence: Any
    ) -> None:
        self.distribution = distribution
        self.part = part
        self.variables = variables
        self.evidence = evidence
        self.own = np.searchsorted(part.variables, variables)

    def restore(self, value: Tensor) -> Tensor:
        """``[..., V, F, N]`` to ``S + P + [V, F]``."""
        return _queries.restore(self.distribution, value, 2, self.evidence)

    def mean(self, table: Tensor, weights: Tensor) -> Tensor:
        """Posterior mean ``S + P + [V, F]`` of a table ``[..., L, K, F]``."""
        mean = posterior.expectation_over(self.part.layout, table, weights)
        return _pick(self.restore(mean), self.own, self.part.layout.num_variables)

    def settled(self, probs: Tensor, point_mass: Callable[[Tensor], Tensor]) -> Tensor:
        """A point mass where the variable is observed."""
        evidence = self.evidence
        if evidence is None:
            return probs
        total = evidence.x.shape[-3]
        x, known = evidence.restore(evidence.x[..., 0, :]), evidence.observed
        point = point_mass(_pick(x[..., tf.newaxis], self.variables, total)[..., 0])
        if known is None:
            return point + tf.zeros_like(probs)
        known = evidence.restore(known)[..., tf.newaxis]
        return tf.where(_pick(known, self.variables, total), point, probs)


def _of_part(known: _Known, params: Params, weights: Tensor) -> tfd.Distribution:
    leaf = known.part.leaf
    if isinstance(leaf, CategoricalLeaf | IndicatorLeaf):
        table = probability_table(leaf, params, known.part.layout)
        table = table[..., 0, :]  # type: ignore[index]
        num_values = table.shape[-1]
        return tfd.Categorical(
            probs=known.settled(
                known.mean(table, weights),
                lambda x: tf.one_hot(tf.cast(x, tf.int32), num_values, dtype=x.dtype),
            )
        )
    if isinstance(leaf, BernoulliLeaf):
        probs = known.mean(leaf.component_mean(params), weights)
        probs = known.settled(probs, lambda x: x[..., tf.newaxis])[..., 0]
        return tfd.Bernoulli(probs=tf.clip_by_value(probs, 0.0, 1.0))
    return _mixture(known, params, weights)


def probability_table(
    leaf: BaseLeaf, params: Params, layout: LeafLayout
) -> Tensor | None:
    """``[..., L, K, D, C]``: probability of each value under each component.

    `None` for families of infinitely many values.
    """
    if isinstance(leaf, CategoricalLeaf):
        return tf.exp(leaf.component_tables(params)["log_probs"])
    if isinstance(leaf, BernoulliLeaf):
        probs = leaf.component_mean(params)
        return tf.stack([1 - probs, probs], axis=-1)
    if isinstance(leaf, IndicatorLeaf):
        eye = tf.eye(leaf.num_components, dtype=tf.as_dtype(leaf.compute_dtype))
        return tf.tile(eye[:, tf.newaxis], [1, layout.num_dims, 1])[tf.newaxis] * (
            tf.ones([layout.num_slots, 1, 1, 1], eye.dtype)
        )
    return None


def component_distributions(leaf: BaseLeaf, params: Params) -> tfd.Distribution:
    """The components as a batch ``[..., L, K, D]`` of a TFP family."""
    return _FAMILIES[type(leaf)](leaf, leaf.component_tables(params))


def _mixture(known: _Known, params: Params, weights: Tensor) -> tfd.MixtureSameFamily:
    layout, leaf = known.part.layout, known.part.leaf
    slots = _slots_of_variable(layout.slot_variable, layout.num_variables)
    slots = slots[known.own]  # [V', U], padded by -1
    by_slot = tf.gather(weights, layout.slot_region, axis=-3)  # [..., L, K, N]
    chosen = tf.gather(by_slot, np.maximum(slots, 0), axis=-3)  # [..., V', U, K, N]
    chosen *= tf.cast(slots >= 0, chosen.dtype)[..., tf.newaxis, tf.newaxis]
    count = slots.shape[1] * leaf.num_components
    shape = tf.concat([tf.shape(chosen)[:-3], [count], tf.shape(chosen)[-1:]], 0)
    probs = known.restore(tf.reshape(chosen, shape))
    probs = tf.ensure_shape(probs, [None] * (probs.shape.rank - 1) + [count])

    def components(table: Tensor) -> Tensor:
        """``[..., L, K, 1, T]`` to ``[..., V', U * K, T]``."""
        rows = tf.gather(table[..., 0, :], np.maximum(slots, 0), axis=-3)
        batch, size = tf.shape(rows)[:-3], table.shape[-1]
        flat = tf.reshape(rows, tf.concat([batch, [count, size]], 0))
        return tf.ensure_shape(flat, [*rows.shape[:-3], count, size])

    rows = {k: components(v) for k, v in leaf.component_tables(params).items()}
    family = _FAMILIES[type(leaf)](leaf, rows)
    kind = LeafMixture if leaf.has_linear_moments else CircularMixture
    return kind(tfd.Categorical(probs=probs), family)


class LeafMixture(tfd.MixtureSameFamily):
    """A mixture of leaf components, of which a mode has no closed form.

    In contrast to TFP's, values outside of the support, such as fractions of counts,
    have no density, and cdfs are those of the whole number below.
    """

    def _in_support(self, x: Tensor) -> Tensor:
        support = support_of(self.components_distribution)
        return tf.ones_like(x, tf.bool) if support is None else support.contains(x)

    def _log_prob(self, x: Tensor) -> Tensor:
        possible = self._in_support(x)
        support = support_of(self.components_distribution)
        inner = x if support is None else tf.where(possible, x, support.inner)
        log_prob = super()._log_prob(inner)
        impossible = tf.constant(-math.inf, log_prob.dtype)
        return tf.where(possible, log_prob, impossible)

    def _log_cdf(self, x: Tensor) -> Tensor:
        support = support_of(self.components_distribution)
        if support is None:
            return super()._log_cdf(x)
        x = tf.math.floor(x) if support.is_integer else x
        is_below = ~(x >= support.low) if support.is_integer else ~(x > support.low)
        is_above = x >= support.high
        inner = tf.where(is_below | is_above, support.inner, x)
        log_cdf = tf.where(is_above, 0.0, super()._log_cdf(inner))
        return tf.where(is_below, tf.constant(-math.inf, log_cdf.dtype), log_cdf)

    def _survival_function(self, x: Tensor) -> Tensor:
        return 1 - tf.exp(self._log_cdf(x))

    def _mode(self) -> None:
        family = type(self.components_distribution).__name__
        raise NotImplementedError(
            f"univariate_posteriors: a mixture of {family} components has no mode in "
            "closed form. Ask for its mean or quantiles of its cdf, or for the most "
            "probable completion, spn.condition(value, observed).mode()."
        )


def support_of(components: tfd.Distribution) -> Support | None:
    """That of a family of numbers, if all its components have the same."""
    family = type(components).__name__
    if isinstance(components, tfd.Binomial):
        return SUPPORTS["nonnegative_integers"]  # beyond its total the mass is zero
    return SUPPORT_OF_FAMILY.get(family)


class CircularMixture(LeafMixture):
    """A mixture of angles from -pi to pi.

    TFP would average the directions of the components, and count each one's cdf from
    its own opposite direction.
    """

    def _cdf(self, x: Tensor) -> Tensor:
        pi = tf.constant(math.pi, self.dtype)
        x = tf.clip_by_value(x, -pi, pi)[..., tf.newaxis]
        components = self.components_distribution
        by_component = components.cdf(x) - components.cdf(-pi)
        probs = self.mixture_distribution.probs_parameter()
        return tf.clip_by_value(tf.reduce_sum(probs * by_component, -1), 0.0, 1.0)

    def _log_cdf(self, x: Tensor) -> Tensor:
        return tf.math.log(self._cdf(x))

    def _survival_function(self, x: Tensor) -> Tensor:
        return 1 - self._cdf(x)

    def _mean(self) -> Tensor:
        return tf.fill(self.batch_shape_tensor(), tf.constant(math.nan, self.dtype))

    def _variance(self) -> Tensor:
        return self._mean()

    def _stddev(self) -> Tensor:
        return self._mean()


def _slots_of_variable(slot_variable: np.ndarray, num_variables: int) -> np.ndarray:
    lists = [np.flatnonzero(slot_variable == v) for v in range(num_variables)]
    table = np.full([num_variables, max(map(len, lists))], -1)
    for variable, slots in enumerate(lists):
        table[variable, : len(slots)] = slots
    return table


def _pick(value: Tensor, variables: Any, total: int) -> Tensor:
    """``[..., V, F]`` to ``[..., V', F]``."""
    if np.array_equal(variables, np.arange(total)):
        return value
    return tf.gather(value, variables, axis=-2)
