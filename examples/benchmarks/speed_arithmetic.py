"""What a circuit must compute at least: its matrix products, counted and timed bare.

Read off the shapes of a compiled circuit's steps, so it follows from the circuit alone
and not from how it is evaluated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf

from tfp_spn import layers
from tfp_spn.programs.folded_program import FoldedProgram

BLOCK = 2048
"""Examples at once, as an alternative to the whole batch."""


class MatrixProduct(NamedTuple):
    """``count`` products of ``[num_outputs, num_inputs]`` with ``[num_inputs, N]``."""

    count: int
    num_inputs: int
    num_outputs: int


def num_statistics(program: FoldedProgram) -> int:
    """Sufficient statistics per variable; 0 for leaves that are looked up."""
    leaf, num_dims = program.leaf, program.layout.num_dims
    if isinstance(leaf, layers.NormalLeaf):
        return 2 * num_dims  # x^2 and x
    if isinstance(leaf, layers.BernoulliLeaf | layers.BinomialLeaf):
        return num_dims
    return 0


def matrix_products(program: FoldedProgram, num_masks: int = 0) -> list[MatrixProduct]:
    """Leaf regions as products with statistics (and masks), then all sums."""
    products = []
    layout, statistics = program.layout, num_statistics(program)
    if statistics:
        width = layout.width * (statistics + num_masks)
        units = program.leaf.num_components
        products.append(MatrixProduct(layout.num_regions, width, units))
    for step in program.steps:
        if step.sums is not None:
            products.append(
                MatrixProduct(step.num_regions, step.num_inputs, step.num_outputs)
            )
    return products


def gflop(program: FoldedProgram, num_examples: int, num_masks: int = 0) -> float:
    """Of one upward pass: leaves and sums, a multiplication and an addition each."""
    layout = program.layout
    features = num_statistics(program)
    per_slot = 2 * (features + num_masks) if features else layout.num_dims
    leaves = layout.num_slots * program.leaf.num_components * per_slot
    sums = sum(
        2 * step.num_regions * step.num_inputs * step.num_outputs
        for step in program.steps
        if step.sums is not None
    )
    return (leaves + sums) * num_examples / 1e9


def mebibytes(
    program: FoldedProgram, num_parameters: int, num_examples: int
) -> dict[str, float]:
    """Size of the parameters, and of what leaves, products and sums give out."""
    unit = program.dtype.size / 2**20
    leaves = program.layout.num_regions * program.leaf.num_components
    products = sum(step.num_regions * step.num_inputs for step in program.steps)
    sums = sum(
        step.num_regions * step.num_outputs
        for step in program.steps
        if step.sums is not None
    )
    return {
        "parameters": num_parameters * unit,
        "leaves": leaves * num_examples * unit,
        "products": products * num_examples * unit,
        "sums": sums * num_examples * unit,
    }


def bare_products(
    program: FoldedProgram, num_examples: int, num_masks: int = 0
) -> Iterator[tuple[str, Callable[[], object], float]]:
    """The products alone, on random numbers.

    Yields:
        Ways to compute them: name, call, and how many calls make up `num_examples`
        examples. Batches that do not fit the cache are faster in blocks.
    """
    shapes = matrix_products(program, num_masks)
    uniform = tf.random.stateless_uniform
    weights = [
        uniform([p.count, p.num_inputs, p.num_outputs], [0, 1], dtype=program.dtype)
        for p in shapes
    ]
    for block in sorted({num_examples, min(num_examples, BLOCK)}):
        for examples_last in (True, False):
            values = []
            for p in shapes:
                size = [p.num_inputs, block]
                size = size if examples_last else size[::-1]
                values.append(uniform([p.count, *size], [0, 2], dtype=program.dtype))
            for is_xla in (False, True):
                multiply = _multiply(examples_last, is_xla)
                name = (
                    f"{'examples' if examples_last else 'units'} last, "
                    f"{'xla' if is_xla else 'graph'}, {block} at once"
                )
                call = functools.partial(multiply, values, weights)
                yield name, call, num_examples / block


def _multiply(examples_last: bool, is_xla: bool) -> Callable[[list, list], list]:
    @tf.function(jit_compile=is_xla, autograph=False)
    def multiply(values: list, weights: list) -> list:
        if examples_last:
            return [
                tf.matmul(w, v, transpose_a=True)
                for v, w in zip(values, weights, strict=True)
            ]
        return [tf.matmul(v, w) for v, w in zip(values, weights, strict=True)]

    return multiply


def empty_call() -> Callable[[], object]:
    """What it takes to start any compiled function."""
    return functools.partial(
        tf.function(tf.identity, autograph=False), tf.constant(0.0)
    )
