"""Queries of many examples, in blocks whose intermediate values stay small.

Memory is then bounded whatever the number of examples, and blocks that fit the caches
are faster than one large pass. Gradients evaluate each block again, so that they keep
nothing but one block either.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.eager.record import could_possibly_record

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.axes import merge_axes, move_axis, transpose
from tfp_spn.ops.conditional import pullback, with_captures_read
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.tables import Tables

BLOCK_BYTES = 32 * 2**20
"""Intermediate values of a block, about: what allocators hand out again and again."""

MIN_BLOCK = 256
"""Matrix products over fewer examples are slow: then blocks may need more memory."""

MAX_BLOCK_BYTES = 512 * 2**20
"""But not larger than this."""

_MAX_UNROLLED = 4
"""So few blocks are no loop: XLA runs bodies of loops several times slower."""

Function = Callable[[Tables, Evidence, Tensor], Tensor]
"""Of tables, evidence and the number of the block."""


def block_size(program: FoldedProgram) -> int:
    """Examples that are evaluated together."""
    units = program.num_units
    units += sum(step.num_regions * step.num_inputs for step in program.steps)
    units += 3 * program.layout.num_slots * program.layout.num_dims  # statistics
    of_example = program.dtype.size * units
    size = max(BLOCK_BYTES // of_example, MIN_BLOCK)
    size = max(min(size, MAX_BLOCK_BYTES // of_example), 1)
    return 2 ** int(math.log2(size))


def in_blocks(
    function: Function,
    program: FoldedProgram,
    tables: Tables,
    evidence: Evidence,
    dtype: tf.DType,
    axis: int = -1,
    copies: int = 1,
) -> Tensor:
    """``function(tables, evidence, 0)``, evaluated block by block where it is large.

    Args:
        function: Differentiable in the tables and in `x`; its result has the examples
            on `axis`.
        program: The circuit.
        tables: Its parameters.
        evidence: ``N`` examples.
        dtype: Dtype of the result.
        axis: The axis of the result, counted from the front if not negative.
        copies: How often the function evaluates each example.
    """
    certainty = tables.certainty
    is_reporting = certainty.flags is not None
    size = max(block_size(program) // max(copies, 1), 1)
    num_examples = evidence.x.shape[-1]
    is_small = num_examples is not None and num_examples <= size
    if is_small or (is_reporting and not certainty.is_large):
        return function(tables, evidence, tf.constant(0))
    if num_examples is not None or is_reporting:
        return _blocked(function, tables, evidence, dtype, axis, size)
    if could_possibly_record():
        # Examples of a training step fit into memory, and the gradient of a conditional
        # makes TensorFlow print warnings about its own graph.
        return function(tables, evidence, tf.constant(0))
    return tf.cond(
        tf.shape(evidence.x)[-1] <= size,
        lambda: function(*_copied(tables, evidence), tf.constant(0)),
        lambda: _blocked(function, *_copied(tables, evidence), dtype, axis, size),
    )


def _copied(tables: Tables, evidence: Evidence) -> tuple[Tables, Evidence]:
    """The same values as tensors of the branch of a conditional.

    A gradient that saw a tensor both from outside and as the branch's own input would
    leave one of them unfed: TensorFlow takes them for two and feeds one.
    """
    values = tf.nest.map_structure(tf.identity, _differentiable(tables))
    masks = [tf.identity(mask) for mask in evidence.masks]
    return _replaced(tables, values), evidence.with_parts(
        tf.identity(evidence.x), masks
    )


def _blocked(
    function: Function,
    tables: Tables,
    evidence: Evidence,
    dtype: tf.DType,
    axis: int,
    size: int,
) -> Tensor:
    """Evaluates all blocks, and differentiates each of them anew."""
    num_examples = tf.shape(evidence.x)[-1]
    static = evidence.x.shape[-1]
    num_blocks = -(-num_examples // size) if static is None else -(-static // size)
    x = split_examples(evidence.x, num_blocks, size)
    masks = [split_examples(mask, num_blocks, size) for mask in evidence.masks]
    constants = tf.nest.flatten(_differentiable(tables))

    def of_block(
        number: Tensor, x: Tensor, *constants: Tensor
    ) -> tuple[Tensor, Tensor]:
        values = tf.nest.pack_sequence_as(_differentiable(tables), constants)
        block = evidence.with_parts(x, [mask[number] for mask in masks])
        certainty = tables.certainty.of_part()
        part = _replaced(tables.replaced(certainty=certainty), values)
        return function(part, block, number), certainty.is_lossy

    if not tf.executing_eagerly():
        number_spec = tf.TensorSpec([], tf.int32)
        x_spec = tf.TensorSpec(x.shape[1:], x.dtype)
        of_block = with_captures_read(of_block, number_spec, x_spec, *constants)
    numbers = tf.range(num_blocks)

    @custom_gradient
    def forward(x: Tensor, *constants: Tensor) -> tuple[tuple, Callable]:
        def evaluate(number: Tensor) -> tuple[Tensor, Tensor]:
            return of_block(number, x[number], *constants)

        if static is not None and num_blocks <= _MAX_UNROLLED:
            blocks = [evaluate(tf.constant(n)) for n in range(num_blocks)]
            results = tuple(tf.stack(parts) for parts in zip(*blocks, strict=True))
        else:
            results = tf.map_fn(
                evaluate,
                numbers,
                fn_output_signature=(dtype, tf.bool),
                parallel_iterations=1,
            )

        def backward(flow: Tensor, _: Tensor) -> list[Tensor]:
            def body(number: Tensor, flows: tf.TensorArray, totals: list) -> tuple:
                def of_sources(*sources: Tensor) -> Tensor:
                    return of_block(number, *sources)[0]

                sources = [x[number], *constants]
                d_x, *d_constants = pullback(of_sources, sources, flow[number])
                totals = [a + b for a, b in zip(totals, d_constants, strict=True)]
                return number + 1, flows.write(number, d_x), totals

            flows = tf.TensorArray(x.dtype, num_blocks, element_shape=x.shape[1:])
            zeros = [tf.zeros_like(value) for value in constants]
            _, flows, totals = tf.while_loop(
                lambda number, *_: number < num_blocks,
                body,
                (tf.constant(0), flows, zeros),
                parallel_iterations=1,
                maximum_iterations=num_blocks,
            )
            return [flows.stack(), *totals]

        return results, backward

    result, is_lossy = forward(x, *constants)  # [B, ..., n, ...]
    tables.certainty.note(is_lossy)
    rank = result.shape.rank - 1
    axis = axis % rank
    result = merge_axes(move_axis(result, 0, axis), axis, axis + 2)
    known = [*result.shape[:axis], static, *result.shape[axis + 1 :]]
    begin = tf.zeros([rank], tf.int32)
    keep = [num_examples if a == axis else -1 for a in range(rank)]
    result = tf.slice(result, begin, keep)
    return tf.ensure_shape(result, known)


def split_examples(value: Tensor, num_blocks: int | Tensor, size: int) -> Tensor:
    """``[..., N]`` to ``[B, ..., n]``, padded with copies of the last example."""
    num_examples = tf.shape(value)[-1]
    index = tf.minimum(tf.range(num_blocks * size), num_examples - 1)
    value = tf.gather(value, index, axis=-1)
    shape = tf.concat([tf.shape(value)[:-1], [num_blocks, size]], 0)
    rank = value.shape.rank
    static = value.shape[:-1]
    blocks = transpose(tf.reshape(value, shape), [rank - 1, *range(rank - 1), rank])
    lead = num_blocks if isinstance(num_blocks, int) else None
    return tf.ensure_shape(blocks, [lead, *static, size])


def _differentiable(tables: Tables) -> tuple:
    """Returns the tensors of tables that gradients flow to."""
    prior = [] if tables.log_prior is None else [tables.log_prior]
    leaf = {name: tf.convert_to_tensor(v) for name, v in tables.leaf.items()}
    return leaf, tables.log_weights, prior


def _replaced(tables: Tables, values: tuple) -> Tables:
    """Puts other tensors in the place of those of `_differentiable`."""
    leaf, log_weights, prior = values
    return dataclasses.replace(
        tables,
        leaf=leaf,
        log_weights=log_weights,
        log_prior=prior[0] if prior else None,
    )
