"""Parameters of a circuit made ready for evaluation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.certainty import CHECKED, Certainty

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
        batch_rank: Number of leading batch dimensions ``P`` of the parameters.
        batch: int32: these dimensions; `None` if there are none.
        certainty: How passes make sure that no digit is lost.
    """

    leaf: Params
    log_weights: Params
    weights: Params
    log_prior: Tensor | None
    slices: tuple[Slice | None, ...]
    batch_rank: int = 0
    batch: Tensor | None = None
    certainty: Certainty = CHECKED

    def in_this_graph(self) -> Tables:
        """The same, with weights that the present graph has read itself.

        The gradient of a conditional knows tensors of its branch, and of the graph
        around that, but none from further out.
        """
        if tf.executing_eagerly():
            return self
        log_weights, weights = tf.nest.map_structure(
            tf.identity, (self.log_weights, self.weights)
        )
        return self.replaced(log_weights=log_weights, weights=weights)

    def weights_of(self, number: int) -> Tensor | None:
        """Normalised weights ``[..., R, I, O]`` of a step; ``R`` is 1 if shared."""
        return self._of_step(self.weights, number)

    def log_weights_of(self, number: int) -> Tensor | None:
        """Normalised log-weights ``[..., R, I, O]`` of a step."""
        return self._of_step(self.log_weights, number)

    def _of_step(self, values: Params, number: int) -> Tensor | None:
        """Returns the part of a block that belongs to a step."""
        found = self.slices[number]
        if found is None:
            return None
        name, start, stop = found
        value = values[name]
        if (start, stop) == (0, value.shape[-3]):
            return value
        return value[..., start:stop, :, :]

    def batch_shape(self, value: Tensor | None = None) -> Tensor:
        """Batch ``P`` of all parameters, and of ``value [..., V, D, N]``: an int32."""
        shape = tf.zeros([0], tf.int32) if value is None else tf.shape(value)[:-3]
        if self.batch is None:
            return shape
        return tf.broadcast_dynamic_shape(shape, self.batch)

    def batch_shape_above(self, leaves: Tensor) -> Tensor:
        """Batch of weights and of leaf values ``[..., R, K, N]`` together."""
        shape = tf.shape(leaves)[:-3]
        for value in self.weights.values():
            if value.shape.rank > 3:
                shape = tf.broadcast_dynamic_shape(shape, tf.shape(value)[:-3])
        if self.log_prior is not None and self.log_prior.shape.rank > 1:
            batch = tf.shape(self.log_prior)[:-1]
            shape = tf.broadcast_dynamic_shape(shape, batch)
        return shape

    def restored(
        self, value: Tensor, event_ndims: int, evidence: Evidence | None
    ) -> Tensor:
        """``P' + event + [N]`` to ``P + event``, or ``S + P + event`` of evidence."""
        if self.batch_rank:
            shape = self.batch_shape(None if evidence is None else evidence.x)
            event = tf.shape(value)[value.shape.rank - event_ndims - 1 :]
            value = tf.broadcast_to(value, tf.concat([shape, event], 0))
        return value[..., 0] if evidence is None else evidence.restore(value)

    def replaced(self, **changes: object) -> Tables:
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def batch_of(params: Params, ndims: dict[str, int]) -> tuple[int, Tensor | None]:
    """Rank and shape of the leading dimensions of parameters, broadcast.

    Args:
        params: Parameters by name.
        ndims: Rank of each one without batch.
    """
    rank = max([0, *(params[name].shape.rank - n for name, n in ndims.items())])
    if not rank:
        return 0, None
    shape = tf.zeros([0], tf.int32)
    for name, n in ndims.items():
        value = params[name]
        batch = tf.shape(value)[: value.shape.rank - n]
        shape = tf.broadcast_dynamic_shape(shape, batch)
    return rank, shape
