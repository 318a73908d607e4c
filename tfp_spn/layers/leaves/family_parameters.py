"""The variables of a leaf that is made of a TFP family, and what they stand for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfp_spn._keras_bridge import (
    family_parameters,
    identity_bijector,
    without_floor,
)
from tfp_spn._keras_typing import Initializer
from tfp_spn._typing import DTypeLike, Params, ShapeLike, Tensor
from tfp_spn.initializers.initial_values import initial_values

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FamilyParameter:
    """One parameter of a family.

    Attributes:
        name: Its name in the family's constructor.
        shape: Shape of one component: the family's batch shape (the dimensions of the
            variable, for scalar families) and the parameter's event shape.
        event_ndims: Rank of the parameter's event shape.
        make_bijector: Makes the bijector from real numbers to values of the parameter.
            It holds tensors, so that each graph needs one of its own.
    """

    name: str
    shape: Shape
    event_ndims: int
    make_bijector: Callable[[], Any]

    @functools.cached_property
    def unconstrained_shape(self) -> Shape:
        """Shape of what the variable stores for one component."""
        with tf.init_scope():
            return _static(self.make_bijector().inverse_event_shape(self.shape))

    def constrained(self, variable: Tensor) -> Tensor:
        """The parameter's values."""
        # A bijector remembers what it computed, without its gradient: hence a copy.
        return self.make_bijector().forward(tf.identity(variable))

    def unconstrained(self, value: Tensor) -> Tensor:
        """Returns the values that the variable stores for some of the parameter."""
        return self.make_bijector().inverse(tf.identity(value))

    def initializer(self, owner: str, initializer: Initializer) -> Initializer:
        """An initializer of the variable of `owner` from one of the parameter."""
        num_stored = len(self.unconstrained_shape)

        def initialize(shape: ShapeLike, dtype: DTypeLike = None) -> Tensor:
            lead = tuple(shape)[: len(shape) - num_stored]
            shape = (*lead, *self.shape)
            axis = -1 - len(self.shape)
            value = initial_values(owner, self.name, initializer, shape, dtype, axis)
            return self.unconstrained(value)

        return initialize

    def expanded(self, value: Tensor) -> Tensor:
        """Inserts an axis of one example after the batch: ``[..., 1, *event]``."""
        return tf.expand_dims(value, -1 - self.event_ndims)


@functools.lru_cache(maxsize=256)
def of_class(
    owner: str,
    family: Any,
    num_dims: int,
    dtype: tf.DType,
    shapes: tuple[tuple[str, tuple[int, ...] | None], ...] | None,
    constants: tuple[str, ...],
    is_vector: bool,
) -> dict[str, FamilyParameter]:
    """Returns the parameters that a class of distributions is constructed from.

    Args:
        owner: For messages.
        family: The class.
        num_dims: Dimensions of the variable.
        dtype: Dtype of the parameters.
        shapes: Names of the parameters that are learned, and the event shape of those
            whose shape TFP does not tell. Default: those that TFP prefers.
        constants: Names of the arguments that are not learned.
        is_vector: Whether the events are vectors over the dimensions.

    Raises:
        ValueError: TFP does not tell enough about a parameter.
    """
    with tf.init_scope():  # what is remembered must belong to no graph
        properties = family_parameters(family, dtype)
    arguments = set(inspect.signature(family.__init__).parameters) - {"self"}
    for given, what in ((dict(shapes or ()), "parameters"), (constants, "constants")):
        unknown = set(given) - arguments
        if unknown:
            raise ValueError(
                f"{owner}: received {what} {sorted(unknown)}, expected names among "
                f"{sorted(arguments)}: the arguments of the family."
            )
    names: dict[str, Any] = dict(shapes or ())
    if shapes is None:
        names = {
            name: None
            for name, p in properties.items()
            if p.is_tensor
            and p.is_preferred
            and not p.specifies_shape
            and p.event_ndims is not None
            and name not in constants
        }
    with tf.init_scope():
        return {
            name: _of_property(owner, name, properties, num_dims, shape, is_vector)
            for name, shape in names.items()
        }


def _of_property(
    owner: str,
    name: str,
    properties: Params,
    num_dims: int,
    event_shape: ShapeLike,
    is_vector: bool,
) -> FamilyParameter:
    if name not in properties or callable(properties[name].event_ndims):
        raise ValueError(
            f"{owner}: received the parameter {name!r}, which is no tensor of known "
            "rank. Pass it by `constants`, or build the family in a function, with "
            "`parameters`."
        )
    p = properties[name]
    make_bijector = p.default_constraining_bijector_fn
    try:
        make_bijector = without_floor(make_bijector)
    except (NotImplementedError, TypeError):
        raise ValueError(
            f"{owner}: TFP knows no constraint of the parameter {name!r}, so that it "
            f"cannot be learned. Fix it, constants={{{name!r}: ...}}, or build the "
            "family in a function, with `parameters`."
        ) from None
    if event_shape is not None:
        shape = tuple(event_shape) if is_vector else (num_dims, *event_shape)
    else:
        try:
            shape = _static(p.shape_fn(tf.TensorShape([num_dims])))
        except (NotImplementedError, TypeError, ValueError):
            raise ValueError(
                f"{owner}: TFP does not tell the shape of the parameter {name!r}. Pass "
                f"that of one component, parameters={{{name!r}: (...)}}, such as (5,) "
                "for five categories."
            ) from None
    return FamilyParameter(name, shape, p.event_ndims, make_bijector)


def of_function(
    shapes: tuple[tuple[str, tuple[int, ...] | None], ...],
    num_dims: int,
    is_vector: bool,
) -> dict[str, FamilyParameter]:
    """Returns the real arguments of a function that makes distributions."""
    lead = () if is_vector else (num_dims,)
    return {
        name: FamilyParameter(
            name, (*lead, *(shape or ())), len(shape or ()), identity_bijector
        )
        for name, shape in shapes
    }


def _static(shape: ShapeLike) -> Shape:
    dims = tf.TensorShape(shape).as_list()
    if None in dims:
        raise ValueError("unknown")
    return tuple(int(size) for size in dims)
