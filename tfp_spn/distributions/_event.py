"""Events of a circuit's distribution: all variables, or a chosen few.

A distribution over some of a circuit's variables is the same circuit with the others
integrated out. This module checks what users pass in, spreads their coordinates over
all variables and picks them out of results again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfp_spn._arrays import as_array
from tfp_spn._masks import mask_fault
from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.layers.leaves.evidence import Evidence, merge_pixels
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.ops.regions import gather_blank, inverse_index
from tfp_spn.programs.digits import is_symbolic, may_lose, with_kept_digits
from tfp_spn.programs.program import Program
from tfp_spn.programs.rounded_densities import SMALLEST, changed_by_rounding


class Given(NamedTuple):
    """What a user says of the values of an event, in the user's shapes.

    Attributes:
        value: ``[..., *event_shape]``.
        observed: bool ``[..., *mask_shape]``: which values count. `None`: all of them;
            or none, if there are bounds.
        bounded: bool of the same shape: which of the others are upper bounds. `None`:
            none.
    """

    value: Tensor
    observed: Tensor | None = None
    bounded: Tensor | None = None


@dataclass(frozen=True)
class EventKey:
    """What tells the events of equal programs apart, without a program."""

    kind: type
    variables: tuple[int, ...]
    owner: str
    steps: tuple[int, ...] | None = None

    def of(self, program: Program) -> Event:
        """The event of a program."""
        steps = () if self.steps is None else (self.steps,)
        return self.kind(program, self.variables, *steps, self.owner)


class Event:
    """The variables of a distribution among those of a program.

    Args:
        program: The circuit.
        variables: Indices of the variables, in the order of the event; `None`: all.
        owner: Name of the distribution, for messages.
    """

    has_steps = False

    def __init__(
        self, program: Program, variables: Sequence[int] | None, owner: str
    ) -> None:
        self.program = program
        self.owner = owner
        total = program.num_variables
        self.variables = tuple(range(total)) if variables is None else tuple(variables)
        self.is_full = self.variables == tuple(range(total))

    @property
    def key(self) -> EventKey:
        """See `EventKey`."""
        return EventKey(type(self), self.variables, self.owner)

    @property
    def chosen(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """By name of an axis, what the event ranges over, and how much there is."""
        return {"variables": (self.variables, self.program.num_variables)}

    @property
    def shape(self) -> tuple[int, ...]:
        """``[V']``, ``[V', D]``, or ``[height, width, D]`` of whole images."""
        if self.is_full:
            return self.program.event_shape
        dims = self.program.num_dims
        return (len(self.variables), *([dims] if dims > 1 else []))

    @property
    def ndims(self) -> int:
        """1, 2, or 3 of whole images."""
        return len(self.shape)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """``[V']``, or ``[height, width]`` of whole images."""
        return self.program.mask_shape if self.is_full else (len(self.variables),)

    def as_tensor(
        self, value: TensorLike, observed: TensorLike, params: Params
    ) -> Tensor:
        """A tensor of the value's own dtype, unless the circuit's loses its digits.

        Args:
            value: The value.
            observed: Its mask, if there is one; it may be wrong.
            params: Parameters of the circuit; read where digits may be lost.
        """
        tensor = as_tensor(value, takes_missing=observed is not None)
        dtype, rank = self.program.dtype, tensor.shape.rank
        if rank is None or not may_lose(tensor.dtype, dtype):
            return tensor
        if not tensor.shape[-self.ndims :].is_compatible_with(self.shape):
            return tensor
        is_discrete = self.program.step.leaf.is_discrete
        if is_discrete and tensor.dtype.is_integer and is_symbolic(tensor):
            return tensor
        mask = changed = None
        if observed is not None and not _has_unknown_rank(observed):
            mask = self.mask(observed, self.lead_of(tensor))
            if self.ndims > len(self.mask_shape):
                mask = mask[..., tf.newaxis]
        if tf.executing_eagerly():  # else parameters have no values
            changed = functools.partial(
                changed_by_rounding, self.program, params, self.variables
            )
        return with_kept_digits(
            self.owner, dtype, tensor, self.shape, mask, SMALLEST, changed
        )

    def check_value(self, value: Tensor) -> None:
        """Raises unless dtype and shape fit, as far as these are known."""
        if not (
            value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool
        ):
            raise TypeError(
                f"{self.owner}: received a value of dtype {value.dtype.name}, expected "
                "real numbers or integers. Cast it first."
            )
        event = value.shape[-self.ndims :] if value.shape.rank else value.shape
        if value.shape.rank is not None and (
            value.shape.rank < self.ndims or not event.is_compatible_with(self.shape)
        ):
            raise ValueError(
                f"{self.owner}: received a value of shape {tuple(value.shape)}, "
                f"expected [..., {', '.join(map(str, self.shape))}]: the last axes "
                "are the event. Reshape or transpose the value."
            )

    def value(self, value: Tensor) -> Tensor:
        """A checked value of the parameters' dtype, event shape unchanged."""
        self.check_value(value)
        value = tf.cast(value, self.program.dtype)
        event = value.shape[-self.ndims :] if value.shape.rank else value.shape
        if value.shape.rank is not None and not event.is_fully_defined():
            # Else an event of size 1 would be broadcast to all variables.
            lead = value.shape[: value.shape.rank - self.ndims]
            value = tf.ensure_shape(value, lead.concatenate(self.shape))
        return value

    def mask(self, observed: TensorLike, lead: tf.TensorShape) -> Tensor:
        """A checked mask ``[..., *mask_shape]``; `lead` is the value's own."""
        if observed is None:
            raise TypeError(
                f"{self.owner}: received observed=None, expected a bool mask, True "
                "where the value counts. Missing values are marked by "
                "observed=~np.isnan(x)."
            )
        observed = as_tensor(observed, "observed")
        shape, rank = self.mask_shape, observed.shape.rank
        own = shape if rank is None else observed.shape.as_list()
        fault = mask_fault(observed.dtype.name, own, lead.as_list(), [shape], True)
        if fault == "dtype":
            raise TypeError(
                f"{self.owner}: received observed of dtype {observed.dtype.name}, "
                "expected bool, True where the value counts. Compare it first, for "
                "example observed=mask > 0 or observed=~np.isnan(x)."
            )
        if rank is None:
            raise ValueError(
                f"{self.owner}: received observed of unknown rank, expected one that "
                f"broadcasts to {[*lead, *shape]}. Use tf.ensure_shape first."
            )
        if fault == "shape":
            raise ValueError(
                f"{self.owner}: received observed of shape {tuple(observed.shape)}, "
                f"expected one that broadcasts to {[*lead, *shape]}: one flag "
                "for each variable. A mask for all examples has shape "
                f"{list(shape)}."
            )
        static = observed.shape[: -len(shape)].concatenate(shape)
        # The very tensor if it can be: `tf.function` takes another one for a mutation.
        if observed.shape.as_list() == static.as_list():
            return observed
        return tf.ensure_shape(observed, static)

    def checked(self, given: Given) -> Given:
        """Returns the same with masks as tensors, or raises if they do not fit."""
        value, *masks = given
        self.check_value(value)
        return Given(
            value,
            *(m if m is None else self.mask(m, self.lead_of(value)) for m in masks),
        )

    def evidence(self, given: Given, batch_rank: int) -> Evidence:
        """What is given, over all variables and in the kernel's layout."""
        value, observed, bounded = given
        if bounded is None:
            flat, observed = self.spread(value, observed)
        else:
            flat, bounds = self.spread(value, bounded)
            if observed is not None:
                flat, observed = self.spread(value, observed & tf.ones_like(bounded))
                bounds = tf.logical_and(bounds, tf.logical_not(observed))
            bounded = bounds
        evidence = self.program.evidence(
            flat, observed, batch_rank, is_flat=True, bounded=bounded
        )
        return evidence if value.dtype.is_floating else evidence.without_gradient()

    def maybe_bounded(
        self, observed: Tensor | None, given: Tensor | None = None
    ) -> tuple[bool, ...]:
        """Returns, for each variable of the program, whether its cdf may be asked for.

        As far as that is known before a graph runs. The families of the other
        variables may have no cdf.
        """
        asked = np.zeros([self.program.num_variables], bool)
        own = np.ones([len(self.variables)], bool)
        for mask, hides in ((observed, False), (given, True)):
            known = None if mask is None else tf.get_static_value(mask)
            if known is not None:
                own &= np.any(known.reshape([-1, len(own)]) != hides, axis=0)
        asked[list(self.variables)] = own
        return tuple(asked.tolist())

    def num_bounds(self, can_be_bounded: tuple[bool, ...]) -> int:
        """Returns how many coordinates may be bounded."""
        return sum(can_be_bounded)

    def lead_of(self, value: Tensor) -> tf.TensorShape:
        """Returns the axes before the event.

        Raises:
            ValueError: The rank of the value is not known.
        """
        if value.shape.rank is None:
            event = ", ".join(map(str, self.shape))
            raise ValueError(
                f"{self.owner}: received a value of unknown rank, expected [..., "
                f"{event}] of a rank that is known, which this query needs. Use "
                f"tf.ensure_shape(value, [None, {event}]) first."
            )
        return value.shape[: value.shape.rank - self.ndims]

    def spread(
        self, value: Tensor, observed: TensorLike | None
    ) -> tuple[Tensor, Tensor | None]:
        """Values and mask over all variables of the circuit.

        Returns:
            Value ``[..., V(, D)]`` (``[..., V, D]`` of images) and mask ``[..., V]``
            with equal leading shapes; the mask is `None` when everything is observed.
        """
        value = self.value(value)
        self.lead_of(value)
        if observed is not None:
            observed = self.mask(observed, self.lead_of(value))
        if self.ndims == 3:
            value = merge_pixels(value, 3)
            observed = None if observed is None else merge_pixels(observed, 2)
        ndims = self.program.flat_event_ndims
        if self.ndims < ndims:  # some pixels of an image
            value = value[..., tf.newaxis]
        if observed is not None:
            lead = tf.broadcast_dynamic_shape(
                tf.shape(value)[: value.shape.rank - ndims],
                tf.shape(observed)[:-1],
            )
            value = _broadcast_lead(value, lead, ndims)
            observed = _broadcast_lead(observed, lead, 1)
        if self.is_full:
            return value, observed
        if observed is None:
            observed = tf.ones(tf.shape(value)[: value.shape.rank - ndims + 1])
            observed = tf.cast(observed, tf.bool)
        place = inverse_index(list(self.variables), self.program.num_variables)
        return gather_blank(value, place, -ndims), gather_blank(observed, place, -1)

    def subset(self, variables: Sequence[int]) -> tuple[int, ...]:
        """Returns the circuit's variables that coordinates of this event stand for."""
        return tuple(
            self.variables[v]
            for v in check_variables(variables, len(self.variables), "marginal")
        )

    def from_kernel(self, value: Tensor) -> Tensor:
        """``[..., V, D]`` to the event's shape."""
        if not self.is_full:
            value = tf.gather(value, self.variables, axis=-2)
        if self.ndims == 3:
            return reshape_axes(value, -2, 0, self.shape)
        return value[..., 0] if self.ndims == 1 else value


def as_tensor(
    value: TensorLike, what: str = "value", takes_missing: bool = True
) -> Tensor:
    """A tensor of the value's own dtype.

    TFP would convert arrays to the distribution's dtype, which for integers cuts 0.7
    to 0 and turns NaN into some number. Marks of missing values that are no numbers, of
    frames and lists, are refused unless there is a mask.
    """
    is_composite = isinstance(value, tf.RaggedTensor | tf.SparseTensor)
    if (tf.is_tensor(value) or isinstance(value, tf.Variable)) and not is_composite:
        return tf.convert_to_tensor(value)
    try:
        return tf.convert_to_tensor(
            as_array(value, "SumProductNetwork", what, takes_missing)
        )
    except NotImplementedError:  # a list of symbolic tensors
        return tf.convert_to_tensor(value)


def _has_unknown_rank(value: TensorLike) -> bool:
    return tf.is_tensor(value) and value.shape.rank is None


def check_variables(
    variables: Sequence[int], num_variables: int, owner: str, what: str = "variables"
) -> list[int]:
    """A list of distinct indices (of `what`), or an error that says what is wrong."""
    array = np.asarray(variables)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"{owner}: received {what}={variables!r}, expected a non-empty list of "
            f"indices between 0 and {num_variables - 1}, such as [0, 2]."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"{owner}: received {what} of type {array.dtype}, expected integers. "
            "Convert them, a boolean mask by np.flatnonzero(mask)."
        )
    wrong = [int(v) for v in array if not 0 <= v < num_variables]
    if wrong:
        raise ValueError(
            f"{owner}: received {what} {wrong}, expected indices between 0 and "
            f"{num_variables - 1}."
        )
    values, counts = np.unique(array, return_counts=True)
    if np.any(counts > 1):
        raise ValueError(
            f"{owner}: received {what} {values[counts > 1].tolist()} more than "
            "once, expected distinct indices. Drop the repetitions."
        )
    return [int(v) for v in array]


def _broadcast_lead(value: Tensor, lead: Tensor, event_ndims: int) -> Tensor:
    """Broadcasts the axes before the event."""
    event = tf.shape(value)[value.shape.rank - event_ndims :]
    return tf.broadcast_to(value, tf.concat([lead, event], 0))


def check_vector_event(event: Event, query: str) -> None:
    """Raises for events of higher rank, for which TFP defines no covariance."""
    if event.ndims != 1:
        raise NotImplementedError(
            f"{event.owner}: {query} is defined for events of rank 1, this one has "
            f"shape {list(event.shape)}. Use variance, the marginal of some variables, "
            "or a circuit with num_dims=1."
        )
