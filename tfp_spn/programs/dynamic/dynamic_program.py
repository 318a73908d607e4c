"""Circuits over sequences: a template repeated in time, and every query of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Expectations, Tensor
from tfp_spn.layers.leaves.evidence import Evidence, nothing_known, to_evidence
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.dynamic import draws, expectations, moments
from tfp_spn.programs.dynamic.evaluation import log_prob_of_evidence, step_evidence
from tfp_spn.programs.dynamic.structure import (
    DynamicStructure,
    DynamicTables,
    SumProduct,
)


@dataclass(frozen=True, eq=False)
class DynamicProgram(DynamicStructure):
    """A `Program` of sequences. Evidence is `Evidence` with an axis of steps."""

    @property
    def max_examples(self) -> int:
        """How many sequences queries evaluate at once."""
        return max(1, self.step.max_examples // self.num_steps)

    def evidence(
        self,
        value: Tensor,
        observed: Tensor | None = None,
        batch_rank: int = 0,
        is_flat: bool = False,
        bounded: Tensor | None = None,
    ) -> Evidence:
        """See `Program.evidence`."""
        step = self.step
        ndims = step.flat_event_ndims if is_flat else len(step.event_shape)
        return to_evidence(value, observed, ndims, batch_rank, 1, bounded)

    def log_joint(
        self, tables: DynamicTables, evidence: Evidence, is_whole: bool = False
    ) -> Tensor:
        """See `Program.log_joint`."""
        del is_whole  # the template is evaluated in blocks if the steps are many
        return log_prob_of_evidence(self, tables, evidence)[..., tf.newaxis, :]

    def can_be(
        self, tables: DynamicTables, evidence: Evidence, part: LeafPart
    ) -> Tensor:
        """See `Program.can_be`."""
        steps = step_evidence(self, evidence)
        possible = part.can_be(tables.step.leaf, steps)[..., tf.newaxis, :]
        return moments.examples_of_steps(self, possible)[..., 0, :]

    def mean_and_variance(
        self, tables: DynamicTables, evidence: Evidence | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Program.mean_and_variance`."""
        return moments.mean_and_variance(self, tables, self._given(tables, evidence))

    def draw(
        self,
        tables: DynamicTables,
        n: Tensor,
        seed: Tensor,
        evidence: Evidence | None = None,
    ) -> Tensor:
        """See `Program.draw`."""
        given, has_evidence = self._given(tables, evidence), evidence is not None
        return draws.sample(self, tables, n, seed, given, has_evidence)

    def best(self, tables: DynamicTables, evidence: Evidence | None = None) -> Tensor:
        """See `Program.best`."""
        return draws.mode(self, tables, self._given(tables, evidence))

    def expectations(
        self,
        tables: DynamicTables,
        evidence: Evidence,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Expectations, Tensor]:
        """See `Program.expectations`; a dynamic circuit has one class."""
        del labels
        return expectations.of_sequences(self, tables, evidence, weights)

    def nothing_known(self, batch_rank: int) -> Evidence:
        """Evidence of one sequence of which nothing is known."""
        return nothing_known(
            self.step.layout, batch_rank, self.dtype, num_steps=self.num_steps
        )

    def _given(self, tables: DynamicTables, evidence: Evidence | None) -> Evidence:
        """Returns the evidence; by default nothing is known."""
        return self.nothing_known(tables.batch_rank) if evidence is None else evidence


def dynamic_program(
    step: CircuitProgram,
    num_steps: int,
    num_interfaces: int,
    sum_product: SumProduct | None,
    rule: SumRule,
    is_stationary: bool,
) -> DynamicProgram:
    """The program of a template, whose class prior is dropped."""
    step = dataclasses.replace(step, prior=None)
    return DynamicProgram(
        step, num_steps, num_interfaces, sum_product, rule, is_stationary
    )
