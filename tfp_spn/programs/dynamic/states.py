"""Posteriors of a dynamic circuit's states and of its interface's units."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.axes import move_axis
from tfp_spn.ops.certainty import CHECKED, Certainty
from tfp_spn.ops.chain import Chain, log_chain
from tfp_spn.ops.log_chain import backward_messages, forward_messages, log_matmul
from tfp_spn.ops.log_space import logsumexp, softmax
from tfp_spn.programs.dynamic.structure import DynamicStructure


def state_posteriors(chain: Chain, certainty: Certainty = CHECKED) -> Tensor:
    """``p(q_t | x)``, ``[T, ..., Q, N]``; the prior where evidence is impossible.

    The gradient of a log-likelihood.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        chain = chain._replace(emission=tf.identity(chain.emission))
        tape.watch(chain.emission)
        log_z = log_chain(chain, certainty=certainty)
    probs = tape.gradient(log_z, chain.emission)
    impossible = ~(log_z > -float("inf"))[..., tf.newaxis, :]

    def prior() -> Tensor:
        messages, _ = forward_messages(*_blank(chain))
        return tf.where(impossible, softmax(messages, -2), probs)

    return tf.cond(tf.reduce_any(impossible), prior, lambda: probs)


def _blank(chain: Chain) -> Chain:
    """The chain without evidence."""
    return chain._replace(emission=tf.zeros_like(chain.emission))


def unit_posteriors(
    program: DynamicStructure, chain: Chain, certainty: Certainty = CHECKED
) -> Tensor:
    """``p(z_t | x)`` of the interface's units after each step, ``[T, ..., Z, N]``."""
    if program.sum_product == "cp":
        forward = log_filtered_units(chain)
        backward, _ = backward_messages(*chain[:4])
        weights = tf.linalg.matrix_transpose(chain.transition)
        later = log_matmul(weights, backward[1:])
        later = tf.concat([later, tf.zeros_like(forward[:1])], 0)
        return _or_prior(chain, softmax(forward + later, -2))
    return program.units_of_states(state_posteriors(chain, certainty))


def filtered_units(program: DynamicStructure, chain: Chain) -> Tensor:
    """``p(z_t | x_1 ... x_t)``, ``[T, ..., Z, N]``."""
    return _or_prior(chain, softmax(log_filtered_units(chain), -2))


def _or_prior(chain: Chain, probs: Tensor) -> Tensor:
    """`probs`, or the prior where evidence is impossible and they are all zero."""
    impossible = ~(tf.reduce_sum(probs, -2, keepdims=True) > 0)

    def prior() -> Tensor:
        blank = log_filtered_units(_blank(chain))
        return tf.where(impossible, softmax(blank, -2), probs)

    return tf.cond(tf.reduce_any(impossible), prior, lambda: probs)


def log_filtered_units(chain: Chain) -> Tensor:
    """Logarithms, not normalised."""
    messages, _ = forward_messages(*chain)
    if chain.interface is None:
        return messages
    interface = chain.interface
    if interface.shape[0] > 1:  # there is no transition after the last step
        interface = tf.concat([interface, interface[-1:]], 0)
    return log_matmul(interface, messages)


def log_prefixes(chain: Chain) -> Tensor:
    """``log p(x_1 ... x_t)`` of each step, float64 ``[T, ..., N]``."""
    messages, offset = forward_messages(*chain)
    return tf.cast(logsumexp(messages, -2), tf.float64) + offset[..., 0, :]


def in_user_shape(evidence: Evidence, values: Tensor) -> Tensor:
    """``[T, ..., F, N]`` to ``S + P + [T, F]``."""
    return evidence.restore(move_axis(values, 0, -3))
