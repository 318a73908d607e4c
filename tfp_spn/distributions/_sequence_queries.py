"""Queries of a distribution over sequences, in the kernel's layout and the user's.

Like `tfp_spn.distributions._queries`, whose functions do for sequences what they can.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_spn._typing import Seed, Tensor
from tfp_spn.circuits import posterior
from tfp_spn.circuits.dynamic_evaluation import (
    chain_of,
    emissions,
    nothing_observed,
    step_evidence,
    to_steps,
)
from tfp_spn.circuits.dynamic_program import DynamicProgram, DynamicTables
from tfp_spn.circuits.evaluation import (
    Evaluation,
    evaluate,
    evaluate_max,
    leaf_values,
    mode_leaf_values,
    with_inputs,
)
from tfp_spn.circuits.examples import Evidence, Examples
from tfp_spn.circuits.leaf_draws import mode_values, sample_values
from tfp_spn.circuits.selection import select_leaves
from tfp_spn.distributions._queries import batch_rank, check_moments
from tfp_spn.ops.chain import Chain, log_chain
from tfp_spn.ops.choice import sample_index
from tfp_spn.ops.log_chain import (
    backward_messages,
    best_path,
    forward_messages,
    log_matmul,
)
from tfp_spn.ops.log_space import logsumexp, softmax
from tfp_spn.ops.sum_rules import SumOpGradBackprop

_GRADIENT = SumOpGradBackprop()


def evidence_or_nothing(distribution: Any, evidence: Evidence | None) -> Evidence:
    """Evidence of one example of which nothing is known, if there is none."""
    if evidence is not None:
        return evidence
    rank = batch_rank(distribution.params, distribution.program)
    return nothing_observed(distribution.program, rank)


def posterior_chain(distribution: Any, evidence: Evidence | None) -> Chain:
    """The chain of all steps: those behind the last known one are foretold."""
    program, tables = distribution.program, distribution.tables()
    evidence = evidence_or_nothing(distribution, evidence)
    return chain_of(program, tables, evidence, to_end=True)


def state_posteriors(chain: Chain) -> Tensor:
    """``p(q_t | x)``, ``[T, ..., Q, N]``; the prior where evidence is impossible.

    The gradient of a log-likelihood; it is taken in a graph, since eagerly chains have
    no second derivatives.
    """
    if not tf.executing_eagerly():
        return _state_posteriors(chain)
    parts = [part for part in chain if part is not None]
    specs = [None if p is None else tf.TensorSpec.from_tensor(p) for p in chain]
    return _compiled_posteriors(*specs)(*parts)


@functools.lru_cache(maxsize=64)
def _compiled_posteriors(*specs: tf.TensorSpec | None) -> Callable[..., Tensor]:
    """A function of the parts that are there, for one shape of them."""

    @tf.function(autograph=False)
    def posteriors(*parts: Tensor) -> Tensor:
        given = iter(parts)
        return _state_posteriors(
            Chain(*(None if spec is None else next(given) for spec in specs))
        )

    return posteriors


def _state_posteriors(chain: Chain) -> Tensor:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        chain = chain._replace(emission=tf.identity(chain.emission))
        tape.watch(chain.emission)
        log_z = log_chain(chain)
    probs = tape.gradient(log_z, chain.emission)
    impossible = ~(log_z > -float("inf"))[..., tf.newaxis, :]

    def prior() -> Tensor:
        messages, _ = forward_messages(*_blank(chain))
        return tf.where(impossible, softmax(messages, -2), probs)

    return tf.cond(tf.reduce_any(impossible), prior, lambda: probs)


def _blank(chain: Chain) -> Chain:
    """The chain without evidence."""
    return chain._replace(emission=tf.zeros_like(chain.emission))


def unit_posteriors(program: DynamicProgram, chain: Chain) -> Tensor:
    """``p(z_t | x)`` of the interface's units behind each step, ``[T, ..., S, N]``."""
    if program.sum_product == "cp":
        forward = log_filtered_units(program, chain)
        backward, _ = backward_messages(*chain[:4])
        weights = tf.linalg.matrix_transpose(chain.transition)
        later = log_matmul(weights, backward[1:])
        later = tf.concat([later, tf.zeros_like(forward[:1])], 0)
        return _or_prior(program, chain, softmax(forward + later, -2))
    return _units(program, state_posteriors(chain))


def filtered_units(program: DynamicProgram, chain: Chain) -> Tensor:
    """``p(z_t | x_1 ... x_t)``, ``[T, ..., S, N]``."""
    return _or_prior(program, chain, softmax(log_filtered_units(program, chain), -2))


def _or_prior(program: DynamicProgram, chain: Chain, probs: Tensor) -> Tensor:
    """`probs`, or the prior where evidence is impossible and they are all zero."""
    impossible = ~(tf.reduce_sum(probs, -2, keepdims=True) > 0)

    def prior() -> Tensor:
        blank = log_filtered_units(program, _blank(chain))
        return tf.where(impossible, softmax(blank, -2), probs)

    return tf.cond(tf.reduce_any(impossible), prior, lambda: probs)


def log_filtered_units(program: DynamicProgram, chain: Chain) -> Tensor:
    """Logarithms, not normalised."""
    messages, _ = forward_messages(*chain)
    if chain.interface is None:
        return messages
    interface = chain.interface
    if interface.shape[0] > 1:  # behind the last step there is no transition
        interface = tf.concat([interface, interface[-1:]], 0)
    return log_matmul(interface, messages)


def log_prefixes(chain: Chain) -> Tensor:
    """``log p(x_1 ... x_t)`` of each step, float64 ``[T, ..., N]``."""
    messages, offset = forward_messages(*chain)
    return tf.cast(logsumexp(messages, -2), tf.float64) + offset[..., 0, :]


def _units(program: DynamicProgram, states: Tensor) -> Tensor:
    """Probabilities of states to those of units."""
    if program.sum_product is None:
        return states
    pairs = [program.num_roots, program.num_interfaces]
    lead, tail = tf.shape(states)[:-2], tf.shape(states)[-1:]
    by_root = tf.reshape(states, tf.concat([lead, pairs, tail], 0))
    static = [*states.shape[:-2], program.num_interfaces, states.shape[-1]]
    return tf.ensure_shape(tf.reduce_sum(by_root, -3), static)


def in_user_shape(evidence: Evidence, values: Tensor) -> Tensor:
    """``[T, ..., F, N]`` to ``S + P + [T, F]``."""
    rank = values.shape.rank
    order = [*range(1, rank - 2), 0, rank - 2, rank - 1]
    return evidence.restore(tf.transpose(values, order))


def mean_and_variance(
    distribution: Any, evidence: Evidence | None = None
) -> tuple[Tensor, Tensor]:
    """Exact moments of each coordinate, ``S + P + [T, V, D]``."""
    check_moments(distribution)
    program: DynamicProgram = distribution.program
    tables: DynamicTables = distribution.tables()
    evidence = evidence_or_nothing(distribution, evidence)
    chain = chain_of(program, tables, evidence, to_end=True)
    roots = program.sum_over_units(state_posteriors(chain))
    flows = to_steps(program, roots)  # [..., K, T N]
    steps = step_evidence(program, evidence)
    known = evidence.observed  # a mask: evidence that is impossible says nothing
    possible = log_chain(chain) > -float("inf")
    if known is not None:
        known &= possible[..., tf.newaxis, tf.newaxis, :]
        steps = step_evidence(program, Evidence(evidence.x, known, *_shapes(evidence)))
    leaves = leaf_values(program.step, tables.step, steps.x, steps.observed)
    shape = tf.broadcast_dynamic_shape(tf.shape(flows)[:-2], tf.shape(leaves)[:-3])
    leaves = tf.broadcast_to(leaves, tf.concat([shape, tf.shape(leaves)[-3:]], 0))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(leaves)
        joint = evaluate(program.step, tables.step, leaves, _GRADIENT).log_joint
    weights = tape.gradient(joint, leaves, output_gradients=flows)
    moments = posterior.mean_and_variance(program.step, tables.step, weights)
    mean, variance = (_examples_of_steps(program, value) for value in moments)
    return evidence.restore(mean), evidence.restore(variance)


def _shapes(evidence: Evidence) -> tuple[Tensor, tf.TensorShape]:
    return evidence.sample_shape, evidence.static_sample_shape


def _examples_of_steps(program: DynamicProgram, values: Tensor) -> Tensor:
    """``[..., V, D, T N]`` to ``[..., T, V, D, N]``."""
    if program.parameters_in_time:
        return values
    num_steps = program.num_steps
    count = values.shape[-1]
    count = None if count is None else count // num_steps
    examples = tf.shape(values)[-1] // num_steps
    shape = tf.concat([tf.shape(values)[:-1], [num_steps, examples]], 0)
    values = tf.reshape(values, shape)
    values = tf.ensure_shape(values, [*values.shape[:-2], num_steps, count])
    rank = values.shape.rank
    order = [*range(rank - 4), rank - 2, rank - 4, rank - 3, rank - 1]
    return tf.transpose(values, order)


def sample(
    distribution: Any, n: Tensor, seed: Seed, evidence: Evidence | None = None
) -> Tensor:
    """``n`` draws: ``[n] + S + P + [T, V, D]``."""
    program: DynamicProgram = distribution.program
    tables: DynamicTables = distribution.tables()
    path_seed, select_seed, value_seed = tfp.random.split_seed(
        seed, n=3, salt="DynamicSumProductNetwork"
    )
    n = tf.convert_to_tensor(n, tf.int32)
    has_evidence = evidence is not None
    evidence = evidence_or_nothing(distribution, evidence)
    if has_evidence:
        chain = chain_of(program, tables, evidence, to_end=True)
    else:
        rank = batch_rank(distribution.params, program)
        blank = tf.zeros([program.num_steps, *[1] * rank, program.num_roots, 1])
        chain = program.chain(tables, tf.cast(blank, program.dtype))
    path = _draw_path(chain, n, path_seed, has_evidence)  # [T, ..., n N]
    num_evidence = tf.shape(evidence.x)[-1]
    batch = _batch_shape(distribution, chain)
    roots = program.root_of_state(path)
    examples, classes = _step_examples(program, batch, roots, n, num_evidence)

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
        leaves = leaf_values(program.step, tables.step, steps.x, steps.observed)
        values = with_inputs(program.step, tables.step, leaves, draw)
    else:
        values = draw(None)
    drawn = _sequences(program, examples, values, n, num_evidence)
    return _restore_draws(drawn, n, evidence)


def mode(distribution: Any, evidence: Evidence | None = None) -> Tensor:
    """Max-product completion: ``S + P + [T, V, D]``."""
    program: DynamicProgram = distribution.program
    tables: DynamicTables = distribution.tables()
    evidence = evidence_or_nothing(distribution, evidence)
    if evidence.observed is None:
        shape = tf.concat([tf.shape(evidence.x)[:-2], tf.shape(evidence.x)[-1:]], 0)
        evidence = Evidence(evidence.x, tf.ones(shape, tf.bool), *_shapes(evidence))
    values = emissions(program, tables, evidence, is_max=True)
    chain = program.chain(tables, values)
    path = best_path(*chain[:4])
    one = tf.constant(1)
    num_evidence = tf.shape(evidence.x)[-1]
    batch = _batch_shape(distribution, chain)
    roots = program.root_of_state(path)
    examples, classes = _step_examples(program, batch, roots, one, num_evidence)
    steps = step_evidence(program, evidence)
    leaves = mode_leaf_values(program.step, tables.step, steps.x, steps.observed)
    selected = select_leaves(
        program.step,
        tables.step,
        examples,
        tf.zeros([2], tf.int32),
        "max",
        evaluate_max(program.step, tables.step, leaves),
        classes,
    )
    best = mode_values(program.step, tables.step, examples, selected)
    drawn = _sequences(program, examples, best, one, num_evidence)
    return _restore_draws(drawn, one, evidence)[0]


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


def _batch_shape(distribution: Any, chain: Chain) -> Tensor:
    """``P`` of the parameters and of the evidence."""
    return tf.shape(chain.emission)[1:-2]


def _step_examples(
    program: DynamicProgram, batch: Tensor, roots: Tensor, n: Tensor, count: Tensor
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
    program: DynamicProgram,
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


def _restore_draws(values: Tensor, n: Tensor, evidence: Evidence) -> Tensor:
    """``[n, N] + P + [T, V, D]`` to ``[n] + S + P + [T, V, D]``."""
    shape = tf.shape(values)
    shape = tf.concat([shape[:1], evidence.sample_shape, shape[2:]], 0)
    lead = tf.TensorShape([tf.get_static_value(n)])
    static = lead.concatenate(evidence.static_sample_shape)
    known = static.concatenate(values.shape[2:])
    return tf.ensure_shape(tf.reshape(values, shape), known)
