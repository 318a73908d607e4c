"""Dynamic circuits by enumeration: all paths of states and units, all sequences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Paths:
    """A small chain, path by path.

    Attributes:
        states: ``[P, T]``: the state of each step.
        units: ``[P, T]``: the unit of the interface behind each step.
        prob: ``[P]``: prior probability.
        root: ``[Q]``: the template's root that a state holds.
    """

    states: np.ndarray
    units: np.ndarray
    prob: np.ndarray
    root: np.ndarray

    def joint(self, emission: np.ndarray) -> np.ndarray:
        """``p(path, x)``, ``[..., P]``, of ``emission [..., T, K]``."""
        roots = self.root[self.states]  # [P, T]
        steps = np.arange(roots.shape[1])
        return self.prob * np.prod(emission[..., steps, roots], axis=-1)


def paths_of(
    initial: np.ndarray,
    transition: np.ndarray,
    interface: np.ndarray | None,
    num_roots: int,
    num_steps: int,
    sum_product: str | None,
) -> Paths:
    """All paths with a positive prior.

    Args:
        initial: ``[Q]``, probabilities.
        transition: ``[M, Q, S]``: of the next state, per column.
        interface: ``[M, S, Q]`` of ``"cp"``.
        num_roots: Roots of the template.
        num_steps: Steps.
        sum_product: How roots and units are multiplied.
    """
    num_states, num_units = transition.shape[-2:]
    state = np.arange(num_states)
    if sum_product == "tucker":
        root, unit_of = state // num_units, state % num_units
    else:
        root, unit_of = state, state
    links = np.zeros([num_units, num_states])
    if interface is None:
        links[unit_of, state] = 1.0

    def link(step: int) -> np.ndarray:
        if interface is None:
            return links
        return interface[min(step, len(interface) - 1)]

    rows = []
    pairs = list(itertools.product(range(num_states), range(num_units)))
    for path in itertools.product(pairs, repeat=num_steps):
        prob = initial[path[0][0]]
        for t, (q, z) in enumerate(path):
            prob *= link(t)[z, q]
            if t + 1 < num_steps:
                prob *= transition[min(t, len(transition) - 1)][path[t + 1][0], z]
        if prob > 0:
            rows.append((*zip(*path, strict=True), prob))
    states, units, probs = zip(*rows, strict=True)
    assert num_roots == root.max() + 1
    return Paths(np.array(states), np.array(units), np.array(probs), root)


def marginals(joint: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """``p(values[t] = s | x)``, ``[T, size]``, of ``joint [P]``."""
    onto = values[..., np.newaxis] == np.arange(size)  # [P, T, size]
    return np.tensordot(joint, onto, 1) / joint.sum()
