"""The products of a step: units in linear space, or their logarithms.

Both kinds of values occur side by side. Leaf regions come as logarithms, whose sums
lose nothing; sums come as units with a scale, and are multiplied as they are unless
there are so many factors that their product might vanish.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.gathering import (
    concat_regions,
    gather_regions,
    merge_units,
    split_factors,
    split_partitions,
)
from tfp_spn.circuits.offsets import compared_partitions
from tfp_spn.circuits.program import Gather, Program, Step
from tfp_spn.ops.log_space import finite_max, safe_log
from tfp_spn.ops.products import hadamard, kronecker, log_hadamard, log_kronecker
from tfp_spn.ops.regions import gather_blank

_MAX_FACTORS = 4
"""Products of more units are taken in log space, where none vanishes."""


@dataclass(eq=False)
class Value:
    """Regions of one step: ``units * scale``, or ``exp(log)``, times ``exp(log_scale)``.

    Attributes:
        log_scale: ``[..., R, 1, N]``: what has been taken out; `None`: nothing.
        units: ``[..., R, K, N]``, or `None`.
        scale: ``[..., R, 1, N]``; `None`: one.
        log: ``[..., R, K, N]``, or `None`.
        is_relative: Whether the largest of `log` is 0 (if it is finite).
    """

    log_scale: Tensor | None
    units: Tensor | None = None
    scale: Tensor | None = None
    log: Tensor | None = None
    is_relative: bool = False

    @property
    def is_log(self) -> bool:
        """Whether logarithms came first."""
        return self.units is None

    @functools.cached_property
    def relative_log(self) -> Tensor:
        """Logarithms of the regions without what has been taken out."""
        if self.log is not None:
            return self.log
        log = safe_log(self.units)
        return log if self.scale is None else log + safe_log(self.scale)

    @functools.cached_property
    def linear(self) -> Value:
        """The same regions as units; what that takes out is its `log_scale` alone."""
        if self.log is None:
            return Value(None, self.units, self.scale)
        if self.is_relative:
            return Value(None, tf.exp(self.log))
        maximum = finite_max(self.log, -2)
        return Value(maximum, tf.exp(self.log - maximum))


def products_of(
    program: Program, number: int, values: Sequence[Value]
) -> tuple[Tensor, Tensor | None]:
    """Units ``[..., R, I, N]`` of a step's products, and what was taken out of them.

    The largest unit of each region is of the order of one, unless factors contradict
    each other.
    """
    step = program.steps[number]
    if step.num_partitions == 1:
        return multiplied(step, values)
    log_scales = [value.log_scale for value in values]
    if is_linear(step, values):
        compared = compared_partitions(program, number, log_scales, None)
        units, _ = multiplied(step, values, tf.exp(compared.exponent))
    else:
        units, own = multiplied(step, values)
        compared = compared_partitions(program, number, log_scales, own)
        units *= tf.exp(compared.exponent)
    return merge_units(split_partitions(units, step.num_regions)), compared.offset


def log_products_of(
    program: Program, number: int, values: Sequence[Value]
) -> tuple[Tensor, Tensor | None]:
    """The same as logarithms, not brought to a largest one of 0."""
    step = program.steps[number]
    logs = concat_regions([log_product(step, f, values) for f in step.segments])
    if step.num_partitions == 1:
        return logs, None
    log_scales = [value.log_scale for value in values]
    compared = compared_partitions(program, number, log_scales, None)
    logs += compared.exponent
    return merge_units(split_partitions(logs, step.num_regions)), compared.offset


def is_log(step: Step, values: Sequence[Value]) -> bool:
    """Whether a step multiplies nothing but logarithms, unit by unit."""
    sources = {source for gather in step.factors for source in gather.sources}
    return step.product != "kronecker" and all(values[s].is_log for s in sources)


def is_linear(step: Step, values: Sequence[Value]) -> bool:
    """Whether no products of a step have to be brought to a largest unit."""
    sources = {source for gather in step.factors for source in gather.sources}
    if step.product == "hadamard" and len(step.factors) > _MAX_FACTORS:
        return False
    if is_log(step, values):
        return _is_bare(step, step.factors, values)
    return all(not values[s].is_log or values[s].is_relative for s in sources)


def multiplied(
    step: Step, values: Sequence[Value], factor: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Units ``[..., J, P, N]`` of all partitions, and what was taken out of them.

    `factor` is one more, ``[..., J, 1, N]``.
    """
    results = []
    start = 0
    for factors in step.segments:
        stop = start + len(factors[0].index)
        part = factor if len(step.segments) == 1 else _rows(factor, start, stop)
        results.append(_segment(step, factors, values, part))
        start = stop
    units = concat_regions([units for units, _ in results])
    if all(own is None for _, own in results):
        return units, None
    owns = [tf.zeros_like(u[..., :1, :]) if own is None else own for u, own in results]
    return units, concat_regions(owns)


def log_product(
    step: Step, factors: Sequence[Gather], values: Sequence[Value]
) -> Tensor:
    """Logarithms ``[..., J, P, N]`` of the products of a segment."""
    logs = split_factors(factors, lambda n: values[n].relative_log, 0.0)
    if step.product == "kronecker":
        return log_kronecker(logs)
    return log_hadamard(_chosen(step, logs))


def _segment(
    step: Step,
    factors: Sequence[Gather],
    values: Sequence[Value],
    factor: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    sources = {source for gather in factors for source in gather.sources}
    all_log = step.product != "kronecker" and all(values[s].is_log for s in sources)
    if all_log or (step.product == "hadamard" and len(factors) > _MAX_FACTORS):
        logs = log_product(step, factors, values)
        if all_log and _is_bare(step, factors, values):
            own, units = None, tf.exp(logs)
        else:
            own = finite_max(logs, -2)
            units = tf.exp(logs - own)
        return (units if factor is None else units * factor), own
    linear = {source: values[source].linear for source in sources}
    units = split_factors(factors, lambda n: linear[n].units, 1.0)
    units = _chosen(step, units)
    scales = [] if factor is None else [factor]
    for gather in factors:
        if any(linear[source].scale is not None for source in gather.sources):
            scales.append(gather_regions(gather, lambda n: _scale(linear[n]), 1.0))
    if scales:  # all on the first factor: the others need no pass of their own
        units[0] *= hadamard(scales)
    owns = [
        gather_regions(gather, lambda n: _log_scale(linear[n]))
        for gather in factors
        if any(linear[source].log_scale is not None for source in gather.sources)
    ]
    product = kronecker if step.product == "kronecker" else hadamard
    return product(units), log_hadamard(owns) if owns else None


def _is_bare(step: Step, factors: Sequence[Gather], values: Sequence[Value]) -> bool:
    """Whether products are single factors that have a largest logarithm of 0."""
    return (
        len(factors) == 1
        and step.factor_units is None
        and bool((factors[0].index >= 0).all())
        and all(values[source].is_relative for source in factors[0].sources)
    )


def _chosen(step: Step, factors: Sequence[Tensor]) -> list[Tensor]:
    """Those units of the factors that are multiplied, in their order."""
    if step.factor_units is None:
        return list(factors)
    pairs = zip(factors, step.factor_units, strict=True)
    return [gather_blank(factor, units, -2) for factor, units in pairs]


def _scale(value: Value) -> Tensor:
    if value.scale is None:
        return tf.ones_like(value.units[..., :1, :])  # type: ignore[index]
    return value.scale


def _log_scale(value: Value) -> Tensor:
    if value.log_scale is None:
        return tf.zeros_like(value.units[..., :1, :])  # type: ignore[index]
    return value.log_scale


def _rows(factor: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if factor is None else factor[..., start:stop, :, :]
