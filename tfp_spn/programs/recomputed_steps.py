"""Steps whose products are not kept (``recompute=True``), part by part.

The downward pass multiplies those of each part of the regions again. Parts stay in the
caches, and never hold all products of a step. Where there is memory for these, keeping
them takes a tenth less time.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.matrix_products import (
    unit_gradient,
    weight_gradient,
    weighted_units,
)
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.gathering import (
    concat_regions,
    merge_units,
    split_partitions,
)
from tfp_spn.programs.products import is_linear, multiplied
from tfp_spn.programs.scaled_values import Value, compared_partitions
from tfp_spn.programs.steps import Step

UNITS_PER_PART = 16_384
"""Units that go into the sums of a part: 16 MiB in float32 for 256 examples.

Allocators keep what is smaller than 32 MiB; smaller parts only make larger graphs.
"""


def is_recomputed(
    program: FoldedProgram, step: Step, values: Sequence[Value], weights: Tensor
) -> bool:
    """Whether products are not kept.

    They are where circuits have a batch, or partitions are of several kinds.
    """
    if not program.recompute:
        return False
    sources = {source for gather in step.factors for source in gather.sources}
    read = [values[source] for source in sources]
    if any(t.shape.rank > 3 for t in [weights, *(value.regions for value in read)]):
        return False
    return len(step.segments) == 1 and (
        step.num_partitions == 1 or is_linear(step, values)
    )


def parts_of(step: Step) -> list[tuple[int, int]]:
    """Ranges of regions."""
    per_part = max(1, UNITS_PER_PART // step.num_inputs)
    num_parts = -(-step.num_regions // per_part)
    bounds = np.linspace(0, step.num_regions, num_parts + 1).astype(int).tolist()
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def sums_in_parts(
    program: FoldedProgram, number: int, values: Sequence[Value], weights: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Sums ``[R, O, N]`` and what was taken out of their products."""
    products = _Products(program, number, values)
    sums: list[Tensor] = []
    owns = []
    for start, stop in parts_of(program.steps[number]):
        with _after(sums[-1:]):
            units, own = products.of_regions(start, stop)
            sums.append(weighted_units(_rows(weights, start, stop), units))
            owns.append(own)
    log_scale = products.offset
    if log_scale is None and owns[0] is not None:
        log_scale = concat_regions(owns)
    return concat_regions(sums), log_scale


def flows_in_parts(
    program: FoldedProgram,
    number: int,
    values: Sequence[Value],
    weights: Tensor,
    received: Tensor,
) -> tuple[Tensor, Tensor]:
    """Flows ``[R, I, N]`` of the products and counts of the weights."""
    products = _Products(program, number, values)
    sums = values[number + 1].units
    flows: list[Tensor] = []
    counts = []
    for start, stop in parts_of(program.steps[number]):
        with _after(flows[-1:]):
            units, _ = products.of_regions(start, stop)
            quotient = received[start:stop] / sums[start:stop]  # type: ignore[index]
            of_part = _rows(weights, start, stop)
            flows.append(units * unit_gradient(of_part, quotient))
            counts.append(of_part * weight_gradient(units, quotient, of_part))
    is_shared = weights.shape[0] == 1 < received.shape[0]
    count = tf.add_n(counts) if is_shared else concat_regions(counts)
    return concat_regions(flows), count


class _Products:
    """Products of some regions of a step at a time."""

    def __init__(
        self, program: FoldedProgram, number: int, values: Sequence[Value]
    ) -> None:
        self.step = program.steps[number]
        self.values = values
        self.exponent = self.offset = None
        if self.step.num_partitions > 1:
            log_scales = [value.log_scale for value in values]
            compared = compared_partitions(program, number, log_scales, None)
            self.exponent, self.offset = compared.exponent, compared.offset

    def of_regions(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """Units ``[R', I, N]``, and what was taken out of them."""
        count = self.step.num_partitions
        first, last = start * count, stop * count
        part = dataclasses.replace(
            self.step,
            factors=tuple(gather.part(first, last) for gather in self.step.factors),
            num_regions=stop - start,
        )
        exponent = None if self.exponent is None else self.exponent[first:last]
        units, own = multiplied(part, self.values, exponent)
        return merge_units(split_partitions(units, stop - start)), own


def _rows(weights: Tensor, start: int, stop: int) -> Tensor:
    return weights if weights.shape[0] == 1 else weights[start:stop]


def _after(tensors: list[Tensor]) -> contextlib.AbstractContextManager:
    """Waits for tensors: a graph would begin all parts at once."""
    if tf.executing_eagerly() or not tensors:
        return contextlib.nullcontext()
    return tf.control_dependencies(tensors)
