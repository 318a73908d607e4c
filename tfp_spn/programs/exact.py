"""The exact passes as functions that all queries of one structure call.

They are needed for one batch in a million, so that they must not make every graph
larger: a graph has one call of the function, in the branch of a conditional.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfp_spn._typing import Params, Tensor
from tfp_spn.ops.certainty import Certainty
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.folded_program import FoldedProgram, by_block
from tfp_spn.programs.log_pass import log_downward, log_upward
from tfp_spn.programs.tables import Tables


def exactly(
    program: FoldedProgram,
    body: Callable,
    tables: Tables,
    leaves: Tensor,
    *rest: Tensor,
) -> Any:
    """A body of this module for leaf values, and flows of the roots."""
    arguments = leaves, tables.log_weights, *rest
    return program.traces.call(body, "exact", *arguments, noinline=True)


def exact_roots(
    program: FoldedProgram, _: Certainty, leaves: Tensor, log_weights: Params
) -> tuple[Tensor, Tensor]:
    """Log-values of the roots ``[..., C, N]`` and their offset."""
    done = log_upward(*_in_scans(program, leaves, log_weights), leaves)
    return done.roots.relative, done.roots.offset


def exact_inputs(
    program: FoldedProgram, _: Certainty, leaves: Tensor, log_weights: Params
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Log-values of the roots, their offset, and what all sums range over."""
    done = log_upward(program, program.tables_of_sums(log_weights), leaves)
    return done.roots.relative, done.roots.offset, done.inputs


@dataclass(frozen=True)
class ExactFlows:
    """Flows of leaves and counts of weights, given the flow of the roots.

    Attributes:
        rule: Learning rule in place of the steps' own.
    """

    rule: SumRule | None

    def __call__(
        self,
        program: FoldedProgram,
        _: Certainty,
        leaves: Tensor,
        log_weights: Params,
        flow: Tensor,
    ) -> tuple[Tensor, Params]:
        """``[..., R, K, N]`` and, by parameter, ``[..., regions, I, O]``."""
        program, tables = _in_scans(program, leaves, log_weights)
        done = log_upward(program, tables, leaves)
        of_leaves, counts = log_downward(program, tables, done, flow, self.rule)
        return of_leaves, by_block(program.steps, counts)


def _in_scans(
    program: FoldedProgram, leaves: Tensor, log_weights: Params
) -> tuple[FoldedProgram, Tables]:
    """Returns the program with long chains as loops, and tables of its sums alone."""
    return program.in_scans(program.tables_of_sums(log_weights), leaves)
