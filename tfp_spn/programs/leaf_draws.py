"""From selected units of leaf regions to values of the variables."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.parts import LeafPart, merged_variables
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.programs.examples import Examples
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.selected import Selected
from tfp_spn.programs.tables import Tables


def sample_values(
    program: FoldedProgram,
    tables: Tables,
    examples: Examples,
    selected: Selected,
    seed: Tensor,
) -> Tensor:
    """Draws ``[M, V, D]`` from the selected components."""
    parts = program.leaf.parts(program.layout)
    drawn = []
    for number, part in enumerate(parts):
        if number:  # else equal seeds for all parts
            seed = tf.random.experimental.stateless_fold_in(seed, number)
        components = _components(program, part, selected)
        params = part.params(tables.leaf)
        rows = {
            name: components.rows(table, examples)
            for name, table in part.leaf.component_tables(params).items()
        }
        drawn.append(components.by_variable(part.leaf.sample_component(rows, seed)))
    return merged_variables(parts, drawn, -2)


def mode_values(
    program: FoldedProgram, tables: Tables, examples: Examples, selected: Selected
) -> Tensor:
    """Modes ``[M, V, D]`` of the selected components."""
    whole = LeafPart.whole(program.leaf, program.layout)
    components = _components(program, whole, selected)
    modes = program.leaf.component_mode(tables.leaf)[..., tf.newaxis]
    return components.by_variable(components.rows(modes, examples)[..., 0])


def _components(
    program: FoldedProgram, part: LeafPart, selected: Selected
) -> _PerVariable | _PerRegion:
    """Returns the distributions of the selected components."""
    if selected.is_static:
        return _PerVariable(program, part, selected)
    return _PerRegion(part, selected)


class _PerVariable:
    """One component for each variable and example: all examples have equal regions."""

    def __init__(
        self, program: FoldedProgram, part: LeafPart, selected: Selected
    ) -> None:
        self.part = part
        layout, num_units = program.layout, program.leaf.num_components
        place = np.full([layout.num_regions], -1)
        place[selected.regions] = np.arange(len(selected.regions))
        place = place[layout.slot_region]
        slots = np.flatnonzero(place >= 0)
        unit = tf.gather(selected.units, place[slots])
        component = tf.where(unit >= 0, slots[:, np.newaxis] * num_units + unit, -1)
        variables = layout.slot_variable[slots]
        if len(np.unique(variables)) == len(variables):
            self.component = tf.gather(component, np.argsort(variables))
        else:
            self.component = tf.math.unsorted_segment_max(
                component, variables, layout.num_variables
            )
        self.component = tf.maximum(self.component, 0)  # [V, M]
        if not part.is_whole:
            own = part.of_variable(self.component, 0)
            slot = tf.gather(part.slot_place, own // num_units)
            self.component = slot * num_units + own % num_units

    def rows(self, table: Tensor, examples: Examples) -> Tensor:
        """Rows ``[V, M, D, G]`` of a component table ``[..., L, K, D, G]``."""
        num_rows = self.part.layout.num_slots * self.part.leaf.num_components
        flat = reshape_axes(table, -4, -2, [num_rows])
        return examples.rows(flat, 3, self.component)

    def by_variable(self, values: Tensor) -> Tensor:
        """``[V, M, D]`` to ``[M, V, D]``."""
        return tf.transpose(values, [1, 0, 2])


class _PerRegion:
    """One component for each leaf region that an example selected."""

    def __init__(self, part: LeafPart, selected: Selected) -> None:
        self.part = part
        self.units = selected.units
        self.regions = selected.regions
        if not part.is_whole:
            place = tf.gather(part.region_place, selected.regions)
            self.units = tf.where(place >= 0, self.units, -1)
            self.regions = tf.maximum(place, 0)

    def rows(self, table: Tensor, examples: Examples) -> Tensor:
        """Rows ``[A, M, W, D, G]`` of a component table ``[..., L, K, D, G]``."""
        layout, leaf = self.part.layout, self.part.leaf
        tail = table.shape[-2:]
        num_values = tail[0] * tail[1]
        table = reshape_axes(table, -2, 0, [num_values])
        rank = table.shape.rank
        table = tf.transpose(table, [*range(rank - 2), rank - 1, rank - 2])
        table = layout.group_by_region(table)  # [..., R, W * D * G, K]
        table = tf.linalg.matrix_transpose(table)
        num_rows = layout.num_regions * leaf.num_components
        table = reshape_axes(table, -3, 0, [num_rows, layout.width * num_values])
        row = self.regions * leaf.num_components
        rows = examples.rows(table, 2, row + tf.maximum(self.units, 0))
        return reshape_axes(rows, -1, 0, [layout.width, *tail])

    def by_variable(self, values: Tensor) -> Tensor:
        """``[A, M, W, D]`` to ``[M, V, D]``."""
        layout, regions = self.part.layout, self.regions
        num_variables, num_dims = layout.num_variables, values.shape[-1]
        padded = np.append(layout.slot_variable, -1)
        variable_of = padded[layout.slots_of_region].astype(np.int32)  # [R, W]
        variable = tf.gather(variable_of, regions)  # [A, M, W]
        num_examples = tf.shape(regions)[1]
        example = tf.range(num_examples, dtype=tf.int32)[:, tf.newaxis]
        is_real = (variable >= 0) & (self.units >= 0)[..., tf.newaxis]
        cell = tf.where(is_real, example * num_variables + variable, -1)
        # Each cell is filled once: the sum is an assignment.
        flat = tf.math.unsorted_segment_sum(
            tf.reshape(values, [-1, num_dims]),
            tf.reshape(cell, [-1]),
            num_examples * num_variables,
        )
        return tf.reshape(flat, [-1, num_variables, num_dims])
