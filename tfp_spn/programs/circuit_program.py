"""Circuits over vectors or images: a folded program and every query of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tfp_spn._typing import Expectations, Tensor
from tfp_spn.layers.leaves.evidence import Evidence, to_evidence
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.programs import draws, expectations, moments
from tfp_spn.programs.blocks import block_size, in_blocks
from tfp_spn.programs.evaluation import log_joint_of
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.tables import Tables


@dataclass(frozen=True, eq=False)
class CircuitProgram(FoldedProgram):
    """A `Program` whose methods the modules of this package are about."""

    @functools.cached_property
    def max_examples(self) -> int:
        """How many examples queries evaluate at once."""
        return block_size(self)

    def evidence(
        self,
        value: Tensor,
        observed: Tensor | None = None,
        batch_rank: int = 0,
        is_flat: bool = False,
        bounded: Tensor | None = None,
    ) -> Evidence:
        """See `Program.evidence`."""
        event_ndims = self.flat_event_ndims if is_flat else len(self.event_shape)
        return to_evidence(value, observed, event_ndims, batch_rank, bounded=bounded)

    def log_joint(
        self, tables: Tables, evidence: Evidence, is_whole: bool = False
    ) -> Tensor:
        """See `Program.log_joint`."""
        if is_whole:
            return log_joint_of(self, tables, evidence)

        def of_block(tables: Tables, block: Evidence, _: Tensor) -> Tensor:
            return log_joint_of(self, tables, block)

        return in_blocks(of_block, self, tables, evidence, self.dtype)

    def can_be(self, tables: Tables, evidence: Evidence, part: LeafPart) -> Tensor:
        """See `Program.can_be`."""
        return part.can_be(tables.leaf, evidence)

    def mean_and_variance(
        self, tables: Tables, evidence: Evidence | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Program.mean_and_variance`."""
        return moments.mean_and_variance(self, tables, evidence)

    def draw(
        self, tables: Tables, n: Tensor, seed: Tensor, evidence: Evidence | None = None
    ) -> Tensor:
        """See `Program.draw`."""
        return draws.sample(self, tables, n, seed, evidence)

    def best(self, tables: Tables, evidence: Evidence | None = None) -> Tensor:
        """See `Program.best`."""
        return draws.mode(self, tables, evidence)

    def expectations(
        self,
        tables: Tables,
        evidence: Evidence,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
        inverse_temperature: Tensor | None = None,
    ) -> tuple[Expectations, Tensor]:
        """See `Program.expectations`, and `tfp_spn.programs.expectations`."""
        return expectations.of_examples(
            self, tables, evidence, weights, labels, inverse_temperature
        )
