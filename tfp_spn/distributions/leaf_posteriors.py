"""Posteriors of single variables: mixtures of leaf components, or few probabilities."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Tensor
from tfp_spn.distributions._of_variable import OfVariable
from tfp_spn.distributions._tensor_values import TensorValues
from tfp_spn.layers.leaves.bounds import cdf_of_angles
from tfp_spn.layers.leaves.family_densities import family_log_prob
from tfp_spn.layers.leaves.support import (
    SUPPORT_OF_FAMILY,
    SUPPORTS,
    Support,
    integers_up_to,
)
from tfp_spn.layers.leaves.tails import log_cdf, log_survival_function
from tfp_spn.ops.log_space import log1mexp, safe_log
from tfp_spn.ops.mixture_moments import (
    finite_range,
    middle,
    moment_terms,
    moments_of_terms,
)


class _FiniteValues(OfVariable, TensorValues):
    """Mixin of families of the values 0, 1, ..., of which TFP asks integers only.

    Other values have no mass, and cdfs are those of the whole number below.
    """

    def _value_probs(self) -> Tensor:
        """``[..., C]``."""
        raise NotImplementedError

    def _log_prob(self, x: Tensor) -> Tensor:
        probs = self._value_probs()
        support, x = _integers_of(probs), tf.cast(x, probs.dtype)
        possible = support.contains(x)
        prob = self._looked_up(probs, tf.where(possible, x, 0.0))
        return safe_log(tf.where(possible, prob, 0.0))

    def _log_cdf(self, x: Tensor) -> Tensor:
        probs = self._value_probs()
        support, x = _integers_of(probs), tf.cast(x, probs.dtype)
        below = tf.cumsum(probs, axis=-1)
        return support.log_cdf(x, lambda x: safe_log(self._looked_up(below, x)))

    def _log_survival_function(self, x: Tensor) -> Tensor:
        probs = self._value_probs()
        support, x = _integers_of(probs), tf.cast(x, probs.dtype)
        above = tf.cumsum(probs, axis=-1, exclusive=True, reverse=True)
        return support.log_survival(x, lambda x: safe_log(self._looked_up(above, x)))

    def _looked_up(self, table: Tensor, x: Tensor) -> Tensor:
        """Returns the entries of a table for integers; 0 outside of it."""
        is_value = tf.one_hot(tf.cast(x, tf.int32), table.shape[-1], dtype=table.dtype)
        return tf.reduce_sum(table * is_value, axis=-1)


class LeafCategorical(_FiniteValues, tfd.Categorical):
    """One of a few integers; any other value has probability zero."""

    def _value_probs(self) -> Tensor:
        return self.probs_parameter()


class LeafBernoulli(_FiniteValues, tfd.Bernoulli):
    """0 or 1; any other value has probability zero."""

    def _value_probs(self) -> Tensor:
        probs = self.probs_parameter()
        return tf.stack([1 - probs, probs], axis=-1)


def _integers_of(probs: Tensor) -> Support:
    return integers_up_to(probs.shape[-1] - 1)


class LeafMixture(OfVariable, TensorValues, tfd.MixtureSameFamily):
    """A mixture of leaf components, of which a mode has no closed form.

    In contrast to TFP's, values outside of the support, such as fractions of counts,
    have no density, cdfs are those of the whole number below, and components of
    weight zero count for nothing where their moments are infinite.
    """

    def _log_prob(self, x: Tensor) -> Tensor:
        support = _support_of(self.components_distribution)
        if support is None:
            return super()._log_prob(x)
        possible = support.contains(x)
        x = tf.where(possible, x, support.inner)[..., tf.newaxis]
        log_prob = family_log_prob(self.components_distribution, x)
        log_weights = tf.math.log_softmax(self.mixture_distribution.logits_parameter())
        log_prob = tf.reduce_logsumexp(log_prob + log_weights, axis=-1)
        impossible = tf.constant(-math.inf, log_prob.dtype)
        return tf.where(possible, log_prob, impossible)

    def _log_cdf(self, x: Tensor) -> Tensor:
        support = _support_of(self.components_distribution)
        if support is None:
            return super()._log_cdf(x)
        return support.log_cdf(x, self._log_cdf_within)

    def _log_survival_function(self, x: Tensor) -> Tensor:
        support = _support_of(self.components_distribution)
        if support is None:
            return log1mexp(self._log_cdf(x))
        return support.log_survival(x, self._log_survival_within)

    def _log_cdf_within(self, x: Tensor) -> Tensor:
        return self._mixed(log_cdf(self.components_distribution, x[..., tf.newaxis]))

    def _log_survival_within(self, x: Tensor) -> Tensor:
        components = self.components_distribution
        return self._mixed(log_survival_function(components, x[..., tf.newaxis]))

    def _mixed(self, tails: Tensor) -> Tensor:
        """Logarithms of probabilities under the components, ``[..., K]``, to sums."""
        log_weights = tf.math.log_softmax(self.mixture_distribution.logits_parameter())
        return tf.reduce_logsumexp(tails + log_weights, axis=-1)

    def _mean(self) -> Tensor:
        mean = self.components_distribution.mean()
        return self._moments(mean, tf.zeros_like(mean))[0]

    def _variance(self) -> Tensor:
        components = self.components_distribution
        return self._moments(components.mean(), components.variance())[1]

    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of those of the components, ``[..., K]``."""
        center = middle(*finite_range(mean, axis=-1))
        terms = [t[..., tf.newaxis] for t in (mean, variance, center)]
        probs = tf.cast(self.mixture_distribution.probs_parameter(), tf.float64)
        probs = tf.math.divide_no_nan(probs, tf.reduce_sum(probs, -1, keepdims=True))
        average = tf.reduce_sum(probs[..., tf.newaxis] * moment_terms(*terms), -2)
        offset, variance = moments_of_terms(average, axis=-1)
        mean = offset[..., 0] + tf.cast(center[..., 0], offset.dtype)
        return tf.cast(mean, center.dtype), tf.cast(variance[..., 0], center.dtype)

    def _mode(self) -> None:
        family = type(self.components_distribution).__name__
        raise NotImplementedError(
            f"univariate_posteriors: a mixture of {family} components has no mode in "
            "closed form. Ask for its mean or cdf, or for the most probable "
            "completion, spn.condition(value, observed).mode()."
        )


class CircularMixture(LeafMixture):
    """A mixture of angles from -pi to pi.

    TFP would average the directions of the components, and count each one's cdf from
    its own opposite direction.
    """

    def _cdf(self, x: Tensor) -> Tensor:
        pi = tf.constant(math.pi, self.dtype)
        x = tf.clip_by_value(x, -pi, pi)[..., tf.newaxis]
        by_component = cdf_of_angles(self.components_distribution, x)
        probs = self.mixture_distribution.probs_parameter()
        return tf.clip_by_value(tf.reduce_sum(probs * by_component, -1), 0.0, 1.0)

    def _log_cdf(self, x: Tensor) -> Tensor:
        return tf.math.log(self._cdf(x))

    def _log_survival_function(self, x: Tensor) -> Tensor:
        return log1mexp(self._log_cdf(x))

    def _mean(self) -> Tensor:
        return tf.fill(self.batch_shape_tensor(), tf.constant(math.nan, self.dtype))

    def _variance(self) -> Tensor:
        return self._mean()

    def _stddev(self) -> Tensor:
        return self._mean()


def _support_of(components: tfd.Distribution) -> Support | None:
    """The support of a family of numbers, if all its components have the same."""
    family = type(components).__name__
    if isinstance(components, tfd.Binomial):
        return SUPPORTS["nonnegative_integers"]  # beyond its total the mass is zero
    return SUPPORT_OF_FAMILY.get(family)
