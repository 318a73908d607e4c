"""Queries about the hidden states of a distribution over sequences."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.circuits.dynamic_evaluation import chain_of, known_steps
from tfp_spn.circuits.examples import Evidence
from tfp_spn.distributions import _evidence, _sequence_states
from tfp_spn.distributions._event import as_tensor
from tfp_spn.distributions._sequence_event import Padding
from tfp_spn.ops.chain import Chain
from tfp_spn.ops.log_chain import best_path


class HiddenStates:
    """What `DynamicSumProductNetwork` has in common with `tfd.HiddenMarkovModel`.

    Of its class it needs `program`, `tables` and the event.
    """

    program: Any
    tables: Any
    _event: Any
    _sample_control_dependencies: Any

    def posterior_marginals(
        self,
        value: TensorLike,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> tfd.Categorical:
        """``p(z_t | x)`` of the interface behind each step: smoothing.

        In a hidden Markov model ``z_t`` is the state of the step.

        Args:
            value: Sequences, ``[..., *event_shape]``.
            observed: bool mask, as in `log_prob`.
            lengths: Steps of each sequence. Behind the end (or, padded on the left, at
                the padding) the states are foretold.
            padding: Where the padding is, ``"right"`` or ``"left"`` of a sequence.

        Returns:
            A distribution with batch shape ``[..., num_steps]``; the prior of evidence
            that is impossible.
        """
        evidence = self._evidence(value, observed, lengths, padding)
        chain = self._chain(evidence)
        probs = _sequence_states.unit_posteriors(self.program, chain)
        return self._categorical(evidence, probs, lengths, padding)

    def filtered_marginals(
        self,
        value: TensorLike,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> tfd.Categorical:
        """``p(z_t | x_1 ... x_t)``: what is known of the interface at that time.

        Arguments and result are those of `posterior_marginals`.
        """
        evidence = self._evidence(value, observed, lengths, padding)
        probs = _sequence_states.filtered_units(self.program, self._chain(evidence))
        return self._categorical(evidence, probs, lengths, padding)

    def prior_marginals(self) -> tfd.Categorical:
        """``p(z_t)``, with batch shape ``[..., num_steps]``."""
        evidence = _sequence_states.evidence_or_nothing(self, None)
        chain = self._chain(evidence)
        probs = _sequence_states.unit_posteriors(self.program, chain)
        return self._categorical(evidence, probs, None, "right")

    def posterior_mode(
        self,
        value: TensorLike,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> Tensor:
        """The most probable sequence of states given the observations (Viterbi).

        Arguments are those of `posterior_marginals`.

        Returns:
            int32 ``[..., num_steps]``: states ``z_t`` of a hidden Markov model. With
            ``sum_product="tucker"`` the products ``root * num_interfaces + unit`` of a
            root and a unit, with ``"cp"`` the roots.
        """
        evidence = self._evidence(value, observed, lengths, padding)
        path = best_path(*self._chain(evidence)[:4])
        path = _sequence_states.in_user_shape(evidence, path[..., tf.newaxis, :])
        return self._event.of_steps(path[..., 0], lengths, padding, 1)

    def _evidence(
        self,
        value: TensorLike,
        observed: TensorLike | None,
        lengths: TensorLike | None,
        padding: Padding,
    ) -> Evidence:
        value = as_tensor(value)
        checks = self._sample_control_dependencies(value, observed, lengths, padding)
        with tf.control_dependencies(checks):
            value = tf.identity(value)
        value, observed = self._event.with_lengths(value, observed, lengths, padding)
        return _evidence.evidence_of(self, value, observed)

    def _chain(self, evidence: Evidence) -> Chain:
        return chain_of(self.program, self.tables(), evidence, to_end=True)

    def _categorical(
        self,
        evidence: Evidence,
        probs: Tensor,
        lengths: TensorLike | None,
        padding: Padding,
    ) -> tfd.Categorical:
        probs = _sequence_states.in_user_shape(evidence, probs)
        return tfd.Categorical(probs=self._event.of_steps(probs, lengths, padding, 2))

    def predictive_log_probs(
        self,
        value: TensorLike,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> Tensor:
        """``log p(x_t | x_1 ... x_{t-1})`` of each step, ``[..., num_steps]``.

        Args:
            value: Sequences, ``[..., *event_shape]``.
            observed: bool mask, as in `log_prob`; a step of which nothing is observed
                has 0.
            lengths: Steps of each sequence; 0 is returned for padding.
            padding: Where the padding is, ``"right"`` or ``"left"`` of a sequence.
        """
        evidence = self._evidence(value, observed, lengths, padding)
        chain = self._chain(evidence)
        prefix = _sequence_states.log_prefixes(chain)
        before = tf.concat([tf.zeros_like(prefix[:1]), prefix[:-1]], 0)
        possible = before > -float("inf")
        before = tf.where(possible, before, tf.zeros_like(before))
        steps = tf.where(possible, prefix - before, -float("inf"))
        known = known_steps(evidence)
        if known is not None:  # the others but for rounding
            steps = tf.where(known[..., 0, :], steps, tf.zeros_like(steps))
        steps = tf.cast(steps, self.program.dtype)[..., tf.newaxis, :]
        result = _sequence_states.in_user_shape(evidence, steps)[..., 0]
        return self._event.of_steps(result, lengths, padding, 1)
