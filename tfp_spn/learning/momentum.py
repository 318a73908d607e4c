"""Momentum: expected counts averaged over the last batches."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn._typing import Expectations, Params
from tfp_spn.learning.adjustment import Adjustment, Update

_AVERAGED = ("sums", "leaf", "num_examples")


@dataclass(frozen=True)
class Momentum(Adjustment):
    """An exponential average of expected counts, with bias correction as in Adam.

        m <- momentum m + (1 - momentum) counts,   counts <- m / (1 - momentum^t)

    Args:
        momentum: From 0 (plain) to below 1.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        read_fields(self, momentum=a_rate(least=0, below=1))

    def slots(self, structure: Expectations) -> Params:
        """The averages, and the number of steps."""
        kept = {name: structure[name] for name in _AVERAGED}
        specs = tf.nest.flatten(kept)
        averages = {
            f"average_{n}": tf.zeros(spec.shape, spec.dtype)
            for n, spec in enumerate(specs)
        }
        return {"steps": tf.zeros([], tf.float64), **averages}

    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        """The averages in place of a batch's own."""
        kept = {name: expectations[name] for name in _AVERAGED}
        steps = update.slots["steps"] + 1
        update.changes["steps"] = steps
        correction = 1 - tf.pow(tf.constant(self.momentum, tf.float64), steps)
        result = []
        for number, value in enumerate(tf.nest.flatten(kept)):
            old = tf.cast(update.slots[f"average_{number}"], value.dtype)
            new = self.momentum * old + (1 - self.momentum) * value
            dtype = update.slots[f"average_{number}"].dtype
            update.changes[f"average_{number}"] = tf.cast(new, dtype)
            result.append(new / tf.cast(correction, value.dtype))
        return {**expectations, **tf.nest.pack_sequence_as(kept, result)}
