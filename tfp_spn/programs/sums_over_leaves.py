"""Sums over leaf regions, which come before all products.

`tfp_spn.programs.by_value` evaluates them for values of the variables, and not for
examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from tfp_spn.programs.steps import Gather, Step

Scope = tuple[int, ...]
"""The variables of a region."""


class Cut(NamedTuple):
    """Steps in two parts, the upper of which reads the last value of the lower alone.

    Attributes:
        below: Sums over regions that have the variables of a leaf region.
        above: All other steps; that value is their value 0.
        root: The root of these.
        scopes: The variables of each region of that value.
    """

    below: tuple[Step, ...]
    above: tuple[Step, ...]
    root: Gather
    scopes: tuple[Scope, ...]


def cut_steps(steps: Sequence[Step], root: Gather, of_leaves: Sequence[Scope]) -> Cut:
    """Cuts as far up as it goes; `of_leaves` are the variables of the leaf regions."""
    scopes = [tuple(of_leaves)]
    for step in steps:
        of_step = _scopes_of(step, scopes)
        if of_step is None:
            break
        scopes.append(of_step)
    cut = len(scopes) - 1
    while cut > _first_read(steps[cut:], root):
        cut -= 1
    above = tuple(
        dataclasses.replace(step, factors=tuple(_shifted(g, cut) for g in step.factors))
        for step in steps[cut:]
    )
    return Cut(tuple(steps[:cut]), above, _shifted(root, cut), scopes[cut])


def _scopes_of(
    step: Step, scopes: Sequence[tuple[Scope, ...]]
) -> tuple[Scope, ...] | None:
    """The variables of each region of a step of sums over single regions, or `None`."""
    [factor, *others] = step.factors
    is_sum = step.sums is not None and not step.sums.always_exact
    is_known = all(0 <= value < len(scopes) for value, _ in factor.places)
    if others or not is_sum or step.factor_units is not None or not is_known:
        return None
    # All partitions of a region have its variables.
    first = factor.places[:: step.num_partitions]
    return tuple(scopes[value][region] for value, region in first)


def _first_read(steps: Sequence[Step], root: Gather) -> int:
    gathers = [root, *(gather for step in steps for gather in step.factors)]
    return min(source for gather in gathers for source in gather.sources)


def _shifted(gather: Gather, cut: int) -> Gather:
    sources = tuple(source - cut for source in gather.sources)
    return dataclasses.replace(gather, sources=sources)
