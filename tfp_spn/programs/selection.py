"""The downward pass: which child each selected sum selects, as integers.

From a class at the root to units of leaf regions. Only regions that can be in an
example's induced tree are visited: below a sum over several partitions each example
follows its own, so that the work is that of one tree and not of the whole circuit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.ops.choice import best_index, cumulative_weights, index_of_quantile
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.products import kronecker_digits
from tfp_spn.programs.evaluation import Evaluation
from tfp_spn.programs.examples import Examples, as_columns
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.steps import Gather, Step
from tfp_spn.programs.tables import Tables

INACTIVE = -1

Mode = Literal["sample", "max"]


@dataclass(frozen=True, eq=False)
class Selected:
    """Units of some regions of one value, for each example.

    Attributes:
        regions: int ``[A]``, or ``[A, M]`` where examples differ.
        units: int32 ``[A, M]``, or `INACTIVE` where the region is not in the example's
            induced tree. No two active entries of an example have equal regions.
    """

    regions: np.ndarray | Tensor
    units: Tensor

    @property
    def is_static(self) -> bool:
        """Whether all examples have equal regions."""
        return isinstance(self.regions, np.ndarray)


def select_leaves(
    program: FoldedProgram,
    tables: Tables,
    examples: Examples,
    seed: Tensor,
    mode: Mode,
    evaluation: Evaluation | None = None,
    classes: Tensor | None = None,
) -> Selected:
    """Units of leaf regions, one region for each variable and example.

    Args:
        program: The circuit.
        tables: Its parameters.
        examples: How many examples are drawn.
        seed: int32 ``[2]``.
        mode: ``"sample"`` draws children by their posterior probability, ``"max"``
            takes the best.
        evaluation: Values of the upward pass whose posterior is followed; `None`
            follows the prior.
        classes: int32 ``[1, M]``: where to begin, if that is not to be selected.
    """
    seeds = tf.unstack(
        tf.random.experimental.stateless_split(seed, len(program.steps) + 1)
    )
    chooser = _Chooser(tables, examples, mode, evaluation)
    root = _root(program, chooser, seeds[-1]) if classes is None else classes
    return follow(
        program,
        examples,
        *root_region(program, root),
        lambda number, selected: chooser.children(
            number, program.steps[number], selected, seeds[number]
        ),
    )


def follow(
    program: FoldedProgram,
    examples: Examples,
    places: np.ndarray | Tensor,
    units: Tensor,
    children: Callable[[int, Selected], Tensor],
) -> Selected:
    """Follows the selected children down to the leaves.

    Args:
        program: The circuit.
        examples: How many examples there are.
        places: Place of each example's root region in the root's gather, as `Selected`.
        units: The selected units of it, ``[A, M]``.
        children: Maps the number of a step and what is selected of its regions to the
            selected children, int32 ``[A, M]``.
    """
    pending: dict[int, list[Selected]] = defaultdict(list)
    _request(pending, program.root, places, units)
    for number in reversed(range(len(program.steps))):
        step = program.steps[number]
        selected = merged(pending.pop(number + 1), step.num_regions, examples)
        child = children(number, selected)
        for gather, (place, unit) in zip(
            step.factors, _factor_units(step, selected, child), strict=True
        ):
            _request(pending, gather, place, unit)
    return merged(pending.pop(0), program.layout.num_regions, examples)


def root_region(
    program: FoldedProgram, chosen: Tensor
) -> tuple[np.ndarray | Tensor, Tensor]:
    """Place in the root's gather and unit of the chosen class, ``[1, M]``."""
    num_units = program.num_classes // len(program.root.index)
    if len(program.root.index) == 1:
        return np.zeros([1], np.int32), chosen
    return chosen // num_units, chosen % num_units


class _Chooser:
    """Chooses among the children of selected sums."""

    def __init__(
        self,
        tables: Tables,
        examples: Examples,
        mode: Mode,
        evaluation: Evaluation | None,
    ) -> None:
        self.tables = tables
        self.examples = examples
        self.is_max = mode == "max"
        self.evaluation = evaluation

    def children(
        self, number: int, step: Step, selected: Selected, seed: Tensor
    ) -> Tensor:
        """int32 ``[A, M]``: the child that each selected sum selects."""
        unit = tf.maximum(selected.units, 0)
        if step.sums is None:
            return unit
        row = unit  # of all regions, if they share their weights
        if not step.sums.shared:
            row = as_columns(selected.regions) * step.num_outputs + unit
        if self.evaluation is None:
            cumulative = cumulative_weights(self.tables.weights_of(number), axis=-2)
            rows = self.examples.rows(by_output(cumulative, step), 2, row)
            return index_of_quantile(rows, seed, axis=-1)
        evaluation = self.evaluation
        inputs = self.examples.evidence(evaluation.inputs[number], selected.regions)
        if evaluation.is_log:
            table = by_output(self.tables.log_weights_of(number), step)
        else:
            table = by_output(self.tables.weights_of(number), step)
        rows = tf.linalg.matrix_transpose(self.examples.rows(table, 2, row))
        if not evaluation.is_log:
            return index_of_quantile(cumulative_weights(rows * inputs, -2), seed, -2)
        return self.choose(rows + inputs, seed)

    def choose(self, log_weighted: Tensor, seed: Tensor) -> Tensor:
        """Indices ``[A, M]`` among log-weights ``[A, I, M]``."""
        if self.is_max:
            return best_index(log_weighted, axis=-2)
        weighted = tf.exp(log_weighted - finite_max(log_weighted, -2))
        return index_of_quantile(cumulative_weights(weighted, -2), seed, -2)


def by_output(table: Tensor, step: Step) -> Tensor:
    """``[..., R, I, O]`` to ``[..., R * O, I]``."""
    table = tf.linalg.matrix_transpose(table)
    rows = [table.shape[-3] * step.num_outputs, step.num_inputs]
    return reshape_axes(table, -3, 0, rows)


def _root(program: FoldedProgram, chooser: _Chooser, seed: Tensor) -> Tensor:
    """The selected class, int32 ``[1, M]``."""
    examples, log_prior = chooser.examples, chooser.tables.log_prior
    if program.num_classes == 1 or log_prior is None:
        return tf.zeros([1, examples.total], tf.int32)
    if chooser.evaluation is None:
        cumulative = cumulative_weights(tf.exp(log_prior), axis=-1)
        nothing = tf.zeros([1, examples.total], tf.int32)
        rows = examples.rows(cumulative[..., tf.newaxis, :], 2, nothing)
        return index_of_quantile(rows, seed, axis=-1)
    log_joint = chooser.evaluation.relative[..., tf.newaxis, :, :]
    log_joint = examples.evidence(log_joint, np.zeros([1], np.int32))
    return chooser.choose(log_joint, seed)


def _factor_units(
    step: Step, selected: Selected, child: Tensor
) -> list[tuple[np.ndarray | Tensor, Tensor]]:
    """Per factor, places in its gather and the units selected there."""
    partition, unit = child // step.num_products, child % step.num_products
    if step.factor_units is not None:
        units = [tf.gather(chosen, unit) for chosen in step.factor_units]
    elif step.product == "kronecker":
        units = kronecker_digits(unit, step.widths)
    else:
        units = [unit] * len(step.widths)
    places = selected.regions
    if step.num_partitions > 1:
        places = as_columns(places) * step.num_partitions + partition
    is_active = selected.units >= 0
    return [(places, tf.where(is_active, unit, INACTIVE)) for unit in units]


def _request(
    pending: dict[int, list[Selected]],
    gather: Gather,
    places: np.ndarray | Tensor,
    units: Tensor,
) -> None:
    """Hands the selection of gathered regions to the values they came from."""
    if isinstance(places, np.ndarray):
        index = gather.index[places]
    else:
        index = tf.gather(gather.index, places)
    for source, size, offset in zip(
        gather.sources, gather.sizes, gather.offsets, strict=True
    ):
        place = index - offset
        is_own = (index >= 0) & (place >= 0) & (place < size)
        if isinstance(is_own, np.ndarray):
            own = np.flatnonzero(is_own)
            if len(own):
                part = units if len(own) == len(index) else tf.gather(units, own)
                pending[source].append(Selected(place[own], part))
        else:
            part = tf.where(is_own, units, INACTIVE)
            region = tf.clip_by_value(place, 0, size - 1)
            pending[source].append(Selected(region, part))


def merged(requests: list[Selected], num_regions: int, examples: Examples) -> Selected:
    """What all parents selected: at most one of them is active for each region."""
    if len(requests) == 1 and not requests[0].is_static:
        if requests[0].units.shape[0] <= num_regions:
            return requests[0]
    elif all(request.is_static for request in requests):
        regions = np.concatenate([request.regions for request in requests])
        units = [request.units for request in requests]
        if len(np.unique(regions)) == len(regions):
            return Selected(
                regions, units[0] if len(units) == 1 else tf.concat(units, 0)
            )
    elif sum(request.units.shape[0] for request in requests) <= num_regions:
        units = tf.concat([request.units for request in requests], 0)
        regions = [
            tf.broadcast_to(as_columns(request.regions), tf.shape(request.units))
            for request in requests
        ]
        return Selected(tf.concat(regions, 0), units)
    return _over_all_regions(requests, num_regions, examples)


def _over_all_regions(
    requests: list[Selected], num_regions: int, examples: Examples
) -> Selected:
    """Merges selections into one that lists all regions of the value."""
    total = examples.total
    if all(request.is_static for request in requests):
        regions = np.concatenate([request.regions for request in requests])
        units = tf.concat([request.units for request in requests], 0)
        units = tf.math.unsorted_segment_max(units, regions, num_regions)
    else:
        units = tf.concat([tf.reshape(r.units, [-1]) for r in requests], 0)
        example = tf.range(total, dtype=tf.int32)
        cells = [
            tf.reshape(as_columns(r.regions) * total + example, [-1]) for r in requests
        ]
        units = tf.math.unsorted_segment_max(
            units, tf.concat(cells, 0), num_regions * total
        )
        units = tf.reshape(units, [num_regions, total])
    return Selected(np.arange(num_regions), tf.maximum(units, INACTIVE))
