"""Maximum likelihood of a logistic distribution whose draws were rounded.

With cuts ``t`` between neighbouring values, ``u = (t - m) / s`` and ``n`` examples of
each value,

    J = sum_t (n[below t] log sigmoid(u) + n[above t] log sigmoid(-u))
        + n[inner values] log(1 - exp(-1 / s))

which is concave in ``1 / s`` and ``m / s`` (Burridge 1981, for any log-concave
density), hence in the location alone and in ``1 / s`` at any fixed location.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import log1mexp

_NUM_SWEEPS = 4
_TINY = 1e-30


class Logistic(NamedTuple):
    """A logistic distribution.

    Attributes:
        location: Its mean.
        steepness: One over its scale.
    """

    location: Tensor
    steepness: Tensor

    def seen_from(self, old: Logistic, step: Tensor) -> Logistic:
        """Part of the way from `old`; on the way a concave objective never falls."""
        steepness = old.steepness + step * (self.steepness - old.steepness)
        scaled = old.location * old.steepness
        scaled += step * (self.location * self.steepness - scaled)
        return Logistic(scaled / steepness, steepness)


def maximized(
    start: Logistic,
    counts: Tensor,
    locations: tuple[float, float],
    steepnesses: tuple[float, float],
) -> Logistic:
    """A distribution under which the counts are at least as probable as at the start.

    Args:
        start: Where to begin, ``[...]``.
        counts: How often each of the values 0, 1, ... was seen, ``[..., G]``.
        locations: The least and the greatest location.
        steepnesses: The least and the greatest steepness.
    """
    location = tf.clip_by_value(start.location, *locations)
    steepness = tf.clip_by_value(start.steepness, *steepnesses)
    if counts.shape[-1] < 2:
        return Logistic(location, steepness)
    cuts = _Cuts(counts)
    for _ in range(_NUM_SWEEPS):
        step, sure = cuts.location_steps(location, steepness)
        tries = [location + part * step for part in (1.0, 0.5, 0.125)]
        tries = [tf.clip_by_value(t, *locations) for t in [*tries, location + sure]]
        location = cuts.best([(t, steepness) for t in [location, *tries]]).location
        step = cuts.log_steepness_step(location, steepness)
        tries = [steepness * tf.exp(part * step) for part in (1.0, 0.5, 0.125)]
        tries = [tf.clip_by_value(t, *steepnesses) for t in tries]
        steepness = cuts.best([(location, t) for t in [steepness, *tries]]).steepness
    return Logistic(location, steepness)


class _Cuts:
    """Counts on both sides of each cut.

    Args:
        counts: ``[..., G]``.
    """

    def __init__(self, counts: Tensor) -> None:
        self.below, self.above = counts[..., :-1], counts[..., 1:]
        self.both = self.below + self.above
        self.inner = tf.reduce_sum(counts[..., 1:-1], -1)
        self.places = tf.range(counts.shape[-1] - 1, dtype=counts.dtype) + 0.5

    def _scores(self, location: Tensor, steepness: Tensor) -> Tensor:
        return (self.places - location[..., tf.newaxis]) * steepness[..., tf.newaxis]

    def objective(self, location: Tensor, steepness: Tensor) -> Tensor:
        """``J [...]``."""
        scores = self._scores(location, steepness)
        log_probs = self.below * tf.math.log_sigmoid(scores)
        log_probs += self.above * tf.math.log_sigmoid(-scores)
        return tf.reduce_sum(log_probs, -1) + self.inner * log1mexp(-steepness)

    def best(self, tries: list[tuple[Tensor, Tensor]]) -> Logistic:
        """Whichever has the highest objective, the first of equals."""
        (location, steepness), *others = tries
        highest = self.objective(location, steepness)
        for candidate in others:
            value = self.objective(*candidate)
            better = value > highest
            location = tf.where(better, candidate[0], location)
            steepness = tf.where(better, candidate[1], steepness)
            highest = tf.maximum(highest, value)
        return Logistic(location, steepness)

    def location_steps(
        self, location: Tensor, steepness: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Newton's step, and one that cannot go too far, since curvature is bounded."""
        upper = tf.math.sigmoid(self._scores(location, steepness))
        slope = tf.reduce_sum(self.both * upper - self.below, -1)
        curvature = tf.reduce_sum(self.both * upper * (1 - upper), -1)
        most = tf.reduce_sum(self.both, -1) / 4
        newton, sure = (
            slope / (steepness * tf.maximum(value, _TINY))
            for value in (curvature, most)
        )
        return newton, sure

    def log_steepness_step(self, location: Tensor, steepness: Tensor) -> Tensor:
        """Newton's step in the logarithm, at most 3."""
        scores = self._scores(location, steepness)
        upper = tf.math.sigmoid(scores)
        slope = tf.reduce_sum((self.below - self.both * upper) * scores, -1)
        slope += self.inner * steepness / tf.math.expm1(steepness)
        curvature = tf.reduce_sum(
            self.both * upper * (1 - upper) * tf.square(scores), -1
        )
        half = steepness / 2
        curvature += self.inner * tf.square(half / tf.math.sinh(half))
        curvature += tf.maximum(-slope, 0)  # of the logarithm, where it is larger
        return tf.clip_by_value(slope / tf.maximum(curvature, _TINY), -3.0, 3.0)
