"""Evidence: what is known of each variable, as leaf layers are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import transpose


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

    PER_EXAMPLE: ClassVar[tuple[str, ...]] = ("observed", "bounded", "exceeded")

    def with_bounds_of(self, variables: Sequence[bool]) -> Self:
        """Notes of which variables alone there may be bounds."""
        return dataclasses.replace(self, can_be_bounded=np.asarray(variables, bool))

    def with_hidden_at_modes(self) -> Self:
        """Hidden variables take their modal values, as they do in max-product."""
        return dataclasses.replace(self, hidden_at_modes=True)

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
