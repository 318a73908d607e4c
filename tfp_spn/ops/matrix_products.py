"""The matrix product of each region, where weights or units may be of a batch.

Weights that a whole batch shares are not copied for its members: the batch joins the
examples, and the product is as large, and as fast, as one over so many examples. The
gradient of shared weights then is one product as well, and never of the batch's size.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import merge_axes, reshape_axes
from tfp_spn.ops.long_sums import in_parts

_MAX_UNITS = 512
"""So many a matrix product adds without losing digits."""


def weighted_units(
    weights: Tensor, units: Tensor, folded: Tensor | None = None
) -> Tensor:
    """``y[r, o, n] = sum_i weights[r, i, o] units[r, i, n]``.

    Args:
        weights: ``[..., R, I, O]``; ``R`` may be 1.
        units: ``[..., R, I, N]``; leading axes broadcast with those of `weights`.
        folded: If the examples of `units` are those of ``fold_batch(folded)``, that.

    Returns:
        ``[..., R, O, N]``, folded as `units` are.
    """
    if folded is not None and weights.shape.rank > 3:
        return fold_batch(weighted_units(weights, unfold_batch(units, folded)))
    weights = _without_batch_of_one(weights, units.shape.rank)
    if weights.shape.rank == 3 and units.shape.rank > 3:
        product = tf.matmul(weights, fold_batch(units), transpose_a=True)
        return unfold_batch(product, units)
    if weights.shape.rank > 3 and units.shape[-1] == 1 and weights.shape[-2] == 1:
        return tf.linalg.matrix_transpose(weights) * units
    return tf.matmul(weights, units, transpose_a=True)


def long_product(weights: Tensor, units: Tensor) -> Tensor:
    """`weighted_units` over thousands of units, whose parts are added in float64.

    Args:
        weights: ``[..., R, I, O]``.
        units: ``[..., R, I, N]``.
    """
    if weights.shape[-2] <= _MAX_UNITS:
        return weighted_units(weights, units)
    num_regions = weights.shape[-3]
    parts = [merge_axes(in_parts(v, -2), -4, -2) for v in (weights, units)]
    product = weighted_units(*parts)  # [..., R * parts, O, N]
    sizes = [num_regions, product.shape[-3] // num_regions]
    product = reshape_axes(product, -3, -2, sizes)
    total = tf.reduce_sum(tf.cast(product, tf.float64), axis=-3)
    return tf.cast(total, product.dtype)


def unit_gradient(
    weights: Tensor, flow: Tensor, folded: Tensor | None = None
) -> Tensor:
    """``g[r, i, n] = sum_o weights[r, i, o] flow[r, o, n]``.

    Args:
        weights: ``[..., R, I, O]``.
        flow: ``[..., R, O, N]``: of ``weighted_units(weights, units)``.
        folded: As in `weighted_units`.
    """
    return weighted_units(tf.linalg.matrix_transpose(weights), flow, folded)


def weight_gradient(
    units: Tensor, flow: Tensor, weights: Tensor, folded: Tensor | None = None
) -> Tensor:
    """``g[r, i, o] = sum_n units[r, i, n] flow[r, o, n]``.

    Args:
        units: ``[..., R, I, N]``.
        flow: ``[..., R, O, N]``: of ``weighted_units(weights, units)``.
        weights: ``[..., R, I, O]``.
        folded: As in `weighted_units`.

    Returns:
        ``[..., R, I, O]``: summed over the batch if `weights` have none and `units`
        have it all; else to be summed to the shape of `weights`.
    """
    if folded is not None and weights.shape.rank > 3:
        units, flow = unfold_batch(units, folded), unfold_batch(flow, folded)
    is_shared = weights.shape.rank == 3 and units.shape.rank > 3
    same_batch = units.shape[:-3] == flow.shape[:-3]
    if is_shared and same_batch and units.shape[:-3].is_fully_defined():
        units, flow = fold_batch(units), fold_batch(flow)
    return tf.matmul(units, flow, transpose_b=True)


def _without_batch_of_one(weights: Tensor, rank: int) -> Tensor:
    batch = weights.shape[:-3]
    if batch.rank and batch.is_fully_defined() and batch.num_elements() == 1:
        return weights if weights.shape.rank > rank else weights[(0,) * batch.rank]
    return weights


def fold_batch(units: Tensor) -> Tensor:
    """``[..., R, K, N]`` to ``[R, K, ... * N]``."""
    rank = units.shape.rank
    order = [rank - 3, rank - 2, *range(rank - 3), rank - 1]
    return merge_axes(tf.transpose(units, order), 2, 0)


def unfold_batch(folded: Tensor, units: Tensor) -> Tensor:
    """Undoes `fold_batch` of `units`, with the ``R`` and ``K`` of `folded`."""
    rank = units.shape.rank
    lead = tf.concat([tf.shape(units)[:-3], tf.shape(units)[-1:]], 0)
    value = tf.reshape(folded, tf.concat([tf.shape(folded)[:2], lead], 0))
    value = tf.transpose(value, [*range(2, rank - 1), 0, 1, rank - 1])
    static = [*units.shape[:-3], *folded.shape[:2], units.shape[-1]]
    return tf.ensure_shape(value, static)
