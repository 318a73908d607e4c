"""Parameters of a distribution, as they come from a circuit or from anywhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties

from tfp_spn._typing import Params
from tfp_spn.programs.program import Program

no_shape = parameter_properties.SHAPE_FN_NOT_IMPLEMENTED
no_bijector = parameter_properties.BIJECTOR_NOT_IMPLEMENTED
BatchedComponentProperties = parameter_properties.BatchedComponentProperties


class Viewed(Protocol):
    """What a distribution is a view of: a circuit, or the components of one."""

    @property
    def program(self) -> Program:
        """What it computes."""

    def live_params(self) -> Params:
        """Its un-read variables by name."""


def check_params(
    params: Params, circuit: Viewed, program: Program, owner: str
) -> Params:
    """Parameters as variables or tensors, in the order of their names.

    `program` is that of the circuit, except that parameters may have an axis of steps;
    `owner` is the distribution's name, for messages.
    """
    in_time = program.parameters_in_time
    if not isinstance(params, Mapping):
        raise TypeError(
            f"{owner}: received params of type {type(params).__name__}, "
            "expected a dict of parameters by name. Start from circuit.live_params() "
            "and replace some of its entries."
        )
    expected = program.param_event_ndims
    if set(params) != set(expected):
        missing, surplus = set(expected) - set(params), set(params) - set(expected)
        raise ValueError(
            f"{owner}: received params {sorted(params)}, expected "
            f"{sorted(expected)}: missing {sorted(missing)}, unknown "
            f"{sorted(surplus)}. Start from circuit.live_params() and replace some of "
            "its entries."
        )
    live, converted, batches = circuit.live_params(), {}, {}
    for name, ndims in expected.items():
        value = params[name]
        if not tf.is_tensor(value) or not hasattr(value, "shape"):
            value = tf.convert_to_tensor(value, dtype=program.dtype, name=name)
        if value.dtype != program.dtype:
            raise TypeError(
                f"{owner}: received parameter {name!r} of dtype "
                f"{value.dtype.name}, expected {program.dtype.name}, that of the "
                "circuit. Cast it first."
            )
        if value.shape.rank is None:
            raise ValueError(
                f"{owner}: received parameter {name!r} of unknown rank, "
                "which leaves the batch shape open. Use tf.ensure_shape first."
            )
        own_ndims = ndims - (name in in_time)
        shape, have = live[name].shape[-own_ndims:], value.shape[-ndims:]
        if name in in_time:
            shape = tf.TensorShape([program.event_shape[0], *shape])
        if value.shape.rank < ndims or not have.is_compatible_with(shape):
            raise ValueError(
                f"{owner}: received parameter {name!r} of shape "
                f"{tuple(value.shape)}, expected [..., {', '.join(map(str, shape))}], "
                "where leading axes are the batch shape. Start from "
                "circuit.live_params(), whose shapes are right."
            )
        batches[name] = value.shape[:-ndims]
        if not have.is_fully_defined():
            value = tf.ensure_shape(value, batches[name].concatenate(shape))
        converted[name] = value
    try:
        functools.reduce(tf.broadcast_static_shape, batches.values())
    except ValueError:
        received = {name: batch.as_list() for name, batch in batches.items()}
        raise ValueError(
            f"{owner}: received params of batch shapes {received}, expected "
            "shapes that broadcast with each other. Insert axes of size 1, or give all "
            "parameters equal leading axes."
        ) from None
    return converted


def are_same(params: object, live: Params) -> bool:
    """Whether `params` are the very variables of `live`."""
    return params is live or (
        isinstance(params, dict)
        and params.keys() == live.keys()
        and all(params[name] is value for name, value in live.items())
    )
