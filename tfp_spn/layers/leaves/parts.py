"""Which variables, slots and regions of a circuit each of several leaf layers has."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.regions import inverse_index

if TYPE_CHECKING:
    from tfp_spn.layers.leaves.base_leaf import BaseLeaf


@dataclass(frozen=True, eq=False)
class LeafPart:
    """Some variables of a circuit, and their leaf layer.

    Attributes:
        leaf: The leaf layer.
        prefix: What the names of its parameters begin with, among those of all parts.
        layout: Its leaf regions: those of the circuit, without other variables.
        variables: int ``[V']``: its variables, in order, among all.
        slots: int ``[L']``: its slots among all.
        regions: int ``[R']``: the regions that have such slots among all.
        num_slots: Number of slots of all parts.
        num_regions: Number of regions of all parts.
    """

    leaf: BaseLeaf
    prefix: str
    layout: LeafLayout
    variables: np.ndarray
    slots: np.ndarray
    regions: np.ndarray
    num_slots: int
    num_regions: int

    @classmethod
    def whole(cls, leaf: BaseLeaf, layout: LeafLayout) -> LeafPart:
        """The only part."""
        return cls(
            leaf,
            "",
            layout,
            np.arange(layout.num_variables),
            np.arange(layout.num_slots),
            np.arange(layout.num_regions),
            layout.num_slots,
            layout.num_regions,
        )

    @classmethod
    def of_variables(
        cls, leaf: BaseLeaf, prefix: str, layout: LeafLayout, variables: Sequence[int]
    ) -> LeafPart:
        """The part of some variables."""
        chosen = np.asarray(sorted(variables))
        place = {int(v): number for number, v in enumerate(chosen)}
        scopes = [tuple(place[v] for v in s if v in place) for s in layout.scopes]
        regions = np.flatnonzero([len(scope) > 0 for scope in scopes])
        return cls(
            leaf,
            prefix,
            LeafLayout(tuple(scopes[r] for r in regions), len(chosen), layout.num_dims),
            chosen,
            np.flatnonzero(np.isin(layout.slot_variable, chosen)),
            regions,
            layout.num_slots,
            layout.num_regions,
        )

    @property
    def is_whole(self) -> bool:
        """Whether it has all slots."""
        return len(self.slots) == self.num_slots

    @functools.cached_property
    def slot_place(self) -> np.ndarray:
        """int32 ``[L]``: where the circuit's slots are among the part's, or -1."""
        return inverse_index(self.slots, self.num_slots)

    @functools.cached_property
    def region_place(self) -> np.ndarray:
        """int32 ``[R]``: where the circuit's regions are among the part's, or -1."""
        return inverse_index(self.regions, self.num_regions)

    def params(self, params: Params) -> Params:
        """The part's parameters, under the layer's own names."""
        if not self.prefix:
            return params
        start = len(self.prefix)
        return {k[start:]: v for k, v in params.items() if k.startswith(self.prefix)}

    def prefixed(self, values: Params) -> Params:
        """Under their names among those of all parts."""
        return {self.prefix + name: value for name, value in values.items()}

    def can_be(self, params: Params, evidence: Evidence) -> Tensor:
        """``[..., V', N]``: whether some component can take each value."""
        x = self.leaf.safe_value(self.of_variable(evidence.x, -3))
        x = self.layout.gather_variables(x, axis=-3)
        log_prob = self.leaf.component_log_prob(self.params(params), x)
        of_slot = tf.reduce_any(log_prob > -float("inf"), axis=-2, keepdims=True)
        ways = self.layout.sum_over_slots(tf.cast(of_slot, tf.int32))
        return ways[..., 0, :] > 0

    def of_variable(self, values: Tensor, axis: int) -> Tensor:
        """``[..., V, ...]`` to ``[..., V', ...]``."""
        return self._gather(values, self.variables, axis)

    def of_slot(self, values: Tensor, axis: int) -> Tensor:
        """``[..., L, ...]`` to ``[..., L', ...]``."""
        return self._gather(values, self.slots, axis)

    def of_region(self, values: Tensor, axis: int) -> Tensor:
        """``[..., R, ...]`` to ``[..., R', ...]``."""
        return self._gather(values, self.regions, axis)

    def _gather(self, values: Tensor, index: np.ndarray, axis: int) -> Tensor:
        return values if self.is_whole else tf.gather(values, index, axis=axis)


def merged_variables(
    parts: Sequence[LeafPart], values: Sequence[Tensor], axis: int
) -> Tensor:
    """``[..., V', ...]`` of each part, all of one batch, to ``[..., V, ...]``."""
    return _merged([part.variables for part in parts], values, axis)


def merged_slots(
    parts: Sequence[LeafPart], values: Sequence[Tensor], axis: int
) -> Tensor:
    """``[..., L', ...]`` of each part to ``[..., L, ...]``."""
    values = _of_equal_batches(values, axis)
    return _merged([part.slots for part in parts], values, axis)


def summed_regions(
    parts: Sequence[LeafPart], values: Sequence[Tensor], axis: int
) -> Tensor:
    """``[..., R', ...]`` of each part to their sums ``[..., R, ...]``."""
    offset, tables = 0, []
    for part in parts:
        place = part.region_place
        tables.append(np.where(place >= 0, place + offset, -1))
        offset += len(part.regions)
    table = np.stack(tables, axis=-1)  # [R, parts], -1: nothing
    # Few regions have variables of all parts: only so many terms are gathered.
    order = np.argsort(table < 0, axis=-1, kind="stable")
    table = np.take_along_axis(table, order, axis=-1)
    table = table[:, : int((table >= 0).sum(-1).max())]
    joined = tf.concat(_of_equal_batches(values, axis), axis=axis)
    if np.any(table < 0):
        zero = tf.zeros_like(tf.gather(joined, [0], axis=axis))
        joined = tf.concat([joined, zero], axis=axis)
        table = np.where(table < 0, offset, table)
    terms = [tf.gather(joined, column, axis=axis) for column in table.T]
    return terms[0] if len(terms) == 1 else tf.add_n(terms)


def _merged(
    indices: Sequence[np.ndarray], values: Sequence[Tensor], axis: int
) -> Tensor:
    """Puts the entries of all parts in their order among all."""
    if len(values) == 1:
        return values[0]
    joined = tf.concat(values, axis=axis)
    order = np.argsort(np.concatenate(indices))
    if np.array_equal(order, np.arange(len(order))):
        return joined
    return tf.gather(joined, order, axis=axis)


def _of_equal_batches(values: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Broadcasts the axes before a negative `axis`, and those after it."""
    values = list(values)
    leads = [value.shape[:axis] for value in values]
    tails = [value.shape[axis:][1:] for value in values]
    same = all(lead.is_fully_defined() and lead == leads[0] for lead in leads)
    # Unknown numbers of examples are those of one and the same evidence.
    if same and all(tail.as_list() == tails[0].as_list() for tail in tails):
        return values
    lead = functools.reduce(
        tf.broadcast_dynamic_shape, [tf.shape(value)[:axis] for value in values]
    )
    tail = functools.reduce(
        tf.broadcast_dynamic_shape, [tf.shape(v)[axis:][1:] for v in values]
    )
    static_lead = functools.reduce(tf.broadcast_static_shape, leads)
    static_tail = functools.reduce(tf.broadcast_static_shape, tails)
    result = []
    for value in values:
        size = value.shape[axis]
        wide = tf.broadcast_to(value, tf.concat([lead, [size], tail], 0))
        static = static_lead.concatenate([size]).concatenate(static_tail)
        result.append(tf.ensure_shape(wide, static))
    return result
