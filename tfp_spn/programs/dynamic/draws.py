"""Samples and most probable completions of sequences."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import random as tfp_random

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.chain import Chain
from tfp_spn.ops.choice import sample_index
from tfp_spn.ops.log_chain import backward_messages, best_path, log_matmul
from tfp_spn.programs.dynamic.evaluation import chain_of, emissions, step_evidence
from tfp_spn.programs.dynamic.structure import DynamicStructure, DynamicTables
from tfp_spn.programs.evaluation import Evaluation, evaluate_max, with_inputs
from tfp_spn.programs.examples import Examples
from tfp_spn.programs.leaf_draws import mode_values, sample_values
from tfp_spn.programs.selection import select_leaves
from tfp_spn.programs.tables import Tables


def sample(
    program: DynamicStructure,
    tables: DynamicTables,
    n: Tensor,
    seed: Tensor,
    evidence: Evidence,
    has_evidence: bool,
) -> Tensor:
    """``n`` draws: ``[n] + S + P + [T, V, D]``."""
    salt = "DynamicSumProductNetwork"
    path_seed, select_seed, value_seed = tfp_random.split_seed(seed, 3, salt)
    n = tf.convert_to_tensor(n, tf.int32)
    if has_evidence:
        chain = chain_of(program, tables, evidence, to_end=True)
    else:
        batch = [1] * tables.batch_rank
        blank = tf.zeros([program.num_steps, *batch, program.num_roots, 1])
        chain = program.chain(tables, tf.cast(blank, program.dtype))
    path = _draw_path(chain, n, path_seed, has_evidence)  # [T, ..., n N]
    count = tf.shape(evidence.x)[-1]
    batch_shape = tf.shape(chain.emission)[1:-2]
    roots = program.root_of_state(path)
    examples, classes = _step_examples(program, batch_shape, roots, n, count)

    def draw(evaluation: Evaluation | None) -> Tensor:
        leaves = select_leaves(
            program.step,
            tables.step,
            examples,
            select_seed,
            "sample",
            evaluation,
            classes,
        )
        return sample_values(program.step, tables.step, examples, leaves, value_seed)

    if has_evidence:
        steps = step_evidence(program, evidence)
        leaves = program.step.leaf_values(tables.step, steps)
        values = with_inputs(program.step, tables.step, leaves, draw)
    else:
        values = draw(None)
    drawn = _sequences(program, examples, values, n, count)
    return evidence.restore_draws(drawn, tf.get_static_value(n))


def mode(
    program: DynamicStructure, tables: DynamicTables, evidence: Evidence
) -> Tensor:
    """Max-product completion: ``S + P + [T, V, D]``."""
    template = program.step

    def best(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        modal = block.with_hidden_at_modes()
        leaves = template.leaf_values(tables, modal)
        evaluation = evaluate_max(template, tables, leaves)
        return evaluation.with_base(template.leaf.log_base_of(block))

    chain = program.chain(tables, emissions(program, tables, evidence, best))
    path = best_path(*chain[:4])
    one, count = tf.constant(1), tf.shape(evidence.x)[-1]
    batch_shape = tf.shape(chain.emission)[1:-2]
    roots = program.root_of_state(path)
    examples, classes = _step_examples(program, batch_shape, roots, one, count)
    steps = step_evidence(program, evidence)
    leaves = template.leaf_values(tables.step, steps.with_hidden_at_modes())
    selected = select_leaves(
        program.step,
        tables.step,
        examples,
        tf.zeros([2], tf.int32),
        "max",
        evaluate_max(program.step, tables.step, leaves),
        classes,
    )
    modes = mode_values(program.step, tables.step, examples, selected)
    drawn = _sequences(program, examples, modes, one, count)
    return evidence.restore_draws(drawn, 1)[0]


def _draw_path(chain: Chain, n: Tensor, seed: Tensor, has_evidence: bool) -> Tensor:
    """States of `n` draws per example, int32 ``[T, ..., n N]``, examples faster."""
    num_steps, num_states = chain.emission.shape[0], chain.emission.shape[-2]
    seeds = tf.random.experimental.stateless_split(seed, num_steps)
    transition = chain.transition
    if chain.interface is not None:
        transition = log_matmul(transition, chain.interface)
    batch = tf.shape(chain.emission)[1:-2]
    rank = chain.emission.shape.rank - 3

    def by_state(values: Tensor) -> Tensor:  # [..., Q, N] to [..., n N, Q]
        values = tf.linalg.matrix_transpose(values)
        return tf.tile(values, tf.concat([tf.ones_like(batch), [n, 1]], 0))

    if has_evidence:
        later = backward_messages(*chain[:4])[0]
    else:
        later = tf.zeros_like(chain.emission)

    def choose(prior: Tensor, number: Tensor) -> Tensor:
        weights = prior + by_state(later[number])
        possible = tf.reduce_max(weights, -1, keepdims=True) > -float("inf")
        return sample_index(tf.where(possible, weights, prior), seeds[number])

    first = tf.linalg.matrix_transpose(chain.initial[..., tf.newaxis])
    state = choose(first + tf.zeros_like(by_state(later[0])), tf.constant(0))
    shape = tf.TensorShape([*chain.emission.shape[1:-2], None])
    path = tf.TensorArray(tf.int32, num_steps, element_shape=shape).write(0, state)

    def body(number: Tensor, state: Tensor, path: tf.TensorArray) -> tuple:
        own = number - 1 if transition.shape[0] > 1 else 0
        table = tf.linalg.matrix_transpose(transition[own])
        square = tf.concat([batch, [num_states, num_states]], 0)
        table = tf.broadcast_to(table, square)
        rows = tf.gather(table, state, axis=rank, batch_dims=rank)
        state = tf.ensure_shape(choose(rows, number), shape)
        return number + 1, state, path.write(number, state)

    _, _, path = tf.while_loop(
        lambda number, *_: number < num_steps,
        body,
        (tf.constant(1), state, path),
        shape_invariants=(tf.TensorShape([]), shape, tf.TensorShape(None)),
        maximum_iterations=num_steps - 1,
    )
    return path.stack()


def _step_examples(
    program: DynamicStructure, batch: Tensor, roots: Tensor, n: Tensor, count: Tensor
) -> tuple[Examples, Tensor]:
    """The template's examples, and their roots ``[1, M]``.

    Args:
        program: The dynamic circuit.
        batch: ``P``.
        roots: ``[T, ..., n N]``.
        n: Draws of each example.
        count: Examples ``N`` of the evidence.
    """
    rank, num_steps = roots.shape.rank - 2, program.num_steps
    if program.parameters_in_time:
        order = [*range(1, rank + 1), 0, rank + 1]
        classes = tf.transpose(roots, order)
        shape = tf.concat([batch, [num_steps]], 0)
        examples = Examples(shape, rank + 1, n * count, count)
        return examples, tf.reshape(classes, [1, -1])
    shape = tf.concat([[num_steps], batch, [n, count]], 0)
    by_draw = tf.reshape(roots, shape)  # [T, ..., n, N]
    order = [*range(1, rank + 2), 0, rank + 2]
    classes = tf.transpose(by_draw, order)  # [..., n, T, N]
    examples = Examples(batch, rank, n * num_steps * count, num_steps * count)
    return examples, tf.reshape(classes, [1, -1])


def _sequences(
    program: DynamicStructure,
    examples: Examples,
    values: Tensor,
    n: Tensor,
    count: Tensor,
) -> Tensor:
    """``[M, V, D]`` to ``[n, N, ..., T, V, D]``."""
    values = examples.unflatten(values)  # [n T N, ..., V, D] or [n N, ..., T, V, D]
    shape = tf.shape(values)
    num_steps = program.num_steps
    if program.parameters_in_time:
        return tf.reshape(values, tf.concat([[n, count], shape[1:]], 0))
    split = tf.reshape(values, tf.concat([[n, num_steps, count], shape[1:]], 0))
    rank = values.shape.rank + 2
    order = [0, 2, *range(3, rank - 2), 1, rank - 2, rank - 1]
    return tf.transpose(split, order)
