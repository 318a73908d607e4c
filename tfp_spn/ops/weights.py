"""From stored accumulators to normalised weights and log-weights.

Weights are normalised here, in the forward pass, never by a projection that someone may
forget: after any step of any optimizer the sums are still distributions.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.log_space import finite_max, logsumexp, safe_log
from tfp_spn.ops.sum_rules import SumRule


def normalized_log_weights(
    accumulators: Tensor, rule: SumRule, logspace: bool, axis: int = -2
) -> Tensor:
    """Log-weights that sum to one along `axis`.

    Args:
        accumulators: Stored weights, or their logarithms, unnormalised.
        rule: Learning rule. A rule of EM gives linear accumulators its counts in
            place of their gradient: per sum normalised ones under soft EM
            (`SumRule.normalizes_counts`), raw ones under hard EM.
        logspace: Whether `accumulators` are logarithms.
        axis: The axis of the children.

    Returns:
        ``log (a / sum a)``, same shape; ``-inf`` where the sum of all is zero. A
        negative linear accumulator counts as zero.
    """
    if logspace:
        log_total = logsumexp(accumulators, axis, keepdims=True)
        return accumulators - _finite(log_total)
    if rule.is_gradient and not rule.normalizes_counts:
        return _log_normalized(accumulators, axis)

    @tf.custom_gradient
    def forward(accumulators: Tensor) -> tuple[Tensor, Callable]:
        def backward(counts: Tensor) -> Tensor:
            if not rule.normalizes_counts:
                return counts
            return _shares(counts, axis)

        return _log_normalized(accumulators, axis), backward

    return forward(accumulators)


def normalized_weights(
    accumulators: Tensor, rule: SumRule, logspace: bool, axis: int = -2
) -> Tensor:
    """The exponential of `normalized_log_weights`, without the logarithm.

    Weights below the smallest normal number of their dtype may become zero.
    """

    @tf.custom_gradient
    def forward(accumulators: Tensor) -> tuple[Tensor, Callable]:
        def backward(flow: Tensor) -> Tensor:
            # Computed again from the argument, so that second derivatives see it (a
            # graph computes it once).
            weights = _linear_normalized(accumulators, logspace, axis)
            counts = weights * flow
            if not logspace and rule.normalizes_counts:
                return _shares(counts, axis)
            if not logspace and not rule.is_gradient:
                return counts
            total = tf.reduce_sum(counts, axis, keepdims=True)
            if logspace:
                return counts - weights * total
            positive = tf.maximum(accumulators, 0)
            scale = tf.reduce_sum(positive, axis, keepdims=True)
            gradient = tf.math.divide_no_nan(flow - total, scale)
            return tf.where(accumulators > 0, gradient, tf.zeros_like(gradient))

        return _linear_normalized(accumulators, logspace, axis), backward

    return forward(accumulators)


def counted(weights: Tensor, tap: Tensor, logspace: bool) -> Tensor:
    """`weights` unchanged; the gradient of `tap` is that of their logarithms.

    Args:
        weights: Normalised weights, or their logarithms if `logspace`.
        tap: Anything of the same shape; its values do not matter.
        logspace: Whether `weights` are logarithms.
    """

    @tf.custom_gradient
    def forward(weights: Tensor, tap: Tensor) -> tuple[Tensor, Callable]:
        def backward(flow: Tensor) -> tuple[Tensor, Tensor]:
            return flow, flow if logspace else weights * flow

        return tf.identity(weights), backward

    return forward(weights, tap)


def _shares(counts: Tensor, axis: int) -> Tensor:
    """Counts over their total along `axis`, which is that of all replicas."""
    total = tf.reduce_sum(counts, axis, keepdims=True)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
    return tf.math.divide_no_nan(counts, tf.abs(total))


def _linear_normalized(accumulators: Tensor, logspace: bool, axis: int) -> Tensor:
    if logspace:
        weights = tf.exp(accumulators - finite_max(accumulators, axis))
    else:
        weights = tf.maximum(accumulators, 0)
    total = tf.reduce_sum(weights, axis, keepdims=True)
    return weights * tf.math.reciprocal_no_nan(total)


def _log_normalized(accumulators: Tensor, axis: int) -> Tensor:
    accumulators = tf.maximum(accumulators, 0)
    total = tf.reduce_sum(accumulators, axis, keepdims=True)
    return safe_log(accumulators) - _finite(safe_log(total))


def _finite(log_total: Tensor) -> Tensor:
    """0 for ``-inf``: a sum all of whose weights are zero keeps them, and is zero."""
    return tf.where(log_total > -float("inf"), log_total, tf.zeros_like(log_total))
