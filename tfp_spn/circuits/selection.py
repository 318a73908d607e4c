"""The downward pass: which child each selected sum selects, as integers.

From a class at the root to one component per variable. A selection is ``[R, M]``: the
unit of each region that example ``m`` selects, or `INACTIVE` where the region is not in
the example's induced tree. ``M = P * N`` counts examples of all parameter batches, the
batch the slower index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.evaluation import Evaluation
from tfp_spn.circuits.examples import Examples
from tfp_spn.circuits.program import MARGINALIZED, Gather, Program, Step, Tables
from tfp_spn.ops.choice import best_index, sample_index
from tfp_spn.ops.log_space import safe_log
from tfp_spn.ops.products import kronecker_digits

INACTIVE = -1

Mode = Literal["sample", "max"]


def select_components(
    program: Program,
    tables: Tables,
    examples: Examples,
    seed: Tensor,
    mode: Mode,
    evaluation: Evaluation | None = None,
) -> Tensor:
    """One leaf component per variable and example.

    Args:
        program: The circuit.
        tables: Its parameters.
        examples: How many examples are drawn.
        seed: int32 ``[2]``.
        mode: ``"sample"`` draws children by their posterior probability, ``"max"``
            takes the best.
        evaluation: Values of the upward pass whose posterior is followed; `None`
            follows the prior.

    Returns:
        int32 ``[V, M]``: ``slot * num_components + component``.
    """
    seeds = tf.unstack(
        tf.random.experimental.stateless_split(seed, len(program.steps) + 1)
    )
    choose = _chooser(mode)
    pending: dict[int, list[tuple[np.ndarray, Tensor]]] = defaultdict(list)

    root = _select_root(program, tables, examples, choose(seeds[-1]), evaluation)
    _pass_on(pending, program.root, root)
    for number in reversed(range(len(program.steps))):
        step = program.steps[number]
        selected = _resolve(pending.pop(number + 1), step.num_regions)
        log_w = tables.log_weights(number)
        if log_w is None:
            child = tf.maximum(selected, 0)
        else:
            logits = _logits(step, log_w, selected, examples, evaluation, number)
            child = choose(seeds[number])(logits)
        for gather, unit in zip(
            step.factors, _child_units(step, selected, child), strict=True
        ):
            _pass_on(pending, gather, unit)
    leaf = _resolve(pending.pop(0), program.layout.num_regions)
    return _component_of_variable(program, leaf)


def sample_values(
    program: Program,
    tables: Tables,
    examples: Examples,
    component: Tensor,
    seed: Tensor,
) -> Tensor:
    """Draws ``[V, M, D]`` from the selected components."""
    rows = {
        name: _component_rows(program, table, examples, component)
        for name, table in program.leaf.component_tables(tables.leaf).items()
    }
    return program.leaf.sample_component(rows, seed)


def mode_values(
    program: Program, tables: Tables, examples: Examples, component: Tensor
) -> Tensor:
    """Modes ``[V, M, D]`` of the selected components."""
    modes = program.leaf.component_mode(tables.leaf)[..., tf.newaxis]
    return _component_rows(program, modes, examples, component)[..., 0]


def _component_rows(
    program: Program, table: Tensor, examples: Examples, component: Tensor
) -> Tensor:
    """Rows ``[V, M, D, T]`` of a component table ``[..., L, K, D, T]``."""
    num_rows = program.layout.num_slots * program.leaf.num_components
    batch = tf.shape(table)[:-4]
    tail = table.shape[-2:].as_list()
    flat = tf.reshape(table, tf.concat([batch, [num_rows, *tail]], 0))
    flat = tf.ensure_shape(flat, [None] * (table.shape.rank - 4) + [num_rows, *tail])
    return examples.rows(flat, 3, component)


def _chooser(mode: Mode) -> Callable[[Tensor], Callable[[Tensor], Tensor]]:
    if mode == "max":
        return lambda _: best_index
    return lambda seed: lambda logits: sample_index(logits, seed)


def _select_root(
    program: Program,
    tables: Tables,
    examples: Examples,
    choose: Callable[[Tensor], Tensor],
    evaluation: Evaluation | None,
) -> Tensor:
    """Selection of the root regions, ``[num_roots, M]``."""
    num_regions = len(program.root.index)
    num_units = program.num_classes // num_regions
    if program.num_classes == 1 or tables.log_prior is None:
        return tf.zeros([1, examples.total], tf.int32)
    if evaluation is None:
        logits = tables.log_prior[..., tf.newaxis, :, tf.newaxis]
        ones = tf.ones([examples.count], logits.dtype)
        logits = examples.flatten(logits + 0 * ones)
    else:
        logits = examples.flatten(evaluation.relative[..., tf.newaxis, :, :])
    chosen = choose(logits)  # [1, M]
    region = tf.range(num_regions)[:, tf.newaxis]
    return tf.where(chosen // num_units == region, chosen % num_units, INACTIVE)


def _logits(
    step: Step,
    log_w: Tensor,
    selected: Tensor,
    examples: Examples,
    evaluation: Evaluation | None,
    number: int,
) -> Tensor:
    """``[R, M, I]``: log-probabilities of the children of the selected sums."""
    rank, num_rows = log_w.shape.rank, log_w.shape[-3]
    by_output = tf.transpose(log_w, [*range(rank - 2), rank - 1, rank - 2])
    num_outputs = step.num_outputs
    flat = tf.reshape(
        by_output,
        tf.concat(
            [
                tf.shape(log_w)[: rank - 3],
                [num_rows * num_outputs, step.num_inputs],
            ],
            0,
        ),
    )
    flat = tf.ensure_shape(flat, [None] * (rank - 2) + [step.num_inputs])
    index = tf.maximum(selected, 0)
    if num_rows > 1:  # else all regions share their weights
        index += tf.range(num_rows)[:, tf.newaxis] * num_outputs
    logits = examples.rows(flat, 2, index)
    if evaluation is None:
        return logits
    inputs = examples.flatten(evaluation.inputs[number])
    return logits + (inputs if evaluation.is_log else safe_log(inputs))


def _child_units(step: Step, selected: Tensor, child: Tensor) -> list[Tensor]:
    """Per factor, the selection ``[R * H, M]`` of its regions."""
    partition, unit = child // step.num_products, child % step.num_products
    if step.factor_units is not None:
        units = [tf.gather(chosen, unit) for chosen in step.factor_units]
    elif step.product == "kronecker":
        units = kronecker_digits(unit, step.widths)
    else:
        units = [unit] * len(step.widths)
    active = selected >= 0
    results = []
    for unit in units:
        if step.num_partitions == 1:
            results.append(tf.where(active, unit, INACTIVE))
            continue
        own = tf.range(step.num_partitions)[:, tf.newaxis] == partition[:, tf.newaxis]
        chosen = tf.where(
            own & active[:, tf.newaxis], unit[:, tf.newaxis], INACTIVE
        )  # [R, H, M]
        shape = [step.num_regions * step.num_partitions, tf.shape(child)[-1]]
        results.append(tf.reshape(chosen, shape))
    return results


def _pass_on(
    pending: dict[int, list[tuple[np.ndarray, Tensor]]], gather: Gather, unit: Tensor
) -> None:
    """Hands the selection of gathered regions to the values they came from."""
    for source, size, offset in zip(
        gather.sources, gather.sizes, gather.offsets, strict=True
    ):
        place = gather.index - offset
        own = np.flatnonzero(
            (place >= 0) & (place < size) & (gather.index != MARGINALIZED)
        )
        if len(own) == 0:
            continue
        part = unit if len(own) == len(gather.index) else tf.gather(unit, own)
        pending[source].append((place[own], part))


def _resolve(requests: list[tuple[np.ndarray, Tensor]], num_regions: int) -> Tensor:
    """Merges what all parents selected: at most one of them is active."""
    if len(requests) == 1 and np.array_equal(requests[0][0], np.arange(num_regions)):
        return requests[0][1]
    places = np.concatenate([place for place, _ in requests])
    units = tf.concat([unit for _, unit in requests], axis=0)
    if np.array_equal(places, np.arange(num_regions)):
        return units
    merged = tf.math.unsorted_segment_max(units, places, num_regions)
    return tf.maximum(merged, INACTIVE)


def _component_of_variable(program: Program, leaf: Tensor) -> Tensor:
    """``[R, M]`` units of leaf regions to ``[V, M]`` flat component indices."""
    layout, num_units = program.layout, program.leaf.num_components
    unit = tf.gather(leaf, layout.slot_region)  # [L, M]
    slot = tf.range(layout.num_slots)[:, tf.newaxis]
    component = tf.where(unit >= 0, slot * num_units + unit, INACTIVE)
    if layout.is_identity:
        return component
    component = tf.math.unsorted_segment_max(
        component, layout.slot_variable, layout.num_variables
    )
    return tf.maximum(component, 0)
