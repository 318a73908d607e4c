"""From stored accumulators to normalised weights and log-weights.

Weights are normalised here, in the forward pass, never by a projection that someone may
forget: after any step of any optimizer the sums are still distributions.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.custom_gradient import custom_gradient
from tfp_spn.ops.log_space import finite_max, logsumexp, safe_log
from tfp_spn.ops.sum_rules import SumRule


def normalized_log_weights(
    accumulators: Tensor, rule: SumRule, logspace: bool, axis: int = -2
) -> Tensor:
    """Log-weights that sum to one along `axis`.

    The gradient that arrives here is the count of each weight, and so is what a rule of
    EM hands to linear accumulators in place of their gradient: normalised per sum under
    soft EM (`SumRule.normalizes_counts`), raw under hard EM.

    Args:
        accumulators: Stored weights, or their logarithms, unnormalised.
        rule: Learning rule.
        logspace: Whether `accumulators` are logarithms.
        axis: The axis of the children.

    Returns:
        ``log (a / sum a)``, same shape. A negative linear accumulator counts as zero,
        and where none is positive, as an optimizer may leave them, all weights are
        equal. ``-inf`` where all logarithms are.
    """

    @custom_gradient
    def forward(accumulators: Tensor) -> tuple[Tensor, Callable]:
        def backward(counts: Tensor) -> Tensor:
            if logspace:
                weights = normalized_weights(accumulators, logspace, axis)
                return counts - weights * tf.reduce_sum(counts, axis, keepdims=True)
            if rule.hands_back_counts(logspace):
                return _shares(counts, axis) if rule.normalizes_counts else counts
            return _linear_gradient(counts, accumulators, axis)

        return _log_normalized(accumulators, logspace, axis), backward

    return forward(accumulators)


def normalized_weights(accumulators: Tensor, logspace: bool, axis: int = -2) -> Tensor:
    """The exponential of `normalized_log_weights`, without the logarithm.

    Weights below the smallest normal number of their dtype may become zero.
    """
    if logspace:
        weights = tf.exp(accumulators - finite_max(accumulators, axis))
    else:
        weights = _nonnegative(accumulators, axis)
    total = tf.reduce_sum(weights, axis, keepdims=True)
    return weights * tf.math.reciprocal_no_nan(total)


def _log_normalized(accumulators: Tensor, logspace: bool, axis: int) -> Tensor:
    """Subtracts the logarithm of the total; where that is zero, nothing."""
    if logspace:
        log_total = logsumexp(accumulators, axis, keepdims=True)
    else:
        accumulators = _nonnegative(accumulators, axis)
        log_total = safe_log(tf.reduce_sum(accumulators, axis, keepdims=True))
        accumulators = safe_log(accumulators)
    # A sum all of whose log-weights are -inf keeps them, and is zero.
    finite = tf.where(log_total > -float("inf"), log_total, tf.zeros_like(log_total))
    return accumulators - finite


def _nonnegative(accumulators: Tensor, axis: int) -> Tensor:
    """Stored weights, those below zero raised to it; equal ones if none is above."""
    positive = tf.maximum(accumulators, 0)
    total = tf.reduce_sum(positive, axis, keepdims=True)
    return positive + tf.where(total > 0, tf.zeros_like(total), tf.ones_like(total))


def _linear_gradient(counts: Tensor, accumulators: Tensor, axis: int) -> Tensor:
    """The derivative with respect to stored weights, from that of log-weights."""
    positive = tf.maximum(accumulators, 0)
    mean = tf.math.divide_no_nan(
        tf.reduce_sum(counts, axis, keepdims=True),
        tf.reduce_sum(positive, axis, keepdims=True),
    )
    gradient = tf.math.divide_no_nan(counts, positive) - mean
    return tf.where(accumulators > 0, gradient, tf.zeros_like(gradient))


def _shares(counts: Tensor, axis: int) -> Tensor:
    """Counts over their total along `axis`, which is that of all replicas."""
    total = tf.reduce_sum(counts, axis, keepdims=True)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
    return tf.math.divide_no_nan(counts, tf.abs(total))
