"""The downward pass: which child each selected sum selects, as integers.

From a class at the root to units of leaf regions. Only regions that can be in an
example's induced tree are visited: below a sum over several partitions each example
follows its own, so that the work is that of one tree and not of the whole circuit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
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
from tfp_spn.programs.scan_pass import scan_requests, scan_selection
from tfp_spn.programs.selected import INACTIVE, Selected, merged, over_all_regions
from tfp_spn.programs.steps import Gather, Step
from tfp_spn.programs.tables import Tables

Mode = Literal["sample", "max"]

Choice = Callable[[Selected, int | Tensor], Tensor]
"""Maps what is selected of a step's regions to the selected children, int32 ``[A, M]``;
the other argument is the number of a step in its scan, 0 of others."""


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
    lengths = [step.length for step in program.steps]
    seeds = tf.random.experimental.stateless_split(seed, sum(lengths) + 1)
    *by_step, root_seed = tf.split(seeds, [*lengths, 1])  # equal with and without scans
    chooser = _Chooser(tables, examples, mode, evaluation)
    root = _root(program, chooser, root_seed[0]) if classes is None else classes
    return follow(
        program,
        examples,
        root_region(program, root),
        lambda number: chooser.choice(number, program.steps[number], by_step[number]),
    )


def follow(
    program: FoldedProgram,
    examples: Examples,
    root: Selected,
    choice_of: Callable[[int], Choice],
    note: Callable[[int, Selected, Tensor], None] = lambda *_: None,
) -> Selected:
    """Follows the selected children down to the leaves.

    Args:
        program: The circuit.
        examples: How many examples there are.
        root: The root region of each example and the selected unit of it, by place in
            the root's gather.
        choice_of: Maps the number of a step to how it chooses.
        note: Called with the number of each step, what is selected of its regions, and
            the selected children.
    """
    pending: dict[int, list[Selected]] = defaultdict(list)
    _request(pending, program.root, root)
    for number in reversed(range(len(program.steps))):
        step, choice = program.steps[number], choice_of(number)
        requests = pending.pop(number + 1)
        if step.length > 1:
            selected = over_all_regions(requests, step.num_regions, examples)
            selected, child = scan_selection(step, selected.units, choice)
            gathered = scan_requests(step, selected, child)
        else:
            selected = merged(requests, step.num_regions, examples)
            child = choice(selected, 0)
            gathered = _requests(step, selected, child)
        note(number, selected, child)
        for gather, place in gathered:
            _request(pending, gather, place)
    return merged(pending.pop(0), program.layout.num_regions, examples)


def root_region(program: FoldedProgram, chosen: Tensor) -> Selected:
    """The root region of the chosen class ``[1, M]``, by place in the root's gather."""
    num_units = program.num_classes // len(program.root.index)
    if len(program.root.index) == 1:
        return Selected(np.zeros([1], np.int32), chosen)
    return Selected(chosen // num_units, chosen % num_units)


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

    def choice(self, number: int, step: Step, seeds: Tensor) -> Choice:
        """How a step chooses, given a seed ``[2]`` for each step that it stands for."""
        evaluation, examples = self.evaluation, self.examples
        is_log = evaluation is not None and evaluation.is_log
        tables = self.tables
        weights = tables.log_weights_of(number) if is_log else tables.weights_of(number)
        if weights is None:
            return lambda selected, _: tf.maximum(selected.units, 0)
        if evaluation is None:
            weights = cumulative_weights(weights, axis=-2)
        table = by_output(weights, step)

        def choose(selected: Selected, t: int | Tensor) -> Tensor:
            rows = examples.rows(table, 2, row_of_sum(step, selected))
            if evaluation is None:
                return index_of_quantile(rows, seeds[t], axis=-1)
            rows = tf.linalg.matrix_transpose(rows)
            inputs = examples.evidence(evaluation.inputs[number], selected.regions)
            if is_log:
                return self.choose(rows + inputs, seeds[t])
            cumulative = cumulative_weights(rows * inputs, -2)
            return index_of_quantile(cumulative, seeds[t], -2)

        return choose

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


def row_of_sum(step: Step, selected: Selected) -> Tensor:
    """int32 ``[A, M]``: where the weights of selected sums stand in `by_output`."""
    unit = tf.maximum(selected.units, 0)
    if step.sums is not None and step.sums.shared:
        return unit
    return as_columns(selected.regions) * step.num_outputs + unit


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


def _requests(
    step: Step, selected: Selected, child: Tensor
) -> list[tuple[Gather, Selected]]:
    """Returns what a step selects of its factors, by place in their gathers."""
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
    return [
        (gather, Selected(places, tf.where(is_active, unit, INACTIVE)))
        for gather, unit in zip(step.factors, units, strict=True)
    ]


def _request(
    pending: dict[int, list[Selected]], gather: Gather, selected: Selected
) -> None:
    """Hands the selection of gathered regions to the values they came from."""
    places, units = selected.regions, selected.units
    if isinstance(places, np.ndarray):
        index = gather.index[places]
    else:
        index = tf.gather(gather.index, places)
    if len(gather.sources) == 1 and (gather.index >= 0).all():
        pending[gather.sources[0]].append(Selected(index, units))
        return
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
