"""Samples and most probable completions: a pass upward, then one downward."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import random as tfp_random

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence, nothing_known
from tfp_spn.programs.blocks import in_blocks
from tfp_spn.programs.evaluation import (
    Evaluation,
    evaluate_max,
    with_inputs,
)
from tfp_spn.programs.examples import Examples
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.leaf_draws import mode_values, sample_values
from tfp_spn.programs.selection import select_leaves
from tfp_spn.programs.tables import Tables


def sample(
    program: FoldedProgram,
    tables: Tables,
    n: Tensor,
    seed: Tensor,
    evidence: Evidence | None = None,
) -> Tensor:
    """``n`` draws: ``[n] + P + [V, D]``, ``[n] + S + P + [V, D]`` under evidence.

    `seed` is int32 ``[2]``.
    """
    select_seed, value_seed = tfp_random.split_seed(seed, 2, "SumProductNetwork")
    n = tf.convert_to_tensor(n, tf.int32)
    if evidence is None:
        examples = Examples(tables.batch_shape(), tables.batch_rank, n)
        loops = program.in_scans(tables)
        leaves = select_leaves(*loops, examples, select_seed, "sample")
        values = sample_values(program, tables, examples, leaves, value_seed)
        return examples.unflatten(values)

    def of_block(tables: Tables, block: Evidence, number: Tensor) -> Tensor:
        own_seed = tf.bitwise.bitwise_xor(select_seed, number)
        seeds = tfp_random.split_seed(own_seed, 2, "block")
        count = tf.shape(block.x)[-1]
        batch = tables.batch_shape(block.x)
        examples = Examples(batch, tables.batch_rank, n * count, count)

        leaves = program.leaf_values(tables, block)
        loops = program.in_scans(tables, leaves)

        def draw(evaluation: Evaluation) -> Tensor:
            leaves = select_leaves(*loops, examples, seeds[0], "sample", evaluation)
            return sample_values(program, tables, examples, leaves, seeds[1])

        drawn = examples.unflatten(with_inputs(*loops, leaves, draw))
        return _split_draws(drawn, n, count)

    copies = int(tf.get_static_value(n) or 1)
    values = in_blocks(
        of_block, program, tables, evidence, program.dtype, axis=1, copies=copies
    )
    return evidence.restore_draws(values, tf.get_static_value(n))


def mode(
    program: FoldedProgram, tables: Tables, evidence: Evidence | None = None
) -> Tensor:
    """Max-product completion: ``P + [V, D]``, or ``S + P + [V, D]``."""
    nothing = nothing_known(program.layout, tables.batch_rank, program.dtype)
    given = nothing if evidence is None else evidence

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        modal = block.with_hidden_at_modes()
        leaves = program.leaf_values(tables, modal)
        loops = program.in_scans(tables, leaves)
        evaluation = evaluate_max(*loops, leaves)
        batch, count = tables.batch_shape(block.x), tf.shape(block.x)[-1]
        examples = Examples(batch, tables.batch_rank, count)
        unused = tf.zeros([2], tf.int32)
        selected = select_leaves(*loops, examples, unused, "max", evaluation)
        return examples.unflatten(mode_values(program, tables, examples, selected))

    values = in_blocks(of_block, program, tables, given, program.dtype, axis=0)
    if evidence is None:
        return values[0]
    return evidence.restore_draws(values[tf.newaxis], 1)[0]


def _split_draws(values: Tensor, n: Tensor, count: Tensor) -> Tensor:
    """``[n * N] + ...`` to ``[n, N] + ...``."""
    shape = tf.concat([[n, count], tf.shape(values)[1:]], 0)
    static = tf.TensorShape([tf.get_static_value(n), None])
    return tf.ensure_shape(
        tf.reshape(values, shape), static.concatenate(values.shape[1:])
    )
