"""Events of a distribution over sequences: some steps, and some variables of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.distributions._event import (
    Event,
    EventKey,
    Given,
    as_tensor,
    check_variables,
)
from tfp_spn.ops.regions import gather_blank, inverse_index
from tfp_spn.programs.dynamic.dynamic_program import DynamicProgram

Padding = Literal["right", "left"]


class SequenceEvent(Event):
    """The steps and variables of a distribution among those of a program.

    Args:
        program: The dynamic circuit.
        variables: Indices of each step's variables, in the order of the event; `None`:
            all.
        steps: Indices of the steps; `None`: all.
        owner: Name of the distribution, for messages.
    """

    has_steps = True
    program: DynamicProgram

    def __init__(
        self,
        program: DynamicProgram,
        variables: Sequence[int] | None,
        steps: Sequence[int] | None,
        owner: str,
    ) -> None:
        self.step = Event(program.step, variables, owner)
        super().__init__(program, self.step.variables, owner)
        every = tuple(range(program.num_steps))
        self.steps = every if steps is None else tuple(steps)
        self.num_steps = program.num_steps
        self.has_all_steps = self.steps == every
        self.is_full = self.step.is_full and self.has_all_steps

    @property
    def key(self) -> EventKey:
        """See `EventKey`."""
        return EventKey(type(self), self.variables, self.owner, self.steps)

    @property
    def chosen(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """As `Event.chosen`, with the steps."""
        return {"steps": (self.steps, self.num_steps), **super().chosen}

    @property
    def shape(self) -> tuple[int, ...]:
        """``[T', *event_shape]`` of a step's."""
        return (len(self.steps), *self.step.shape)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """``[T', *mask_shape]`` of a step's."""
        return (len(self.steps), *self.step.mask_shape)

    def mask(self, observed: TensorLike, lead: tf.TensorShape) -> Tensor:
        """A checked mask; one flag per step, ``[..., T', 1]``, is spread."""
        if observed is not None:
            observed = as_tensor(observed, "observed")
            per_step = (len(self.steps), *[1] * len(self.step.mask_shape))
            if observed.shape[-len(per_step) :] == per_step:
                batch = tf.shape(observed)[: observed.shape.rank - len(per_step)]
                static = observed.shape[: -len(per_step)].concatenate(self.mask_shape)
                observed = tf.broadcast_to(
                    observed, tf.concat([batch, self.mask_shape], 0)
                )
                observed = tf.ensure_shape(observed, static)
        return super().mask(observed, lead)

    def num_bounds(self, can_be_bounded: tuple[bool, ...]) -> int:
        """Returns how many coordinates may be bounded, in all steps."""
        return self.num_steps * super().num_bounds(can_be_bounded)

    def spread(
        self, value: Tensor, observed: TensorLike | None
    ) -> tuple[Tensor, Tensor | None]:
        """Values and mask over all steps and variables of the circuit.

        Returns:
            Value ``[..., T, V(, D)]`` and mask ``[..., T, V]`` with equal leading
            shapes; the mask is `None` when everything is observed.
        """
        value = self.value(value)
        if observed is not None:
            observed = self.mask(observed, self.lead_of(value))
        value, observed = self.step.spread(value, observed)
        if self.has_all_steps:
            return value, observed
        axis = -1 - self.step.program.flat_event_ndims
        if observed is None:
            flags = value if axis == -2 else value[..., 0]
            observed = tf.ones_like(flags, tf.bool)
        place = inverse_index(list(self.steps), self.num_steps)
        return gather_blank(value, place, axis), gather_blank(observed, place, -2)

    def subset(self, variables: Sequence[int]) -> tuple[int, ...]:
        """Returns the circuit's variables that those of this event stand for."""
        return self.step.subset(variables)

    def subset_of_steps(self, steps: Sequence[int]) -> tuple[int, ...]:
        """Returns the circuit's steps that those of this event stand for."""
        chosen = check_variables(steps, len(self.steps), "marginal(steps=...)", "steps")
        return tuple(self.steps[t] for t in chosen)

    def from_kernel(self, value: Tensor) -> Tensor:
        """``[..., T, V, D]`` to the event's shape."""
        if not self.has_all_steps:
            value = tf.gather(value, self.steps, axis=-3)
        return self.step.from_kernel(value)

    def of_steps(
        self, values: Tensor, lengths: TensorLike | None, padding: Padding, ndims: int
    ) -> Tensor:
        """What all steps of the circuit say, where the user has them.

        Args:
            values: ``[..., T, ...]``.
            lengths: As in `with_lengths`.
            padding: As in `with_lengths`.
            ndims: Rank from the axis of steps on.
        """
        if not self.has_all_steps:
            values = tf.gather(values, self.steps, axis=-ndims)
        if lengths is None or padding == "right":
            return values
        return shifted(values, tf.convert_to_tensor(lengths), ndims, 1)

    def with_lengths(
        self,
        value: Tensor,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> Given:
        """Puts sequences at the front; after their ends nothing is known."""
        self.check_value(value)
        lead = self.lead_of(value)
        if padding not in ("right", "left"):
            raise ValueError(
                f"{self.owner}: received padding={padding!r}, expected 'right' (behind "
                "a sequence) or 'left' (before it)."
            )
        if observed is not None:
            observed = self.mask(observed, lead)
        if lengths is None:
            return Given(value, observed)
        lengths = self._checked_lengths(lengths, lead)
        if padding == "left":
            value = shifted(value, lengths, self.ndims, -1)
            if observed is not None:
                ndims = len(self.mask_shape)
                observed = shifted(observed, lengths, ndims, -1)
        exists = tf.sequence_mask(lengths, self.shape[0])  # [..., T]
        for _ in self.step.mask_shape:
            exists = exists[..., tf.newaxis]
        if observed is None:
            observed = tf.ones(self.mask_shape, tf.bool)
        return Given(value, observed & exists)

    def _checked_lengths(self, lengths: TensorLike, lead: tf.TensorShape) -> Tensor:
        """Returns lengths as a tensor, all of them within the range."""
        lengths = tf.convert_to_tensor(lengths)
        if not lengths.dtype.is_integer:
            raise TypeError(
                f"{self.owner}: received lengths of dtype {lengths.dtype.name}, "
                "expected integers: how many steps each sequence has."
            )
        if not self.has_all_steps:
            raise ValueError(
                f"{self.owner}: received lengths for the marginal of steps "
                f"{list(self.steps)}, expected none. Use observed."
            )
        try:
            static = tf.broadcast_static_shape(lengths.shape, lead)
        except ValueError:
            static = None
        if static is None or not static.is_compatible_with(lead):
            raise ValueError(
                f"{self.owner}: received lengths of shape {tuple(lengths.shape)}, "
                f"expected one that broadcasts to {tuple(lead)}: one length for each "
                "sequence."
            )
        values = tf.get_static_value(lengths)
        num_steps = self.shape[0]
        if values is None:
            valid = (lengths >= 1) & (lengths <= num_steps)
            message = f"{self.owner}: expected lengths from 1 to {num_steps}, received"
            check = tf.debugging.Assert(tf.reduce_all(valid), [message, lengths])
            with tf.control_dependencies([check]):
                return tf.identity(lengths)
        is_wrong = (values < 1) | (values > num_steps)
        if is_wrong.any():
            places = np.argwhere(is_wrong)[:5]
            which = ", ".join(str(tuple(place.tolist())) for place in places)
            received = np.unique(values[is_wrong]).tolist()
            raise ValueError(
                f"{self.owner}: received lengths {received} (of the sequences at "
                f"{which}), expected numbers from 1 to {num_steps}, the steps of the "
                "event. Leave out empty sequences; cut longer ones, or build the "
                "circuit with more num_steps."
            )
        return lengths


def shifted(value: Tensor, lengths: Tensor, ndims: int, direction: int) -> Tensor:
    """Rotates the steps, the first of the last `ndims` axes, past the padding.

    Args:
        value: ``[..., T, ...]``.
        lengths: Broadcasts to the leading axes.
        ndims: Rank of an event.
        direction: -1: from the back to the front, 1: back again.
    """
    lead = tf.shape(value)[: value.shape.rank - ndims]
    static = value.shape[: value.shape.rank - ndims]
    lengths = tf.cast(lengths, tf.int32)
    full = tf.broadcast_dynamic_shape(lead, tf.shape(lengths))
    known = tf.broadcast_static_shape(static, lengths.shape)
    event = value.shape[-ndims:]
    value = tf.broadcast_to(value, tf.concat([full, event], 0))
    value = tf.ensure_shape(value, known.concatenate(event))
    lengths = tf.ensure_shape(tf.broadcast_to(lengths, full), known)
    num_steps = event[0]
    index = tf.range(num_steps) - direction * (num_steps - lengths[..., tf.newaxis])
    index = tf.math.floormod(index, num_steps)
    return tf.gather(value, index, axis=known.rank, batch_dims=known.rank)
