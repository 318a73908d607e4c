"""Queries about the hidden states of sequences, like those of `_queries`."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.distributions._event import Given
from tfp_spn.distributions._sequence_event import SequenceEvent
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.chain import Chain
from tfp_spn.ops.log_chain import best_path
from tfp_spn.programs.dynamic import states
from tfp_spn.programs.dynamic.evaluation import chain_of, known_steps
from tfp_spn.programs.dynamic.structure import DynamicTables


def posterior_units(
    event: SequenceEvent, tables: DynamicTables, given: Given
) -> Tensor:
    """``p(z_t | x)``, ``S + P + [T, Z]``."""
    evidence, chain = _chain(event, tables, given)
    probs = states.unit_posteriors(event.program, chain, tables.step.certainty)
    return states.in_user_shape(evidence, probs)


def filtered_units(event: SequenceEvent, tables: DynamicTables, given: Given) -> Tensor:
    """``p(z_t | x_1 ... x_t)``, ``S + P + [T, Z]``."""
    evidence, chain = _chain(event, tables, given)
    probs = states.filtered_units(event.program, chain)
    return states.in_user_shape(evidence, probs)


def prior_units(event: SequenceEvent, tables: DynamicTables) -> Tensor:
    """``p(z_t)``, ``P + [T, Z]``."""
    evidence = event.program.nothing_known(tables.batch_rank)
    chain = chain_of(event.program, tables, evidence, to_end=True)
    probs = states.unit_posteriors(event.program, chain, tables.step.certainty)
    return states.in_user_shape(evidence, probs)


def best_states(event: SequenceEvent, tables: DynamicTables, given: Given) -> Tensor:
    """The most probable sequence of states, int32 ``S + P + [T]``."""
    evidence, chain = _chain(event, tables, given)
    path = best_path(*chain[:4])
    return states.in_user_shape(evidence, path[..., tf.newaxis, :])[..., 0]


def predictive_log_probs(
    event: SequenceEvent, tables: DynamicTables, given: Given
) -> Tensor:
    """``log p(x_t | x_1 ... x_{t-1})``, ``S + P + [T]``."""
    evidence, chain = _chain(event, tables, given)
    prefix = states.log_prefixes(chain)
    before = tf.concat([tf.zeros_like(prefix[:1]), prefix[:-1]], 0)
    possible = before > -float("inf")
    before = tf.where(possible, before, tf.zeros_like(before))
    steps = tf.where(possible, prefix - before, -float("inf"))
    known = known_steps(evidence)
    if known is not None:  # the others are 0, which rounding might not say
        steps = tf.where(known[..., 0, :], steps, tf.zeros_like(steps))
    steps = tf.cast(steps, event.program.dtype)[..., tf.newaxis, :]
    return states.in_user_shape(evidence, steps)[..., 0]


def _chain(
    event: SequenceEvent, tables: DynamicTables, given: Given
) -> tuple[Evidence, Chain]:
    """Returns what is given as evidence, and its chain to the last step."""
    evidence = event.evidence(given, tables.batch_rank)
    return evidence, chain_of(event.program, tables, evidence, to_end=True)
