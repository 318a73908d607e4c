"""The products of a step: units in linear space, or their logarithms.

Both kinds of values occur side by side. Leaf regions come as logarithms, whose sums
lose nothing; sums come as units and are multiplied as they are, unless there are so
many factors that their product might vanish.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max
from tfp_spn.ops.long_sums import long_sum
from tfp_spn.ops.products import hadamard, kronecker, log_hadamard, log_kronecker
from tfp_spn.ops.regions import gather_blank
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.gathering import (
    concat_regions,
    gather_regions,
    merge_units,
    split_partitions,
)
from tfp_spn.programs.scaled_values import (
    MAX_MATRIX,
    Value,
    compared_partitions,
    rows_of,
)
from tfp_spn.programs.steps import Gather, Step

_MAX_FACTORS = 4
"""Products of more units are taken in log space, where none vanishes."""

_MAX_ADDED = 16
"""Sums of more logarithms are one operation, instead of one for each."""


def products_of(
    program: FoldedProgram, number: int, values: Sequence[Value]
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
        units, _ = multiplied(step, values, compared.exponent)
    else:
        units, own = multiplied(step, values)
        compared = compared_partitions(program, number, log_scales, own)
        units *= tf.exp(compared.exponent)
    return merge_units(split_partitions(units, step.num_regions)), compared.offset


def log_products_of(
    program: FoldedProgram, number: int, values: Sequence[Value]
) -> tuple[Tensor, Tensor | None]:
    """The same as logarithms, not brought to a largest one of 0."""
    step = program.steps[number]
    if step.num_partitions == 1:
        return log_multiplied(step, values), None
    log_scales = [value.log_scale for value in values]
    compared = compared_partitions(program, number, log_scales, None)
    logs = log_multiplied(step, values, compared.exponent)
    return merge_units(split_partitions(logs, step.num_regions)), compared.offset


def log_multiplied(
    step: Step, values: Sequence[Value], exponent: Tensor | None = None
) -> Tensor:
    """Logarithms ``[..., J, U, N]`` of all partitions; see `multiplied`."""
    read = _Reader(values)
    segments = [_ask_logs(step, factors, read) for factors in step.segments]
    logs = concat_regions(
        [
            _log_product(step, read.all(requests), len(factors))
            for requests, factors in zip(segments, step.segments, strict=True)
        ]
    )
    exponent = _total_exponent(step, values, exponent)
    return logs if exponent is None else logs + exponent


def is_log(step: Step, values: Sequence[Value]) -> bool:
    """Whether a step multiplies nothing but logarithms, unit by unit."""
    return _are_logs(step, step.factors, values)


def _are_logs(step: Step, factors: Sequence[Gather], values: Sequence[Value]) -> bool:
    """Whether some factors are all logarithms."""
    return step.product != "kronecker" and all(
        values[source].is_log for gather in factors for source in gather.sources
    )


def is_linear(step: Step, values: Sequence[Value]) -> bool:
    """Whether no products of a step have to be brought to a largest unit."""
    return all(_is_linear(step, factors, values) for factors in step.segments)


def _is_linear(step: Step, factors: Sequence[Gather], values: Sequence[Value]) -> bool:
    """Whether this holds for a segment, whose partitions are multiplied alike."""
    if step.product == "hadamard" and len(factors) > _MAX_FACTORS:
        return False
    if _are_logs(step, factors, values):
        return _is_bare(step, factors, values)
    read = [values[source] for gather in factors for source in gather.sources]
    return all(not value.is_log or value.is_relative for value in read)


def multiplied(
    step: Step, values: Sequence[Value], exponent: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Units ``[..., J, U, N]`` of all partitions, and what was taken out of them.

    `exponent` ``[..., J, 1, N]`` is the logarithm of one more factor.
    """
    read = _Reader(values)
    segments = [_Segment(step, factors, values, read) for factors in step.segments]
    exponents: list[Tensor | None] = [None] * len(segments)
    total = _total_exponent(step, values, exponent)
    if total is not None:
        counts = [segment.count for segment in segments]
        exponents = [total] if len(counts) == 1 else tf.split(total, counts, axis=-3)
    results = [
        segment.product(read, exponent)
        for segment, exponent in zip(segments, exponents, strict=True)
    ]
    units = concat_regions([units for units, _ in results])
    if all(own is None for _, own in results):
        return units, None
    owns = [tf.zeros_like(u[..., :1, :]) if own is None else own for u, own in results]
    return units, concat_regions(owns)


class _Reader:
    """Reads each value once, whatever is asked of it: all requests, then all reads."""

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = values
        self.requests: dict[tuple[int, str], list[np.ndarray]] = {}
        self.found: dict[tuple[int, str], list[Tensor]] = {}

    def units(self, gather: Gather) -> _Request:
        """Asks for units; what is not there is one."""
        return self._ask(gather, "units", 1.0)

    def log(self, gather: Gather) -> _Request:
        """Asks for logarithms; of what is not there it is zero."""
        return self._ask(gather, "log", 0.0)

    def _ask(self, gather: Gather, kind: str, blank: float) -> _Request:
        if len(gather.sources) > 1:
            return _Request(gather, kind, blank)
        requests = self.requests.setdefault((gather.sources[0], kind), [])
        requests.append(gather.index)
        return _Request(gather, kind, blank, len(requests) - 1)

    def all(self, requests: Sequence[_Request]) -> list[Tensor]:
        """Returns what was asked for, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: _Request) -> Tensor:
        read = functools.partial(self._rows, request.kind)
        if request.number is None:
            return gather_regions(request.gather, read, request.blank)
        key = (request.gather.sources[0], request.kind)
        if key not in self.found:
            indices = self.requests[key]
            rows = read(key[0], np.concatenate(indices), request.blank)
            sizes = [len(index) for index in indices]
            self.found[key] = [rows] if len(sizes) == 1 else tf.split(rows, sizes, -3)
        return self.found[key][request.number]

    def _rows(self, kind: str, number: int, index: np.ndarray, blank: float) -> Tensor:
        value = self.values[number]
        read = value.logs_of if kind == "log" else value.units_of
        return read(index, blank)


@dataclass(frozen=True, eq=False)
class _Request:
    """What is asked of a `_Reader`; `number` counts the requests of one value."""

    gather: Gather
    kind: str
    blank: float
    number: int | None = None


class _Segment:
    """Partitions that have equally many factors of the same values."""

    def __init__(
        self,
        step: Step,
        factors: Sequence[Gather],
        values: Sequence[Value],
        read: _Reader,
    ) -> None:
        self.step, self.factors, self.values = step, factors, values
        self.count = len(factors[0].index)
        self.is_all_log = _are_logs(step, factors, values)
        self.is_log = self.is_all_log or (
            step.product == "hadamard" and len(factors) > _MAX_FACTORS
        )
        if self.is_log:
            self.requests = _ask_logs(step, factors, read)
        else:
            self.requests = [read.units(gather) for gather in factors]

    def product(
        self, read: _Reader, exponent: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Units ``[..., J, U, N]``, and what was taken out of them."""
        factors = read.all(self.requests)
        if self.is_log:
            logs = _log_product(self.step, factors, len(self.factors))
            if exponent is not None:
                logs += exponent
            if self.is_all_log and _is_bare(self.step, self.factors, self.values):
                return tf.exp(logs), None
            maximum = finite_max(logs, -2)
            return tf.exp(logs - maximum), maximum
        factors = _chosen(self.step, factors)
        if exponent is not None:  # on one factor: the others need no pass of their own
            factors[0] *= tf.exp(exponent)
        product = kronecker if self.step.product == "kronecker" else hadamard
        return product(factors), self._taken_out()

    def _taken_out(self) -> Tensor | None:
        """Returns what making units of logarithms took out."""
        owns = []
        for gather in self.factors:
            linear = {source: self.values[source].linear for source in gather.sources}
            if any(value.log_scale is not None for value in linear.values()):
                read = functools.partial(rows_of, linear, "log_scale")
                owns.append(gather_regions(gather, read))
        return log_hadamard(owns) if owns else None


def _total_exponent(
    step: Step, values: Sequence[Value], exponent: Tensor | None
) -> Tensor | None:
    """`exponent` less the logarithms of the factors' largest units."""
    rows, parents = [], []
    first = 0
    for factors in step.segments:
        count = len(factors[0].index)
        for gather in factors:
            linear = {source: values[source] for source in gather.sources}
            if any(value.log_max is not None for value in linear.values()):
                rows.append((gather, functools.partial(rows_of, linear, "log_max")))
                parents.append(np.arange(first, first + count))
        first += count
    if not rows:
        return exponent
    total = _sum_of_rows(rows, parents, first)
    return -total if exponent is None else exponent - total


def _sum_of_rows(rows: list, parents: list[np.ndarray], count: int) -> Tensor:
    """``[..., J, 1, N]``: sums the gathered rows of each parent."""
    if all(len(index) == count for index in parents):
        joined = _joined([gather for gather, _ in rows])
        if joined is not None:
            return _long_log_product(gather_regions(joined, rows[0][1]), len(rows))
        return log_hadamard([gather_regions(gather, read) for gather, read in rows])
    by_source: dict[tuple[int, ...], list[int]] = {}
    for number, (gather, _) in enumerate(rows):
        by_source.setdefault(gather.sources, []).append(number)
    parts, order = [], []
    for numbers in by_source.values():
        gathers = [rows[number][0] for number in numbers]
        index = np.concatenate([gather.index for gather in gathers])
        merged = Gather(gathers[0].sources, gathers[0].sizes, index)
        parts.append(gather_regions(merged, rows[numbers[0]][1]))
        order += [parents[number] for number in numbers]
    joined, parent = concat_regions(parts), np.concatenate(order)
    if len(parent) * count > MAX_MATRIX:
        rank = joined.shape.rank
        flat = tf.transpose(joined, [rank - 3, *range(rank - 3), rank - 2, rank - 1])
        summed = tf.math.unsorted_segment_sum(flat, parent, count)
        return tf.transpose(summed, [*range(1, rank - 2), 0, rank - 2, rank - 1])
    matrix = (parent == np.arange(count)[:, np.newaxis]).astype(np.float64)
    matrix = tf.constant(matrix, joined.dtype)
    summed = tf.linalg.matmul(matrix, tf.squeeze(joined, -2))
    return tf.expand_dims(summed, -2)


def _ask_logs(step: Step, factors: Sequence[Gather], read: _Reader) -> list[_Request]:
    """Asks for the factors of a segment: very many of them as one."""
    joined = None
    if step.product == "hadamard" and step.factor_units is None:
        joined = _joined(factors)
    return [read.log(gather) for gather in ([joined] if joined else factors)]


def _log_product(step: Step, logs: Sequence[Tensor], num_factors: int) -> Tensor:
    """Logarithms ``[..., J, U, N]`` of the products of a segment."""
    if step.product == "kronecker":
        return log_kronecker(logs)
    if len(logs) < num_factors:
        return _long_log_product(logs[0], num_factors)
    return log_hadamard(_chosen(step, logs))


def _joined(factors: Sequence[Gather]) -> Gather | None:
    """All factors, one after another, where there are so many that one sum is less."""
    sources = {gather.sources for gather in factors}
    if len(factors) <= _MAX_ADDED or len(sources) > 1 or len(*sources) > 1:
        return None
    first = factors[0]
    index = np.concatenate([gather.index for gather in factors])
    return Gather(first.sources, first.sizes, index)


def _long_log_product(joined: Tensor, num_factors: int) -> Tensor:
    """Sums very many logarithms that stand one after another."""
    return long_sum(split_partitions(joined, num_factors), axis=-4)


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
