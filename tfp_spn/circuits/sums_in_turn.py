"""The sums of a wide step, some of its regions after others.

All regions at once, the gathered factors of a wide step, their products and sums each
pass through main memory, and allocators hand what is that large back to the system and
fetch it anew. A part at a time, they stay in the caches. Gradients evaluate the
products of a part again, so that nothing is kept but the values of the step's children
and its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.program import Gather, Step
from tfp_spn.ops.conditional import pullback
from tfp_spn.ops.regions import gather_blank, places_of, sum_over_uses
from tfp_spn.ops.scaling import power_of_two_scale

UNITS_PER_PART = 16_384
"""Units that go into the sums of a part: 16 MiB in float32 for 256 examples.

Allocators keep what is smaller than 32 MiB; smaller parts only make larger graphs.
"""

Multiply = Callable[[Step, Sequence[Tensor]], tuple[Tensor, Tensor]]
"""Maps a part of a step and its factors to the products' units and their offset."""


def parts_of(step: Step) -> list[Step]:
    """The step, cut into steps over some of its regions each."""
    per_part = max(1, UNITS_PER_PART // step.num_inputs)
    num_parts = -(-step.num_regions // per_part)
    bounds = np.linspace(0, step.num_regions, num_parts + 1).astype(int)
    return [
        _regions(step, int(start), int(stop))
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]


def sums_in_turn(
    step: Step,
    parts: Sequence[Step],
    read: Callable[[tuple[int, ...]], Tensor],
    blank: float,
    multiply: Multiply,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled sums ``[R, O, N]``, their offset ``[R, 1, N]`` and the smallest sum.

    Args:
        step: The step.
        parts: Its parts.
        read: Gives the regions ``[R', K, N]`` of some values together.
        blank: What a child that is not there holds.
        multiply: The products; constants that it reads get no gradient.
        weights: ``[R, I, O]``, or ``[1, I, O]`` where regions share them.
    """
    groups = list(dict.fromkeys(gather.sources for gather in step.factors))
    group_of = [groups.index(gather.sources) for gather in step.factors]
    is_shared = weights.shape[0] == 1 < step.num_regions
    ends = np.cumsum([part.num_regions for part in parts])
    bounds = list(zip([0, *ends[:-1]], ends, strict=True))

    def inputs_of(number: int, sources: Sequence[Tensor], weights: Tensor) -> list:
        factors = [
            gather_blank(sources[group], gather.index, -3, blank)
            for gather, group in zip(parts[number].factors, group_of, strict=True)
        ]
        start, stop = bounds[number]
        return [*factors, weights if is_shared else weights[start:stop]]

    @tf.custom_gradient
    def forward(*inputs: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Callable]:
        *sources, weights = inputs
        scaled: list[Tensor] = []
        offsets, scales, least = [], [], []
        for number, part in enumerate(parts):
            with _after(scaled[-1:]):
                *factors, part_weights = inputs_of(number, sources, weights)
                units, offset = multiply(part, factors)
                sums = tf.matmul(part_weights, units, transpose_a=True)
                scale, log_scale = power_of_two_scale(sums)
                scaled.append(sums * scale)
                offsets.append(offset + log_scale)
                scales.append(scale)
                least.append(tf.reduce_min(sums))

        def backward(flow: Tensor, *_: Tensor) -> list[Tensor]:
            flows: list[list[Tensor]] = []
            for number, part in enumerate(parts):
                with _after([flows[-1][0]] if flows else []):
                    start, stop = bounds[number]

                    def sums_of(*inputs: Tensor, part: Step = part) -> Tensor:
                        units, _ = multiply(part, inputs[:-1])
                        return tf.matmul(inputs[-1], units, transpose_a=True)

                    part_inputs = inputs_of(number, sources, weights)
                    part_flow = flow[start:stop] * scales[number]
                    flows.append(pullback(sums_of, part_inputs, part_flow))
            *by_factor, of_weights = [list(f) for f in zip(*flows, strict=True)]
            d_weights = tf.add_n(of_weights) if is_shared else tf.concat(of_weights, 0)
            d_sources = []
            for group, source in enumerate(sources):
                members = [f for f, g in enumerate(group_of) if g == group]
                index = [p.factors[f].index for f in members for p in parts]
                flow = tf.concat([f for m in members for f in by_factor[m]], 0)
                d_sources.append(_spread(flow, np.concatenate(index), source.shape[0]))
            return [*d_sources, d_weights]

        results = tf.concat(scaled, 0), tf.concat(offsets, 0), tf.reduce_min(least)
        return results, backward

    return forward(*(read(group) for group in groups), weights)


def _spread(flow: Tensor, index: np.ndarray, num_regions: int) -> Tensor:
    """``[J, K, N]`` to ``[R', K, N]``: sums what went to each region, in turn."""
    uses = places_of(index, num_regions)
    per_part = max(1, UNITS_PER_PART // (flow.shape[-2] * uses.shape[1]))
    parts: list[Tensor] = []
    for start in range(0, num_regions, per_part):
        with _after(parts[-1:]):
            used = uses[start : start + per_part]
            # Filled from the left: columns that are empty here are the last.
            width = max(1, int((used >= 0).sum(axis=1).max()))
            parts.append(sum_over_uses(flow, used[:, :width]))
    return tf.concat(parts, 0)


def _regions(step: Step, start: int, stop: int) -> Step:
    count = step.num_partitions
    factors = tuple(
        Gather(g.sources, g.sizes, g.index[start * count : stop * count])
        for g in step.factors
    )
    return dataclasses.replace(step, factors=factors, num_regions=stop - start)


def _after(tensors: list[Tensor]) -> Any:
    """Waits for tensors: a graph would begin all parts at once."""
    if tf.executing_eagerly() or not tensors:
        return contextlib.nullcontext()
    return tf.control_dependencies(tensors)
