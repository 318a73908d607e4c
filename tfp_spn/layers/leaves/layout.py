"""Which variables the leaf regions of a circuit cover, as index tables."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import move_axis, reshape_axes
from tfp_spn.ops.long_sums import MAX_TERMS, long_sum
from tfp_spn.ops.mixture_moments import finite_range


@dataclass(frozen=True, eq=False)
class LeafLayout:
    """Leaf regions over variables.

    A leaf *slot* is one pair of a leaf region and a variable in its scope; each slot
    has parameters of its own. Slots are ordered by region.

    Args:
        scopes: The variables of each leaf region.
        num_variables: Number of variables ``V``.
        num_dims: Dimensions ``D`` of each variable.
    """

    scopes: tuple[tuple[int, ...], ...]
    num_variables: int
    num_dims: int = 1

    @property
    def num_regions(self) -> int:
        """Number of leaf regions ``R``."""
        return len(self.scopes)

    @functools.cached_property
    def num_slots(self) -> int:
        """Number of leaf slots ``L``."""
        return sum(len(scope) for scope in self.scopes)

    @functools.cached_property
    def slot_variable(self) -> np.ndarray:
        """int32 ``[L]``: the variable of each slot."""
        return np.concatenate([np.asarray(s, np.int32) for s in self.scopes])

    @functools.cached_property
    def slot_region(self) -> np.ndarray:
        """int32 ``[L]``: the leaf region of each slot."""
        lengths = [len(scope) for scope in self.scopes]
        return np.repeat(np.arange(self.num_regions, dtype=np.int32), lengths)

    @functools.cached_property
    def slots_of_region(self) -> np.ndarray:
        """int32 ``[R, W]``: each region's slots, padded by ``L`` to the widest."""
        width = max(len(scope) for scope in self.scopes)
        table = np.full([self.num_regions, width], self.num_slots, np.int32)
        start = 0
        for region, scope in enumerate(self.scopes):
            table[region, : len(scope)] = np.arange(start, start + len(scope))
            start += len(scope)
        return table

    @functools.cached_property
    def slots(self) -> LeafLayout:
        """The same slots, each a region of its own."""
        if self.width == 1:
            return self
        scopes = tuple((variable,) for variable in self.slot_variable.tolist())
        return LeafLayout(scopes, self.num_variables, self.num_dims)

    @functools.cached_property
    def slots_in_order(self) -> np.ndarray:
        """int32 ``[R, W]``: `slots_of_region`, in the order of the variables."""
        variable = np.append(self.slot_variable, self.num_variables)
        order = np.argsort(variable[self.slots_of_region], axis=1, kind="stable")
        return np.take_along_axis(self.slots_of_region, order, axis=1)

    @property
    def width(self) -> int:
        """Number of slots of the widest region."""
        return self.slots_of_region.shape[1]

    @functools.cached_property
    def is_regular(self) -> bool:
        """Whether all regions have equally many slots."""
        return self.num_regions * self.width == self.num_slots

    @functools.cached_property
    def is_identity(self) -> bool:
        """Whether slot ``l`` is variable ``l``: no gather is needed."""
        return self.num_slots == self.num_variables and bool(
            np.all(self.slot_variable == np.arange(self.num_variables))
        )

    @functools.cached_property
    def pieces(self) -> LeafLayout:
        """The same slots in regions so narrow that their sums lose no digits."""
        if self.width * self.num_dims <= MAX_TERMS:
            return self
        pieces = [tuple(p.tolist()) for s in self.scopes for p in self._cut(s)]
        return LeafLayout(tuple(pieces), self.num_variables, self.num_dims)

    def sum_over_pieces(self, values: Tensor) -> Tensor:
        """``[..., pieces, K, *] -> [..., R, K, *]``: sums each region's `pieces`."""
        if self.pieces is self:
            return values
        ends = np.cumsum([0] + [len(self._cut(scope)) for scope in self.scopes])
        slots = tuple(tuple(range(*bounds)) for bounds in itertools.pairwise(ends))
        return LeafLayout(slots, int(ends[-1])).sum_over_width(values)

    def _cut(self, scope: tuple[int, ...]) -> list[np.ndarray]:
        num_pieces = -(-self.width * self.num_dims // MAX_TERMS)
        return np.array_split(np.asarray(scope), min(num_pieces, len(scope)))

    def gather_variables(self, x: Tensor, axis: int) -> Tensor:
        """``[..., V, ...]`` to ``[..., L, ...]`` along `axis`."""
        return x if self.is_identity else tf.gather(x, self.slot_variable, axis=axis)

    def group_by_region(self, x: Tensor) -> Tensor:
        """``[..., L, F, *]`` to ``[..., R, W * F, *]``, zeros where padded."""
        if not self.is_regular:
            x = tf.concat([x, tf.zeros_like(x[..., :1, :, :])], axis=-3)
            x = tf.gather(x, self.slots_of_region.reshape(-1), axis=-3)
        num_features = x.shape[-2]
        return reshape_axes(x, -3, -1, [self.num_regions, self.width * num_features])

    def ungroup(self, x: Tensor, num_features: int) -> Tensor:
        """Undoes `group_by_region`: ``[..., R, W * F, *]`` to ``[..., L, F, *]``."""
        count = self.num_regions * self.width
        x = reshape_axes(x, -3, -1, [count, num_features])
        if self.is_regular:
            return x
        position = np.flatnonzero(self.slots_of_region.reshape(-1) < self.num_slots)
        return tf.gather(x, position, axis=-3)

    def from_turns(self, values: Tensor, num_axes: int) -> Tensor:
        """``[W, ..., R, *] -> [..., L, *]``: by turn of each region to by slot.

        `num_axes` is the number of axes after the regions.
        """
        rank = values.shape.rank
        region = rank - 1 - num_axes
        values = move_axis(values, 0, region)  # [..., R, W, *]
        count = self.num_regions * self.width
        values = reshape_axes(values, region - 1, region + 1, [count])
        if self.is_regular:
            return values
        position = np.flatnonzero(self.slots_of_region.reshape(-1) < self.num_slots)
        return tf.gather(values, position, axis=region - 1)

    def sum_over_width(self, values: Tensor) -> Tensor:
        """``[..., L, K, *] -> [..., R, K, *]``: sums the slots of each region."""
        if self.width == 1:
            return values
        if self.is_regular:
            values = reshape_axes(values, -3, -2, [self.num_regions, self.width])
            return long_sum(values, axis=-3)
        values = tf.concat([values, tf.zeros_like(values[..., :1, :, :])], axis=-3)
        return long_sum(tf.gather(values, self.slots_of_region, axis=-3), axis=-3)

    def sum_over_slots(self, values: Tensor) -> Tensor:
        """``[..., L, F, N] -> [..., V, F, N]``: sums the slots of each variable."""
        if self.is_identity:
            return values
        summed = tf.math.unsorted_segment_sum(
            move_axis(values, -3, 0), self.slot_variable, self.num_variables
        )
        return move_axis(summed, 0, -3)

    def mean_over_slots(self, values: Tensor) -> Tensor:
        """``[..., L, F, *] -> [..., V, F, *]``: averages the slots of each variable."""
        if self.is_identity:
            return values
        count = np.bincount(self.slot_variable, minlength=self.num_variables)
        count = np.maximum(count, 1)[:, np.newaxis, np.newaxis]
        return self.sum_over_slots(values) / tf.constant(count, values.dtype)

    def range_over_variables(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest finite component value of each slot's variable.

        ``[..., L, K, D]`` to twice ``[..., L, 1, D]``: slots of one variable agree.
        Zeros where no value is finite.
        """
        low, high = finite_range(values, axis=-2)
        if not self.is_identity:
            low, high = self._range_over_slots(low, high)
        is_empty = low > high
        zero = tf.zeros_like(low)
        return tf.where(is_empty, zero, low), tf.where(is_empty, zero, high)

    def _range_over_slots(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        rank = low.shape.rank
        slot_first = [rank - 3, *range(rank - 3), rank - 2, rank - 1]

        def spread(segment_reduce: Callable, value: Tensor) -> Tensor:
            by_variable = segment_reduce(
                tf.transpose(value, slot_first), self.slot_variable, self.num_variables
            )
            by_slot = tf.gather(by_variable, self.slot_variable)
            return tf.transpose(by_slot, np.argsort(slot_first))

        return (
            spread(tf.math.unsorted_segment_min, low),
            spread(tf.math.unsorted_segment_max, high),
        )
