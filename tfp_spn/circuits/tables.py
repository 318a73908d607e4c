"""Parameters of a circuit made ready for evaluation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.certainty import CHECKED, Certainty

Slice = tuple[str, int, int]
"""A parameter, and which of its regions a step has."""


@dataclass(frozen=True, eq=False)
class Tables:
    """Normalised weights and canonical leaf parameters.

    Attributes:
        leaf: Canonical leaf parameters.
        log_weights: Normalised log-weights ``[..., regions, I, O]`` by parameter, to
            which gradients flow: expected counts.
        weights: Their exponentials, constants.
        log_prior: Log-probabilities ``[..., C]`` of the classes, or `None`.
        slices: What each step has of them; `None` of one without sums.
        certainty: How passes make sure that no digit is lost.
    """

    leaf: Params
    log_weights: Params
    weights: Params
    log_prior: Tensor | None
    slices: tuple[Slice | None, ...]
    certainty: Certainty = CHECKED

    def weights_of(self, number: int) -> Tensor | None:
        """Normalised weights ``[..., R, I, O]`` of a step; ``R`` is 1 if shared."""
        return self._of_step(self.weights, number)

    def log_weights_of(self, number: int) -> Tensor | None:
        """Normalised log-weights ``[..., R, I, O]`` of a step."""
        return self._of_step(self.log_weights, number)

    def _of_step(self, values: Params, number: int) -> Tensor | None:
        found = self.slices[number]
        if found is None:
            return None
        name, start, stop = found
        value = values[name]
        if (start, stop) == (0, value.shape[-3]):
            return value
        return value[..., start:stop, :, :]

    def batch_shape(self, leaves: Tensor) -> Tensor:
        """Batch of weights and leaf values ``[..., R, K, N]``, broadcast: an int32."""
        shape = tf.shape(leaves)[:-3]
        for value in self.weights.values():
            if value.shape.rank > 3:
                shape = tf.broadcast_dynamic_shape(shape, tf.shape(value)[:-3])
        if self.log_prior is not None and self.log_prior.shape.rank > 1:
            batch = tf.shape(self.log_prior)[:-1]
            shape = tf.broadcast_dynamic_shape(shape, batch)
        return shape

    def replaced(self, **changes: object) -> Tables:
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
