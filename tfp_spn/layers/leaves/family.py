"""A family of TensorFlow Probability, as leaves ask it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import (
    Distribution,
    family_named,
    is_discrete_family,
    is_distribution,
    is_family,
    name_of_family,
)
from tfp_spn._serialization import serialize
from tfp_spn._typing import Config, Params, Tensor, TensorLike
from tfp_spn.layers.leaves import family_parameters
from tfp_spn.layers.leaves.family_densities import family_log_prob
from tfp_spn.layers.leaves.family_parameters import FamilyParameter
from tfp_spn.layers.leaves.m_steps import FAMILIES
from tfp_spn.layers.leaves.maximum_likelihood import MaximumLikelihood
from tfp_spn.layers.leaves.moments import moment
from tfp_spn.layers.leaves.support import (
    SUPPORT_OF_FAMILY,
    SUPPORTS,
    Support,
    counts_adding_up_to,
    integers_up_to,
)
from tfp_spn.ops.log_space import is_finite, minus_infinity

_WITHOUT_GRADIENTS = {"NoncentralChi2": "Gamma", "Zipf": "NegativeBinomial"}
"""Families whose log-density TFP differentiates wrongly, and what may do instead."""

_HAVE_A_LEAF = {"Cauchy": "CauchyLeaf", "Laplace": "LaplaceLeaf"}


class Family:
    """The family of a `DistributionLeaf`, checked.

    Args:
        make: A class of `tfd`, its name, or a function.
        parameters: See `DistributionLeaf`.
        constants: See `DistributionLeaf`.
        support: See `DistributionLeaf`.
        event_ndims: See `DistributionLeaf`.
        dtype: Dtype of the parameters.

    Attributes:
        make: The class or the function.
        name: The name of the class in `tfd`, or `None`.
        label: ``DistributionLeaf(Gamma)``.
        event_ndims: 0, or 1 for vectors.
        has_mode: Whether there is a mode.
        has_moments: Whether there are a mean and a variance.
    """

    def __init__(
        self,
        make: Callable[..., Distribution] | str,
        parameters: Mapping[str, Sequence[int] | None] | None,
        constants: Mapping[str, TensorLike] | None,
        support: str | None,
        event_ndims: int | None,
        dtype: str,
    ) -> None:
        self.make = _callable_of(make)
        self.name = name_of_family(self.make)
        of_what = getattr(self.make, "__name__", None) or type(self.make).__name__
        self.label = f"DistributionLeaf({of_what})"
        if self.name in _WITHOUT_GRADIENTS:
            raise ValueError(
                f"{self.label}: TFP's gradients of this family are wrong, received "
                f"{self.name}, expected a family that can be learned. Use another one, "
                f"such as {_WITHOUT_GRADIENTS[self.name]}, or a function of your own."
            )
        self.constants = _checked_constants(self.label, dict(constants or {}))
        self.shapes = _as_shapes(parameters)
        self.dtype = tf.as_dtype(dtype)
        if not is_family(self.make) and not self.shapes:
            raise ValueError(
                f"{self.label}: a function needs the names and shapes of its "
                f"parameters, received parameters={parameters!r}. Pass for example "
                'parameters={"loc": (), "scale": ()}.'
            )
        if event_ndims not in (None, 0, 1):
            raise ValueError(
                f"{self.label}: event_ndims must be 0 or 1, received {event_ndims!r}."
            )
        if support is not None and support not in SUPPORTS:
            raise ValueError(
                f"{self.label}: received support={support!r}, expected one of "
                f"{sorted(SUPPORTS)}."
            )
        self.chosen_support = support
        self.chosen_event_ndims = event_ndims
        self.event_ndims = event_ndims or 0
        self.has_mode = self.has_moments = True
        if not self.parameters(2):
            raise ValueError(
                f"{self.label}: there is nothing to learn, received constants for all "
                f"parameters, {sorted(self.constants)}, expected at least one that is "
                "learned. Leave one out, and give it an initial value by initializers; "
                "layer.trainable = False keeps it."
            )
        self.probe()

    @property
    def support(self) -> Support:
        """Which values are possible."""
        if self.chosen_support is not None:
            return SUPPORTS[self.chosen_support]
        if self.name == "Binomial" and "total_count" in self.constants:
            return integers_up_to(int(self.constants["total_count"]))
        if (
            self.name in ("Multinomial", "DirichletMultinomial")
            and "total_count" in self.constants
        ):
            return counts_adding_up_to(float(self.constants["total_count"]))
        if self.name == "Categorical":
            shape = next(iter(self.parameters(2).values())).shape
            return integers_up_to(shape[-1] - 1)
        return SUPPORT_OF_FAMILY.get(self.name or "", SUPPORTS["of_component"])

    @property
    def is_discrete(self) -> bool:
        """Whether values are integers."""
        return self.support.is_integer or is_discrete_family(self.make)

    @property
    def is_circular(self) -> bool:
        """Whether values are angles."""
        return self.support is SUPPORTS["circle"]

    def parameters(self, num_dims: int) -> dict[str, FamilyParameter]:
        """Returns the parameters that are learned, for `num_dims` dimensions."""
        shapes = None if self.shapes is None else tuple(self.shapes.items())
        is_vector = bool(self.event_ndims)
        if not is_family(self.make):
            return family_parameters.of_function(shapes or (), num_dims, is_vector)
        return family_parameters.of_class(
            self.label,
            self.make,
            num_dims,
            self.dtype,
            shapes,
            tuple(self.constants),
            is_vector,
        )

    def probe(self, num_dims: int | None = None) -> None:
        """Makes one component, to learn its event and what it cannot do.

        Raises:
            ValueError: Its event is neither a number nor a vector of `num_dims`.
        """
        with tf.init_scope():
            # Threes: the shapes and degrees of freedom at which moments are defined.
            values = {
                name: p.constrained(
                    tf.fill(p.unconstrained_shape, tf.constant(3.0, self.dtype))
                )
                for name, p in self.parameters(num_dims or 2).items()
            }
            distribution = self.distribution(values)
            event = distribution.event_shape
            if self.chosen_event_ndims is None and is_family(self.make):
                self.event_ndims = min(event.rank or 0, 1)
            expected = [num_dims] if self.event_ndims else []
            if event.rank != self.event_ndims or not event.is_compatible_with(expected):
                raise ValueError(
                    f"{self.label}: received a distribution of event shape "
                    f"{event}, expected {expected}: numbers, or vectors over the "
                    "num_dims dimensions of a variable. Pass event_ndims=1 for "
                    "vectors, and the circuit's num_dims."
                )
            self.has_mode, self.has_moments = True, not self.is_circular
            try:
                distribution.mode()
            except NotImplementedError:
                self.has_mode = False
            for query in ("mean", "variance"):
                try:
                    value = moment(distribution, query)
                    self.has_moments &= not np.any(np.isnan(value))
                except NotImplementedError:
                    self.has_moments = False

    def distribution(
        self, values: Params, dtype: tf.DType | None = None
    ) -> Distribution:
        """The distribution of parameters by name, of their `dtype`."""
        constants = {
            name: tf.constant(value, dtype or self.dtype)
            if isinstance(value, int | float) and not isinstance(value, bool)
            else value
            for name, value in self.constants.items()
        }
        try:
            made = self.make(**values, **constants)
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

    def ask(self, distribution: object, query: str) -> Tensor:
        """A statistic, or an error that says which family lacks which."""
        try:
            value = tf.cast(moment(distribution, query), self.dtype)
        except NotImplementedError:
            raise NotImplementedError(
                f"{self.label}: the family has no {query}, so that this query is not "
                "defined. Choose a family that has one, or ask for samples."
            ) from None
        if self.is_circular and query != "mode":  # no numbers to be averaged
            return tf.fill(tf.shape(value), tf.constant(math.nan, value.dtype))
        return value

    @property
    def has_large_counts(self) -> bool:
        """Whether there are values whose log-factorials would lose digits."""
        return is_family(self.make) and self.is_discrete and self.support.high > 255

    def log_prob(self, values: Params, x: Tensor) -> Tensor:
        """Log-density of `x` in the support, given parameters by name: never NaN.

        An infinite density counts as impossible, too. Large counts are asked for in
        double precision, lest differences of log-factorials lose their digits; those
        that float64 alone can hold, in deviance form.
        """
        if self.has_large_counts:
            x = tf.cast(x, tf.float64)
            values = {name: tf.cast(value, x.dtype) for name, value in values.items()}
        distribution = self.distribution(values, x.dtype)
        if not self.support.depends_on_parameters:
            is_widest = self.has_large_counts and self.dtype == tf.float64
            if is_widest or not self.is_discrete:
                log_prob = tf.cast(family_log_prob(distribution, x), self.dtype)
            else:
                log_prob = tf.cast(distribution.log_prob(x), self.dtype)
            return tf.where(log_prob < math.inf, log_prob, minus_infinity(log_prob))
        # Where a value is impossible, the density is evaluated at a draw instead, lest
        # its gradient be NaN.
        valid = is_finite(distribution.log_prob(tf.stop_gradient(x)))
        if self.name == "GeneralizedPareto":  # TFP's density knows no ends
            z = (x - distribution.loc) / distribution.scale
            valid &= (z >= 0) & (1 + distribution.concentration * z > 0)
        if self.is_discrete:
            is_whole = tf.math.floor(x) == x
            valid &= tf.reduce_all(is_whole, -1) if self.event_ndims else is_whole
        draw = distribution.sample(seed=tf.zeros([2], tf.int32))
        draw = tf.stop_gradient(tf.cast(draw, x.dtype))
        is_inside = valid[..., tf.newaxis] if self.event_ndims else valid
        log_prob = distribution.log_prob(tf.where(is_inside, x, draw))
        log_prob = tf.where(valid, log_prob, minus_infinity(log_prob))
        return tf.cast(log_prob, self.dtype)

    def mode(self, distribution: Distribution) -> Tensor:
        """The mode; the mean or the median where there is none."""
        mode = self.ask(distribution, "mode")
        if self.name == "Exponential":  # TFP says NaN
            return tf.zeros_like(mode)
        if self.is_circular:
            turn = tf.constant(2 * math.pi, mode.dtype)
            return self.support.rounded_inwards(
                mode - turn * tf.math.round(mode / turn)
            )
        if self.is_discrete:
            return mode
        log_prob = distribution.log_prob(mode)
        if self.event_ndims:
            log_prob = log_prob[..., tf.newaxis]
        is_mode = is_finite(mode) & is_finite(log_prob)
        is_mode &= self.support.contains(mode) | bool(self.event_ndims)
        if self.has_moments:
            return tf.where(is_mode, mode, self.ask(distribution, "mean"))
        try:
            other = tf.cast(
                distribution.quantile(tf.constant(0.5, self.dtype)), self.dtype
            )
        except NotImplementedError:
            other = mode
        return tf.where(is_mode, mode, other)

    def m_step(self, num_dims: int) -> MaximumLikelihood:
        """The M-step.

        Raises:
            NotImplementedError: There is none.
        """
        rule, reason = FAMILIES.get(self.name or ""), "the family has no M-step"
        if rule is not None:
            obstacle = rule.obstacle(self.parameters(num_dims))
            if obstacle is None:
                return rule
            reason = f"the M-step of the family does not serve: {obstacle}"
        other = ""
        if self.name in _HAVE_A_LEAF:
            other = f", or tfp_spn.layers.{_HAVE_A_LEAF[self.name]}, which has one"
        raise NotImplementedError(
            f"{self.label}: EM was asked for, but {reason}. Learn by gradient, "
            f'tfp_spn.learning.fit(..., method="gradient"){other}.'
        )

    def config(self) -> Config:
        """The arguments, for `DistributionLeaf.get_config`."""
        make = self.name or self._serialized_function()
        return {"make_distribution": make, **self.arguments()}

    def arguments(self) -> Config:
        """All but the class or function."""
        shapes: dict[str, list[int] | None] | None = None
        if self.shapes is not None:
            shapes = {k: None if v is None else list(v) for k, v in self.shapes.items()}
        return {
            "parameters": shapes,
            "constants": dict(self.constants),
            "support": self.chosen_support,
            "event_ndims": self.chosen_event_ndims,
        }

    def _serialized_function(self) -> object:
        registered = keras.saving.get_registered_name(self.make)
        if keras.saving.get_registered_object(registered) is None:
            raise ValueError(
                f"{self.label}: make_distribution cannot be saved, received "
                f"{self.make!r}, expected a class of tfd or a function known to Keras. "
                "Decorate it with "
                "@keras.saving.register_keras_serializable(package=...)."
            )
        return serialize(self.make)


def _callable_of(make_distribution: object) -> Callable[..., Distribution]:
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


def _checked_constants(label: str, constants: Params) -> Params:
    for name, value in constants.items():
        if isinstance(value, np.number):
            constants[name] = value.item()
        elif not (value is None or isinstance(value, int | float | str | bool)):
            raise TypeError(
                f"{label}: received the constant {name!r} of type "
                f"{type(value).__name__}, expected a number, a string or a flag. Build "
                "families with other fixed arguments in a function."
            )
    return constants


def _as_shapes(
    parameters: Mapping[str, Sequence[int] | None] | None,
) -> dict[str, tuple[int, ...] | None] | None:
    if parameters is None:
        return None
    return {
        name: None if shape is None else tuple(int(size) for size in shape)
        for name, shape in parameters.items()
    }
