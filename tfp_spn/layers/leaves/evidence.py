"""Evidence: what is known of each variable, as leaf layers are told.

A user's value is ``S + P + event``: sample dimensions, batch dimensions of the
parameters (each 1 or as large as theirs, missing ones are 1), event. The kernel's is
``P + [V, D, N]`` with all of ``S`` flattened to ``N`` examples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.axes import merge_axes, transpose


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of each variable, in the kernel's layout.

    A variable is observed, bounded from above by its value, or hidden. Programs split
    evidence into blocks and steps and hand it on; leaves alone say what it means (see
    `BaseLeaf.region_log_values`), so that a subclass can hold other kinds.

    Attributes:
        x: ``[..., V, D, N]``.
        observed: bool ``[..., V, N]``: which values count. `None`: all of them; or
            none, if there are bounds.
        sample_shape: int32 tensor: what ``N`` was flattened from.
        static_sample_shape: The same as far as it is known.
        bounded: bool ``[..., V, N]``: which values are upper bounds. `None`: none.
        exceeded: bool ``[..., V, N]``: which of these are exceeded, in place of upper
            bounds. `None`: none.
        hidden_at_modes: Whether hidden variables take their modal values, those of
            each component, rather than being integrated out.
        can_be_bounded: bool ``[V]``: of which variables that may be, for all that is
            known when a graph is made. `None`: of all.
        is_constant: Whether nobody asks for a gradient with respect to `x`.
        PER_EXAMPLE: Names of the attributes, besides `x`, that end in an axis of
            examples.
    """

    x: Tensor
    observed: Tensor | None
    sample_shape: Tensor
    static_sample_shape: tf.TensorShape
    bounded: Tensor | None = None
    exceeded: Tensor | None = None
    can_be_bounded: np.ndarray | None = None
    hidden_at_modes: bool = False
    is_constant: bool = False

    PER_EXAMPLE: ClassVar[tuple[str, ...]] = ("observed", "bounded", "exceeded")

    def with_bounds_of(self, variables: Sequence[bool]) -> Self:
        """Notes of which variables alone there may be bounds."""
        return dataclasses.replace(self, can_be_bounded=np.asarray(variables, bool))

    def with_hidden_at_modes(self) -> Self:
        """Hidden variables take their modal values, as they do in max-product."""
        return dataclasses.replace(self, hidden_at_modes=True)

    def without_gradient(self) -> Self:
        """Nobody asks for a gradient with respect to `x`."""
        return dataclasses.replace(self, is_constant=True)

    @property
    def masks(self) -> list[Tensor]:
        """Those that are there: tensors that have an axis of examples beside `x`."""
        masks = (getattr(self, name) for name in self.PER_EXAMPLE)
        return [mask for mask in masks if mask is not None]

    def with_parts(self, x: Tensor, masks: Sequence[Tensor]) -> Self:
        """With another `x` and other `masks`."""
        names = [n for n in self.PER_EXAMPLE if getattr(self, n) is not None]
        return dataclasses.replace(self, x=x, **dict(zip(names, masks, strict=True)))

    @property
    def known(self) -> Tensor | None:
        """Bool ``[..., V, N]``: of what anything is known; `None`: of all."""
        if self.observed is None or self.bounded is None:
            return self.observed if self.bounded is None else self.bounded
        return self.observed | self.bounded

    def hidden_unless(self, flags: Tensor) -> Self:
        """Only those values count that do now and where ``flags [..., V, N]`` hold."""
        observed = self.observed
        if observed is None:
            observed = tf.ones_like(self.x[..., 0, :], tf.bool)
        observed &= flags
        return dataclasses.replace(self, observed=observed)

    def restore(self, value: Tensor) -> Tensor:
        """``P + event + [N]`` to ``S + P + event``."""
        rank = value.shape.rank
        value = transpose(value, [rank - 1, *range(rank - 1)])
        shape = tf.concat([self.sample_shape, tf.shape(value)[1:]], 0)
        static = self.static_sample_shape.concatenate(value.shape[1:])
        return tf.ensure_shape(tf.reshape(value, shape), static)

    def restore_draws(self, values: Tensor, n: int | None) -> Tensor:
        """``[n, N] + ...`` to ``[n] + S + ...``; `n` as far as it is known."""
        shape = tf.shape(values)
        shape = tf.concat([shape[:1], self.sample_shape, shape[2:]], 0)
        static = tf.TensorShape([n]).concatenate(self.static_sample_shape)
        static = static.concatenate(values.shape[2:])
        return tf.ensure_shape(tf.reshape(values, shape), static)


def to_evidence(
    value: Tensor,
    observed: Tensor | None,
    event_ndims: int,
    batch_rank: int,
    num_time_axes: int = 0,
    bounded: Tensor | None = None,
) -> Evidence:
    """Brings a value (already of the parameters' dtype) into the kernel's layout.

    Args:
        value: ``S + P + [V]``, ``S + P + [V, D]`` or ``S + P + [height, width, D]``.
        observed: bool, ``S + P + [V]`` (or ``S + P + [height, width]``) with the
            leading shape of `value`, or `None`.
        event_ndims: 1, 2 or 3.
        batch_rank: Number of batch dimensions ``P``.
        num_time_axes: 1 if values and masks have an axis of steps before the event's.
        bounded: bool of the shape of `observed`, or `None`: see `Evidence`.
    """
    if event_ndims == 1:
        value = value[..., tf.newaxis]
    if event_ndims == 3:
        value = merge_pixels(value, 3)
    x, sample_shape, static = _examples_last(value, 2 + num_time_axes, batch_rank)

    def in_layout(mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        mask = merge_pixels(mask, 2) if event_ndims == 3 else mask
        return _examples_last(mask, 1 + num_time_axes, batch_rank)[0]

    return Evidence(x, in_layout(observed), sample_shape, static, in_layout(bounded))


def nothing_known(
    layout: LeafLayout, batch_rank: int, dtype: tf.DType, num_steps: int | None = None
) -> Evidence:
    """Evidence of one example of which nothing is known, perhaps of a sequence."""
    lead = [1] * batch_rank + ([] if num_steps is None else [num_steps])
    x = tf.zeros([*lead, layout.num_variables, layout.num_dims, 1], dtype)
    observed = tf.zeros([*lead, layout.num_variables, 1], tf.bool)
    return Evidence(x, observed, tf.zeros([0], tf.int32), tf.TensorShape([]))


def merge_pixels(value: Tensor, place: int) -> Tensor:
    """Merges the axes of rows and columns; rows are the `place`-th axis from behind."""
    return merge_axes(value, -place, 2 - place)


def _examples_last(
    value: Tensor, event_ndims: int, batch_rank: int
) -> tuple[Tensor, Tensor, tf.TensorShape]:
    """``S + P + event`` to ``P + event + [N]``, and ``S`` in both forms."""
    missing = batch_rank + event_ndims - value.shape.rank
    for _ in range(max(missing, 0)):
        value = value[tf.newaxis]
    num_sample = value.shape.rank - batch_rank - event_ndims
    static = value.shape[:num_sample]
    count = math.prod(static) if static.is_fully_defined() else -1
    tail = tf.shape(value)[num_sample:]
    sample_shape = tf.shape(value)[:num_sample]
    if num_sample != 1:
        if count == -1:
            count = tf.reduce_prod(sample_shape)
        flat = tf.reshape(value, tf.concat([[count], tail], 0))
        lead = count if isinstance(count, int) else None
        value = tf.ensure_shape(flat, [lead, *value.shape[num_sample:]])
    return transpose(value, [*range(1, value.shape.rank), 0]), sample_shape, static
