"""Several continuous mixtures, learned one after another, and their proportions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from tfp_spn.structure.continuous_decoder import ContinuousDecoder

_NUM_STEPS = 100
"""Of EM over proportions, which are few and need no more."""


@dataclass(frozen=True, eq=False)
class Member:
    """What one network has learned: a mixture of its own.

    Attributes:
        decoder: With the one network.
        points: ``[M, latent_dim]``.
        log_weights: ``[M]``, normalised.
        of_held_out: Log-likelihood of each held-out row.
        history: Mean of them after each epoch.
        is_interrupted: Whether learning was (Ctrl-C).
    """

    decoder: ContinuousDecoder
    points: npt.NDArray[np.float32]
    log_weights: npt.NDArray[np.float64]
    of_held_out: npt.NDArray[np.float64]
    history: tuple[float, ...]
    is_interrupted: bool


def learn_members(
    learn: Callable[[int, float], Member],
    most: int,
    ends: float,
    least_gain: float,
    sample_weight: npt.NDArray[np.float64],
) -> list[Member]:
    """Learns one after another, until one more makes held-out rows hardly likelier.

    Args:
        learn: Learns the member of a number, until an end on the clock.
        most: Members at most.
        ends: When the time is over. After the first, a member begins only if there is
            as much left as the longest took.
        least_gain: Nats per held-out row: a member that adds less is left out.
        sample_weight: Of the held-out rows.

    Returns:
        The members; after an interruption (Ctrl-C) those that were finished.
    """
    members: list[Member] = []
    longest, best = 0.0, -np.inf
    for number in range(most):
        start = time.perf_counter()
        if members and (members[-1].is_interrupted or start + longest > ends):
            break
        try:
            members.append(learn(number, ends))
        except KeyboardInterrupt:
            if not members:
                raise
            members[-1] = dataclasses.replace(members[-1], is_interrupted=True)
            break
        longest = max(longest, time.perf_counter() - start)
        _, value = log_proportions(members, sample_weight)
        if members[1:] and not value > best + least_gain:
            members.pop()
            break
        best = value
    return members


def seed_of_member(seed: int, number: int) -> int:
    """The first has the seed itself."""
    if number == 0:
        return seed
    return int(np.random.default_rng([seed, number]).integers(2**30))


def log_proportions(
    members: Sequence[Member], sample_weight: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """The proportions of members under which held-out rows are likeliest, by EM.

    Args:
        members: ``K`` of them.
        sample_weight: ``[N]``: how often each held-out row counts.

    Returns:
        ``[K]``, normalised, and the mean log-likelihood of the rows.
    """
    log_prob = np.stack([member.of_held_out for member in members], axis=-1)
    log_parts = np.full([len(members)], -np.log(len(members)))
    possible = np.isfinite(log_prob).any(axis=1)
    weight = sample_weight[possible]
    with np.errstate(divide="ignore"):
        for _ in range(_NUM_STEPS if weight.any() and len(members) > 1 else 0):
            joint = log_prob[possible] + log_parts
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            log_parts = np.log(weight @ share / weight.sum())
    value = sample_weight @ logsumexp(log_prob + log_parts, axis=1)
    return log_parts, float(value / sample_weight.sum())
