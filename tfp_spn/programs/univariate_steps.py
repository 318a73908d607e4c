"""Sums over regions of a single variable, which come before all products.

`tfp_spn.programs.by_value` evaluates them for values of the variables, and not for
examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfp_spn.programs.steps import Gather, Step


class Cut(NamedTuple):
    """Steps in two parts, the upper of which reads the last value of the lower alone.

    Attributes:
        below: Sums over regions of single variables.
        above: All other steps; that value is their value 0.
        root: The root of these.
        variables: int ``[R]``: the variable of each region of that value.
    """

    below: tuple[Step, ...]
    above: tuple[Step, ...]
    root: Gather
    variables: np.ndarray


def cut_steps(steps: Sequence[Step], root: Gather, of_leaves: np.ndarray) -> Cut:
    """Cuts as far up as it goes; `of_leaves` are the variables of the leaf regions."""
    variables = [of_leaves]
    for step in steps:
        of_step = _variables_of(step, variables)
        if of_step is None:
            break
        variables.append(of_step)
    cut = len(variables) - 1
    while cut > _first_read(steps[cut:], root):
        cut -= 1
    above = tuple(
        dataclasses.replace(step, factors=tuple(_shifted(g, cut) for g in step.factors))
        for step in steps[cut:]
    )
    return Cut(tuple(steps[:cut]), above, _shifted(root, cut), variables[cut])


def _variables_of(step: Step, variables: Sequence[np.ndarray]) -> np.ndarray | None:
    """The variable of each region of a step, if all have a single one."""
    [factor, *others] = step.factors
    is_sum = step.sums is not None and not step.sums.always_exact
    is_known = all(0 <= value < len(variables) for value, _ in factor.places)
    if others or not is_sum or step.factor_units is not None or not is_known:
        return None
    found = np.array([variables[value][region] for value, region in factor.places])
    return found[:: step.num_partitions]


def _first_read(steps: Sequence[Step], root: Gather) -> int:
    gathers = [root, *(gather for step in steps for gather in step.factors)]
    return min(source for gather in gathers for source in gather.sources)


def _shifted(gather: Gather, cut: int) -> Gather:
    sources = tuple(source - cut for source in gather.sources)
    return dataclasses.replace(gather, sources=sources)
