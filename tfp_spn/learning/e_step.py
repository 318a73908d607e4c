"""E-steps: plain ones, tempered, with dropout, with statistics of columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.expectations import to_float64
from tfp_spn.ops.certainty import Certainty
from tfp_spn.programs.tables import Tables

if TYPE_CHECKING:
    from tfp_spn.programs.program import Program

MARGINAL = "marginal"
"""Leaf statistics of all examples alike, among expectations."""


@dataclass(frozen=True)
class Warming:
    """An inverse temperature that rises linearly to one.

    Attributes:
        start: The first one, from 0 to 1.
        num_updates: The update that has one.
    """

    start: float
    num_updates: int

    def __call__(self, number: int) -> float:
        """Of an update, from 0."""
        part = number / self.num_updates if self.num_updates else 1.0
        return min(1.0, self.start + (1.0 - self.start) * part)


@dataclass(frozen=True)
class EStep:
    """What the E-step of a batch is to do besides.

    Attributes:
        with_marginals: Whether to add leaf statistics in which each component gets
            every example whole: what the columns look like.
        sum_dropout: Probability of each child of a region's sums to be left out, for
            the whole batch; one of them always stays.
        warming: The inverse temperature: posteriors are those of ``p(x, z)^t``.
    """

    with_marginals: bool = False
    sum_dropout: float = 0.0
    warming: Warming | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to do."""
        return self == EStep()

    def check(self, program: Program) -> None:
        """Raises a `ValueError` if the circuit is over sequences."""
        if not self.is_plain and program.chain_specs:
            raise ValueError(
                "tfp_spn.learning: sequences have a plain E-step only, received "
                f"{self!r}, expected none of it. Leave out the regularization, or the "
                "method that changes the E-step."
            )

    def at(self, number: int) -> EStep:
        """The E-step of an update: not tempered once it is warm."""
        if self.warming is None or self.warming(number) < 1:
            return self
        return replace(self, warming=None)

    def numbers(self, number: int) -> list[float]:
        """What `__call__` needs to know of an update."""
        found = [float(number)] if self.sum_dropout else []
        return found if self.warming is None else [*found, self.warming(number)]

    def __call__(
        self,
        program: Program,
        certainty: Certainty,
        params: Params,
        batch: Batch,
        *numbers: Tensor,
    ) -> Expectations:
        """Expectations in double precision."""
        tables = program.tables(params, certainty)
        evidence = batch.evidence(program)
        rest = list(numbers)
        if self.sum_dropout:
            tables = self._dropped(tables, rest.pop(0))
        options = {}
        if self.warming is not None:
            options["inverse_temperature"] = tf.cast(rest.pop(0), program.dtype)
        found, _ = program.expectations(
            tables, evidence, batch.weights, batch.labels, **options
        )
        if self.with_marginals:
            step = program.step
            shape = [step.layout.num_regions, step.leaf.num_components, 1]
            flow = tf.ones(shape, program.dtype) * batch.weights
            found[MARGINAL] = step.leaf.expected_statistics(
                tables.leaf, evidence.x, evidence.observed, flow, step.layout
            )
        return to_float64(found)

    def _dropped(self, tables: Tables, number: Tensor) -> Tables:
        seed = tf.stack([tf.cast(number, tf.int32), 0])
        log_weights, weights = {}, {}
        for place, (name, value) in enumerate(tables.log_weights.items()):
            shape = [*value.shape[:-1], 1]
            noise = tf.random.stateless_uniform(shape, seed + [0, place + 1])
            keep = noise >= self.sum_dropout
            keep |= tf.equal(noise, tf.reduce_max(noise, axis=-2, keepdims=True))
            log_weights[name] = tf.where(keep, value, -np.inf)
            weights[name] = tf.where(keep, tables.weights[name], 0)
        return tables.replaced(log_weights=log_weights, weights=weights)


PLAIN = EStep()
"""Nothing besides."""
