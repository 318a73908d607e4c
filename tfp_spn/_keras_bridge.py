"""The one place where Keras variables meet TFP.

TFP sees `tf.Variable`s, Keras owns `keras.Variable`s: the former is the latter's
`value`, the same object each time. A distribution that holds the un-read `value`s
follows training, is found by `tf.Module` and gets gradients; one that is given a
`keras.Variable` would freeze its present value.

The other way, a layer may be made of a TFP family (`tfp_spn.layers.DistributionLeaf`):
`layers` reach families through this module only, and build distributions anew from the
values of their variables at each call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfp_math
from tensorflow_probability.python.distributions.distribution import (
    DiscreteDistributionMixin,
)
from tensorflow_probability.python.internal.parameter_properties import (
    ParameterProperties,
)

from tfp_spn._typing import Tensor

Distribution: TypeAlias = tfd.Distribution
"""A distribution of TFP."""


def frozen_variable_ids(owner: Any) -> set[int]:
    """Ids of the `tf.Variable`s that Keras holds but does not train."""
    while not isinstance(owner, keras.layers.Layer):
        owner = owner.circuit  # a view of another circuit
    trainable = {id(v.value) for v in owner.trainable_variables}
    return {id(v.value) for v in owner.variables} - trainable


def is_family(value: object) -> bool:
    """Whether a value is a class of distributions."""
    return inspect.isclass(value) and issubclass(value, tfd.Distribution)


def is_distribution(value: object) -> bool:
    """Whether a value is a distribution."""
    return isinstance(value, tfd.Distribution)


def is_discrete_family(family: Any) -> bool:
    """Whether TFP says that a class of distributions is discrete."""
    return is_family(family) and issubclass(family, DiscreteDistributionMixin)


def family_named(name: str) -> Any:
    """The class ``tfd.<name>``, or `None`."""
    family = getattr(tfd, name, None)
    return family if is_family(family) else None


def betainc(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """The regularised incomplete beta function, with gradients by all of its arguments.

    Args:
        a: Above 0.
        b: Above 0.
        x: From 0 to 1.
    """
    return tfp_math.betainc(a, b, x)


def name_of_family(family: object) -> str | None:
    """The name under which `family_named` finds a class, or `None`."""
    name = getattr(family, "__name__", "")
    return name if family_named(name) is family else None


def identity_bijector() -> tfb.Bijector:
    """The bijector of an unconstrained parameter."""
    return tfb.Identity()


def without_floor(make_bijector: Callable[[], Any]) -> Callable[[], tfb.Bijector]:
    """The same bijector, the identity for none, softplus without TFP's least value.

    TFP adds a rounding error to it, which would be the least rate, scale or
    concentration: too large a rate for data of 1e10.
    """
    bijector = make_bijector()
    if bijector is None:
        return identity_bijector
    if isinstance(bijector, tfb.Softplus) and bijector.low is not None:
        return tfb.Softplus
    return make_bijector


def family_parameters(
    family: type[Distribution], dtype: tf.DType
) -> dict[str, ParameterProperties]:
    """TFP's properties of the tensors that a class is constructed from."""
    return dict(family.parameter_properties(dtype=dtype))
