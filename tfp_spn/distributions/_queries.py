"""Queries of a distribution over a circuit: both passes, in the user's shapes.

Functions take a distribution for its `program`, `tables()` and batch shape, and
evidence in the kernel's layout; ``evidence=None`` means that nothing is observed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.internal import parameter_properties

from tfp_spn._typing import Params, Seed, Tensor
from tfp_spn.circuits import posterior
from tfp_spn.circuits.blocks import in_blocks
from tfp_spn.circuits.dynamic_evaluation import (
    log_prob_of_evidence,
    to_sequence_evidence,
)
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.evaluation import (
    Evaluation,
    evaluate,
    evaluate_max,
    leaf_values,
    log_base,
    mode_leaf_values,
    with_base,
    with_inputs,
)
from tfp_spn.circuits.examples import Evidence, Examples, to_evidence
from tfp_spn.circuits.leaf_draws import mode_values, sample_values
from tfp_spn.circuits.program import Program, Tables
from tfp_spn.circuits.selection import select_leaves
from tfp_spn.ops.log_space import logsumexp

no_shape = parameter_properties.SHAPE_FN_NOT_IMPLEMENTED
no_bijector = parameter_properties.BIJECTOR_NOT_IMPLEMENTED
BatchedComponentProperties = parameter_properties.BatchedComponentProperties


def check_params(params: Params, circuit: Any, program: Any = None) -> Params:
    """Parameters as variables or tensors, in the order of their names.

    `program` is that of the circuit, but for parameters with an axis of steps.
    """
    program = program or circuit.program
    in_time = getattr(program, "parameters_in_time", ())
    is_dynamic = isinstance(program, DynamicProgram)
    owner = "DynamicSumProductNetwork" if is_dynamic else "SumProductNetwork"
    if not isinstance(params, Mapping):
        raise TypeError(
            f"{owner}: received params of type {type(params).__name__}, "
            "expected a dict of parameters by name. Start from circuit.live_params() "
            "and replace some of its entries."
        )
    expected = program.param_event_ndims
    if set(params) != set(expected):
        missing, surplus = set(expected) - set(params), set(params) - set(expected)
        raise ValueError(
            f"{owner}: received params {sorted(params)}, expected "
            f"{sorted(expected)}: missing {sorted(missing)}, unknown "
            f"{sorted(surplus)}. Start from circuit.live_params() and replace some of "
            "its entries."
        )
    live, converted, batches = circuit.live_params(), {}, {}
    for name, ndims in expected.items():
        value = params[name]
        if not tf.is_tensor(value) or not hasattr(value, "shape"):
            value = tf.convert_to_tensor(value, dtype=program.dtype, name=name)
        if value.dtype != program.dtype:
            raise TypeError(
                f"{owner}: received parameter {name!r} of dtype "
                f"{value.dtype.name}, expected {program.dtype.name}, that of the "
                "circuit. Cast it first."
            )
        if value.shape.rank is None:
            raise ValueError(
                f"{owner}: received parameter {name!r} of unknown rank, "
                "which leaves the batch shape open. Use tf.ensure_shape first."
            )
        own_ndims = ndims - (name in in_time)
        shape, have = live[name].shape[-own_ndims:], value.shape[-ndims:]
        if name in in_time:
            shape = tf.TensorShape([program.num_steps, *shape])
        if value.shape.rank < ndims or not have.is_compatible_with(shape):
            raise ValueError(
                f"{owner}: received parameter {name!r} of shape "
                f"{tuple(value.shape)}, expected [..., {', '.join(map(str, shape))}], "
                "where leading axes are the batch shape. Start from "
                "circuit.live_params(), whose shapes are right."
            )
        batches[name] = value.shape[:-ndims]
        if not have.is_fully_defined():
            value = tf.ensure_shape(value, batches[name].concatenate(shape))
        converted[name] = value
    try:
        functools.reduce(tf.broadcast_static_shape, batches.values())
    except ValueError:
        received = {name: batch.as_list() for name, batch in batches.items()}
        raise ValueError(
            f"{owner}: received params of batch shapes {received}, expected "
            "shapes that broadcast with each other. Insert axes of size 1, or give all "
            "parameters equal leading axes."
        ) from None
    return converted


def are_same(params: Any, live: Params) -> bool:
    """Whether `params` are the very variables of `live`."""
    return params is live or (
        isinstance(params, dict)
        and params.keys() == live.keys()
        and all(params[name] is value for name, value in live.items())
    )


def batch_rank(params: Params, program: Program | DynamicProgram) -> int:
    """Number of leading batch dimensions of the parameters."""
    ndims = program.param_event_ndims
    return max([0] + [params[n].shape.rank - ndims[n] for n in ndims])


def evidence_of(distribution: Any, value: Tensor, observed: Tensor | None) -> Evidence:
    """A value of `Event.spread`, and its mask, in the kernel's layout."""
    program = distribution.program
    rank = batch_rank(distribution.params, program)
    event_ndims = program.flat_event_ndims
    check_broadcasts(value.shape[: value.shape.rank - event_ndims], distribution)
    return _flat_evidence(program, value, observed, rank)


def check_broadcasts(lead: tf.TensorShape, distribution: Any) -> None:
    """Raises if the leading axes of a value do not fit a distribution's batch."""
    batch = distribution.batch_shape
    try:
        tf.broadcast_static_shape(lead, batch)
    except ValueError:
        event = [*map(str, distribution.event_shape)]
        ones = ", ".join(["1"] * batch.rank + event)
        raise ValueError(
            f"{type(distribution).__name__}: received a value with leading axes "
            f"{tuple(lead)}, expected ones that broadcast with the batch shape "
            f"{tuple(batch)}. To evaluate each value under all members of the batch, "
            f"reshape it to [..., {ones}]."
        ) from None


def log_joint(distribution: Any, value: Tensor, observed: Tensor | None) -> Tensor:
    """``log p(x, c)``, ``S + P + [C]``."""
    evidence = evidence_of(distribution, value, observed)
    return _log_joint(distribution.program, distribution.tables(), evidence)


def log_prob(distribution: Any, value: Tensor, observed: Tensor | None) -> Tensor:
    """``log p(x)``, ``S + P``."""
    return sum_over_classes(log_joint(distribution, value, observed))


def log_prob_of(
    program: Program, params: Params, value: Tensor, observed: Tensor | None
) -> Tensor:
    """`log_prob` of parameters without batch dimensions, unchecked."""
    evidence = _flat_evidence(program, value, observed, 0)
    return sum_over_classes(_log_joint(program, program.tables(params), evidence))


def _flat_evidence(
    program: Program | DynamicProgram,
    value: Tensor,
    observed: Tensor | None,
    rank: int,
) -> Evidence:
    if isinstance(program, DynamicProgram):
        ndims = program.step.flat_event_ndims
        return to_sequence_evidence(program, value, observed, rank, ndims)
    return to_evidence(value, observed, program.flat_event_ndims, rank)


def _log_joint(program: Any, tables: Any, evidence: Evidence) -> Tensor:
    if isinstance(program, DynamicProgram):
        log_prob = log_prob_of_evidence(program, tables, evidence)
        return evidence.restore(log_prob[..., tf.newaxis, :])

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        joint = evaluation_of(program, tables, block).log_joint
        return with_base(joint, log_base(program, block.x, block.observed))

    return evidence.restore(
        in_blocks(of_block, program, tables, evidence, program.dtype)
    )


def sum_over_classes(joint: Tensor) -> Tensor:
    """``log p(x)`` of ``log p(x, c) [..., C]``."""
    return joint[..., 0] if joint.shape[-1] == 1 else logsumexp(joint, axis=-1)


def evaluation_of(program: Program, tables: Tables, evidence: Evidence) -> Evaluation:
    """The sum-product pass under evidence."""
    leaves = leaf_values(program, tables, evidence.x, evidence.observed)
    return evaluate(program, tables, leaves)


def possible_evidence(
    distribution: Any, value: Tensor, observed: Tensor | None
) -> Evidence:
    """Like `evidence_of`, for queries given the evidence: impossible values are hidden.

    There is no distribution given a value outside the support; it is as if the value
    were missing.
    """
    evidence = evidence_of(distribution, value, observed)
    in_support = distribution.program.leaf.log_base(evidence.x) > -float("inf")
    if evidence.observed is not None:
        in_support &= evidence.observed
    return dataclasses.replace(evidence, observed=in_support)


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

    values = in_blocks(of_block, program, tables, evidence, program.dtype, axis=1)
    return _restore_examples(values, evidence)


def mode(distribution: Any, evidence: Evidence | None = None) -> Tensor:
    """Max-product completion: ``P + [V, D]``, or ``S + P + [V, D]``."""
    program, tables = distribution.program, distribution.tables()
    if evidence is None:
        layout = program.layout
        batch = [1] * batch_rank(distribution.params, program)
        x = tf.zeros([*batch, layout.num_variables, layout.num_dims, 1], program.dtype)
        observed = tf.zeros([*batch, layout.num_variables, 1], tf.bool)
    else:
        x, observed = evidence.x, evidence.observed

    def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
        leaves = mode_leaf_values(program, tables, block.x, block.observed)
        evaluation = evaluate_max(program, tables, leaves)
        examples = _examples(distribution, tf.shape(block.x)[-1], evidence)
        unused = tf.zeros([2], tf.int32)
        selected = select_leaves(program, tables, examples, unused, "max", evaluation)
        return examples.unflatten(mode_values(program, tables, examples, selected))

    given = evidence
    if given is None:
        given = Evidence(x, observed, tf.zeros([0], tf.int32), tf.TensorShape([]))
    values = in_blocks(of_block, program, tables, given, program.dtype, axis=0)
    if evidence is None:
        return values[0]
    return _restore_examples(values[tf.newaxis], evidence)[0]


def mean_and_variance(
    distribution: Any, evidence: Evidence | None = None
) -> tuple[Tensor, Tensor]:
    """Exact moments of each coordinate: ``P + [V, D]``, or ``S + P + [V, D]``."""
    check_moments(distribution)
    program, tables = distribution.program, distribution.tables()

    def of_block(tables: Tables, block: Evidence | None, _: Tensor) -> Tensor:
        weights = leaf_posterior(program, tables, block)
        mean, variance = posterior.mean_and_variance(program, tables, weights)
        zero = tf.zeros_like(mean) + tf.zeros_like(variance)  # batches may differ
        return tf.stack([mean + zero, variance + zero])

    if evidence is None:
        both = of_block(tables, None, tf.constant(0))
    else:
        both = in_blocks(of_block, program, tables, evidence, program.dtype)
    mean, variance = both[0], both[1]
    return tuple(restore(distribution, m, 2, evidence) for m in (mean, variance))


def covariance(distribution: Any, evidence: Evidence | None = None) -> Tensor:
    """Exact covariance of all coordinates: ``P + [E, E]``, or ``S + P + [E, E]``."""
    check_moments(distribution)
    program, tables = distribution.program, distribution.tables()
    leaves = leaves_under(program, tables, evidence)
    cov = posterior.covariance(program, tables, leaves)
    return restore(distribution, cov, 2, evidence)


def check_moments(distribution: Any) -> None:
    """Raises if moments are undefined and NaN is not allowed in their place."""
    leaf = distribution.program.leaf
    if not (leaf.has_moments or distribution.allow_nan_stats):
        raise ValueError(
            f"SumProductNetwork: a moment of {leaf.label} is undefined, and "
            "allow_nan_stats=False. Use mode, or allow_nan_stats=True to receive NaN."
        )


def leaf_posterior(
    program: Program, tables: Tables, evidence: Evidence | None
) -> Tensor:
    """``[..., R, K, N]``: posterior of leaf components; the prior if impossible."""
    nothing = leaves_under(program, tables, None)
    _, prior = posterior.leaf_posterior(program, tables, nothing)
    if evidence is None:
        return prior
    leaves = leaves_under(program, tables, evidence)
    log_prob, weights = posterior.leaf_posterior(program, tables, leaves)
    possible = log_prob[..., tf.newaxis, tf.newaxis, :] > -float("inf")
    return tf.where(possible, weights, prior)


def leaves_under(program: Program, tables: Tables, evidence: Evidence | None) -> Tensor:
    if evidence is None:
        shape = [program.layout.num_regions, program.leaf.num_components, 1]
        return tf.zeros(shape, program.dtype)
    return leaf_values(program, tables, evidence.x, evidence.observed)


def _examples(
    distribution: Any,
    count: Tensor,
    evidence: Evidence | None,
    num_evidence: Tensor | None = None,
) -> Examples:
    rank = batch_rank(distribution.params, distribution.program)
    shape = _batch_shape(distribution, evidence) if rank else tf.zeros([0], tf.int32)
    return Examples(shape, rank, count, num_evidence)


def _batch_shape(distribution: Any, evidence: Evidence | None) -> Tensor:
    """``P``: of the parameters, broadcast with that of the evidence."""
    ndims = distribution.program.param_event_ndims
    shape = tf.zeros([0], tf.int32) if evidence is None else tf.shape(evidence.x)[:-3]
    for name, value in distribution.params.items():
        batch = tf.shape(value)[: value.shape.rank - ndims[name]]
        shape = tf.broadcast_dynamic_shape(shape, batch)
    return shape


def restore(
    distribution: Any, value: Tensor, event_ndims: int, evidence: Evidence | None
) -> Tensor:
    """``P' + event + [N]`` to ``P + event`` or ``S + P + event``."""
    rank = batch_rank(distribution.params, distribution.program)
    if rank:
        shape = _batch_shape(distribution, evidence)
        event = tf.shape(value)[value.shape.rank - event_ndims - 1 :]
        value = tf.broadcast_to(value, tf.concat([shape, event], 0))
    return value[..., 0] if evidence is None else evidence.restore(value)


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
