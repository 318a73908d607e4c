"""Samples and most probable completions: a pass upward, then one downward."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_spn._typing import Seed, Tensor
from tfp_spn.circuits.blocks import in_blocks
from tfp_spn.circuits.evaluation import (
    Evaluation,
    evaluate_max,
    leaf_values,
    mode_leaf_values,
    with_inputs,
)
from tfp_spn.circuits.examples import Evidence, Examples
from tfp_spn.circuits.leaf_draws import mode_values, sample_values
from tfp_spn.circuits.selection import select_leaves
from tfp_spn.circuits.tables import Tables
from tfp_spn.distributions._evidence import batch_shape_of
from tfp_spn.distributions._parameters import batch_rank


def sample(
    distribution: Any, n: Tensor, seed: Seed, evidence: Evidence | None = None
) -> Tensor:
    """``n`` draws: ``[n] + P + [V, D]``, ``[n] + S + P + [V, D]`` under evidence."""
    program, tables = distribution.program, distribution.tables()
    select_seed, value_seed = tfp.random.split_seed(seed, salt="SumProductNetwork")
    n = tf.convert_to_tensor(n, tf.int32)
    if evidence is None:
        examples = _examples(distribution, n, evidence)
        leaves = select_leaves(program, tables, examples, select_seed, "sample")
        values = sample_values(program, tables, examples, leaves, value_seed)
        return examples.unflatten(values)

    def of_block(tables: Tables, block: Evidence, number: Tensor) -> Tensor:
        seeds = tfp.random.split_seed(
            tf.bitwise.bitwise_xor(select_seed, number), n=2, salt="block"
        )
        num_evidence = tf.shape(block.x)[-1]
        examples = _examples(distribution, n * num_evidence, evidence, num_evidence)

        def draw(evaluation: Evaluation) -> Tensor:
            leaves = select_leaves(
                program, tables, examples, seeds[0], "sample", evaluation
            )
            return sample_values(program, tables, examples, leaves, seeds[1])

        leaves = leaf_values(program, tables, block.x, block.observed)
        drawn = with_inputs(program, tables, leaves, draw)
        return _unmerge(examples.unflatten(drawn), n, num_evidence)

    copies = int(tf.get_static_value(n) or 1)
    values = in_blocks(
        of_block, program, tables, evidence, program.dtype, axis=1, copies=copies
    )
    return _restore_examples(values, evidence)


def mode(distribution: Any, evidence: Evidence | None = None) -> Tensor:
    """Max-product completion: ``P + [V, D]``, or ``S + P + [V, D]``."""
    program, tables = distribution.program, distribution.tables()
    given = _nothing_observed(distribution) if evidence is None else evidence

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        leaves = mode_leaf_values(program, tables, block.x, block.observed)
        evaluation = evaluate_max(program, tables, leaves)
        examples = _examples(distribution, tf.shape(block.x)[-1], evidence)
        unused = tf.zeros([2], tf.int32)
        selected = select_leaves(program, tables, examples, unused, "max", evaluation)
        return examples.unflatten(mode_values(program, tables, examples, selected))

    values = in_blocks(of_block, program, tables, given, program.dtype, axis=0)
    if evidence is None:
        return values[0]
    return _restore_examples(values[tf.newaxis], evidence)[0]


def _nothing_observed(distribution: Any) -> Evidence:
    """Evidence of one example of which nothing is known."""
    program, layout = distribution.program, distribution.program.layout
    batch = [1] * batch_rank(distribution.params, program)
    x = tf.zeros([*batch, layout.num_variables, layout.num_dims, 1], program.dtype)
    observed = tf.zeros([*batch, layout.num_variables, 1], tf.bool)
    return Evidence(x, observed, tf.zeros([0], tf.int32), tf.TensorShape([]))


def _examples(
    distribution: Any,
    count: Tensor,
    evidence: Evidence | None,
    num_evidence: Tensor | None = None,
) -> Examples:
    rank = batch_rank(distribution.params, distribution.program)
    shape = batch_shape_of(distribution, evidence) if rank else tf.zeros([0], tf.int32)
    return Examples(shape, rank, count, num_evidence)


def _unmerge(values: Tensor, n: Tensor, num_evidence: Tensor) -> Tensor:
    """``[n * N] + ...`` to ``[n, N] + ...``."""
    shape = tf.concat([[n, num_evidence], tf.shape(values)[1:]], 0)
    static = tf.TensorShape([tf.get_static_value(n), None])
    return tf.ensure_shape(
        tf.reshape(values, shape), static.concatenate(values.shape[1:])
    )


def _restore_examples(values: Tensor, evidence: Evidence) -> Tensor:
    """``[n, N] + ...`` to ``[n] + S + ...``."""
    tail = values.shape[2:]
    shape = tf.shape(values)
    shape = tf.concat([shape[:1], evidence.sample_shape, shape[2:]], 0)
    static = values.shape[:1].concatenate(evidence.static_sample_shape)
    return tf.ensure_shape(tf.reshape(values, shape), static.concatenate(tail))
