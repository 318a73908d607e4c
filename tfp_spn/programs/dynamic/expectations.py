"""The E-step of dynamic circuits: Baum-Welch, whatever the template is.

The gradient of the chain gives expected counts of its transitions, and how probable
each root of the template is at each step. These are the flows that enter the template,
whose expected counts are again a gradient.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.chain import log_chain
from tfp_spn.programs.blocks import block_size, split_examples
from tfp_spn.programs.by_value import by_value
from tfp_spn.programs.dynamic.evaluation import (
    emissions,
    existing_steps,
    known_steps,
    step_evidence,
    to_steps,
)
from tfp_spn.programs.dynamic.structure import DynamicStructure, DynamicTables
from tfp_spn.programs.expectations import (
    counts_by_gradient,
    roots_of_inputs,
    with_totals,
)
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.parameter_names import INITIAL, INTERFACE, TRANSITION
from tfp_spn.programs.tables import Tables


def of_sequences(
    program: DynamicStructure,
    tables: DynamicTables,
    evidence: Evidence,
    weights: Tensor | None = None,
) -> tuple[Expectations, Tensor]:
    """Expected counts of a batch of sequences, and ``log p(x)``, ``[1, N]``.

    Steps of which nothing is observed count for the transitions between known steps,
    those after the last known one do not count at all.

    Args:
        program: The dynamic circuit. Parameters have no batch dimensions.
        tables: Its parameters.
        evidence: Sequences, ``x [T, V, D, N]``.
        weights: How often each sequence counts, ``[N]``; once by default.

    Returns:
        Expectations as those of `tfp_spn.learning.expected_statistics`.
    """
    if program.parameters_in_time:
        raise ValueError(
            "tfp_spn.learning: EM needs a template whose parameters are shared by all "
            f"steps, received parameters_in_time={sorted(program.parameters_in_time)}. "
            "Maximise log_prob by gradient."
        )
    values = emissions(program, tables, evidence)
    if weights is None:
        weights = tf.ones_like(values[0, 0])
    weights = tf.cast(weights, values.dtype)
    log_prob, counts, flows = _chain_counts(program, tables, evidence, values, weights)
    known = known_steps(evidence)
    if known is not None:
        flows = tf.where(known, flows, tf.zeros_like(flows))
    steps = step_evidence(program, evidence)
    template = _template_counts(
        program.step, tables.step, steps, to_steps(program, flows)
    )
    counts.update(program.step.unpacked(template["sums"]))
    found = with_totals(counts, template["leaf"], log_prob, weights)
    return found, log_prob[tf.newaxis]


def _chain_counts(
    program: DynamicStructure,
    tables: DynamicTables,
    evidence: Evidence,
    values: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Params, Tensor]:
    """``log p(x) [N]``, counts of the interface, and flows ``[T, K, N]``."""
    sources = {
        "emission": values,
        INITIAL: tables.initial,
        TRANSITION: tables.transition,
    }
    if program.sum_product == "cp":
        sources[INTERFACE] = tables.interface

    def objective() -> tuple[Tensor, None]:
        chain = program.chain(tables, values, existing_steps(evidence))
        return log_chain(chain, certainty=tables.step.certainty), None

    log_prob, _, counts = counts_by_gradient(objective, sources, weights)
    flows = counts.pop("emission")
    shaped = {
        name: tf.reshape(value, program.chain_shapes[name])
        for name, value in counts.items()
    }
    return log_prob, shaped, flows


def _template_counts(
    program: FoldedProgram, tables: Tables, evidence: Evidence, flows: Tensor
) -> Expectations:
    """Counts and statistics of the template's sums and leaves, block by block.

    Args:
        program: The template.
        tables: Its parameters.
        evidence: Steps of all sequences, ``x [V, D, N]``.
        flows: What enters the roots, ``[K, N]``.
    """
    size = block_size(program)
    count = evidence.x.shape[-1]
    if count is not None and count <= size:
        return _counts_of_block(program, tables, evidence, flows)
    num_blocks = -(-tf.shape(evidence.x)[-1] // size)
    x = split_examples(evidence.x, num_blocks, size)
    masks = [split_examples(mask, num_blocks, size) for mask in evidence.masks]
    missing = num_blocks * size - tf.shape(flows)[-1]
    padded = tf.pad(flows, [[0, 0], [0, missing]])  # what fills up does not count
    blocks = split_examples(padded, num_blocks, size)

    def of_block(number: Tensor) -> tuple[Expectations, Tensor]:
        certainty = tables.certainty.of_part()
        part = tables.replaced(certainty=certainty)
        block = evidence.with_parts(x[number], [mask[number] for mask in masks])
        counts = _counts_of_block(program, part, block, blocks[number])
        return counts, certainty.is_lossy

    def body(number: Tensor, total: Expectations, is_lossy: Tensor) -> tuple:
        new, is_new_lossy = of_block(number)
        total = tf.nest.map_structure(tf.add, total, new)
        return number + 1, total, is_lossy | is_new_lossy

    _, total, is_lossy = tf.while_loop(
        lambda number, *_: number < num_blocks,
        body,
        (tf.constant(1), *of_block(tf.constant(0))),
        parallel_iterations=1,
    )
    tables.certainty.note(is_lossy)
    return total


def _counts_of_block(
    program: FoldedProgram,
    tables: Tables,
    evidence: Evidence,
    flows: Tensor,
) -> Expectations:
    """Counts and statistics of the template, for steps that fit into one block."""
    inputs = by_value(program, tables, evidence.without_gradient())
    leaves = inputs.log_values(program, tables)
    sources = {
        "leaves": leaves,
        "log_weights": tables.log_weights,
    }
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        roots = roots_of_inputs(program, tables, inputs, leaves)
    reached = tape.gradient(
        roots,
        sources,
        output_gradients=flows,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    leaf = inputs.statistics(program, tables, reached["leaves"])
    return {"sums": dict(reached["log_weights"]), "leaf": leaf}
