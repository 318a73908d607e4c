"""Values whose rank a graph does not know, as those of ``reduce_retracing=True``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.distributions._event import as_tensor

if TYPE_CHECKING:
    from tfp_spn.distributions._event import Event
    from tfp_spn.distributions.sum_product_network import SumProductNetwork


def of_any_rank(query: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorator of methods of a value and a mask, which may be of unknown rank.

    The axes before batch and event become one for the method, and are told apart again
    in its result.
    """

    @functools.wraps(query)
    def answer(
        self: SumProductNetwork,
        value: Tensor,
        observed: Tensor | None = None,
        **options: object,
    ) -> Tensor:
        if observed is not None and not tf.is_tensor(observed):
            observed = as_tensor(observed, "observed")
        known = [x for x in (value, observed) if x is not None]
        if all(x.shape.rank is not None for x in known):
            return query(self, value, observed, **options)
        event, mask = self._event.shape, self._event.mask_shape
        lead = tf.broadcast_dynamic_shape(
            _lead_of(value, event), self.batch_shape_tensor()
        )
        if observed is not None:
            lead = tf.broadcast_dynamic_shape(lead, _lead_of(observed, mask))
        lengths = options.get("lengths")
        if lengths is not None:
            lead = tf.broadcast_dynamic_shape(lead, tf.shape(lengths))
        rank = self.batch_shape.rank

        def merged(x: Tensor, inner: tuple[int, ...]) -> Tensor:
            x = tf.broadcast_to(x, tf.concat([lead, inner], 0))
            batch = tf.ensure_shape(lead[tf.size(lead) - rank :], [rank])
            return tf.reshape(x, tf.concat([[-1], batch, inner], 0))

        if lengths is not None:
            options["lengths"] = merged(lengths, ())
        observed = None if observed is None else merged(observed, mask)
        result = query(self, merged(value, event), observed, **options)
        rest = tf.shape(result)[1 + rank :]
        return tf.reshape(result, tf.concat([lead, rest], 0))

    return answer


def with_one_lead(
    event: Event, value: Tensor, observed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Value and mask, with one axis before the event if a rank is unknown."""
    if observed is not None:
        observed = tf.convert_to_tensor(observed)
    known = [x for x in (value, observed) if x is not None]
    if all(x.shape.rank is not None for x in known):
        return value, observed
    lead = _lead_of(value, event.shape)
    if observed is None:
        return tf.reshape(value, [-1, *event.shape]), None
    lead = tf.broadcast_dynamic_shape(lead, _lead_of(observed, event.mask_shape))
    value, observed = (
        tf.reshape(tf.broadcast_to(x, tf.concat([lead, inner], 0)), [-1, *inner])
        for x, inner in ((value, event.shape), (observed, event.mask_shape))
    )
    return value, observed


def _lead_of(x: Tensor, inner: tuple[int, ...]) -> Tensor:
    """The shape before the axes `inner`, which the tensor must have."""
    shape = tf.shape(x)
    place = tf.size(shape) - len(inner)
    fits = tf.debugging.assert_equal(
        shape[place:], inner, "tfp_spn: the last axes of a value are not the event's."
    )
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(shape[:place])
