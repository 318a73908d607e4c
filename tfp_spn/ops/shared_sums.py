"""Exact sums as functions that all steps of equal shapes call.

They take long to trace and to optimise, and an exact pass has one for each step: as a
function each is traced once, and a step is a call.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.shared_functions import shared_function
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weighted_sum import is_small, log_sums, sum_flows


def shared_log_sums(log_x: Tensor, log_w: Tensor) -> Tensor:
    """`log_sums` that are exact; no gradient is asked for."""
    if tf.executing_eagerly():
        return log_sums(log_x, log_w, exact=True)
    log_y = shared_function(_sums, *_specs(log_x, log_w))(log_x, log_w)
    lead = tf.broadcast_static_shape(log_x.shape[:-2], log_w.shape[:-2])
    return tf.ensure_shape(log_y, [*lead, log_w.shape[-1], log_x.shape[-1]])


def shared_sum_flows(
    flow: Tensor, log_x: Tensor, log_w: Tensor, log_y: Tensor, rule: SumRule
) -> tuple[Tensor, Tensor]:
    """`sum_flows` that are exact; no gradient is asked for."""
    if tf.executing_eagerly():
        return _flows(log_x, log_w, flow, log_y, rule)
    specs = _specs(log_x, log_w, flow, log_y)
    function = shared_function(_flows, *specs, rule)
    products, counts = function(log_x, log_w, flow, log_y)
    lead = tf.broadcast_static_shape(log_x.shape[:-2], log_w.shape[:-2])
    return (
        tf.ensure_shape(products, [*lead, *log_x.shape[-2:]]),
        tf.ensure_shape(counts, [*lead, *log_w.shape[-2:]]),
    )


def _sums(log_x: Tensor, log_w: Tensor) -> Tensor:
    return log_sums(log_x, log_w, exact=True)


def _flows(
    log_x: Tensor, log_w: Tensor, flow: Tensor, log_y: Tensor, rule: SumRule
) -> tuple[Tensor, Tensor]:
    return sum_flows(flow, log_x, log_w, log_y, rule, exact=True)


def _specs(log_x: Tensor, log_w: Tensor, *units: Tensor) -> list[tf.TensorSpec]:
    """Shapes for any number of examples, and of regions unless these are few."""
    few = is_small(log_x, log_w)
    specs = []
    for value in (log_x, log_w, *units):
        *lead, size, last = value.shape.as_list()
        lead = [regions if few else None for regions in lead]
        specs.append(
            tf.TensorSpec([*lead, size, last if value is log_w else None], value.dtype)
        )
    return specs
