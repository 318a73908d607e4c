"""Queries about the hidden states of a distribution over sequences."""

from __future__ import annotations

from collections.abc import Callable

from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.distributions import _state_queries
from tfp_spn.distributions._sequence_event import Padding, SequenceEvent


class HiddenStates:
    """What `DynamicSumProductNetwork` has in common with `tfd.HiddenMarkovModel`.

    Its class must have what `CircuitView` has.
    """

    ask: Callable[..., Tensor]
    ask_of: Callable[..., Tensor]
    _checked: Callable[..., Tensor]
    _event: SequenceEvent

    def posterior_marginals(
        self,
        value: TensorLike,
        observed: TensorLike | None = None,
        lengths: TensorLike | None = None,
        padding: Padding = "right",
    ) -> tfd.Categorical:
        """``p(z_t | x)`` of the interface after each step: smoothing.

        In a hidden Markov model ``z_t`` is the state of the step.

        Args:
            value: Sequences, ``[..., *event_shape]``.
            observed: bool mask, as in `log_prob`.
            lengths: Steps of each sequence. After the end (or, padded on the left, at
                the padding) the states are foretold.
            padding: Where the padding is, ``"right"`` or ``"left"`` of a sequence.

        Returns:
            A distribution with batch shape ``[..., num_steps]``; the prior of evidence
            that is impossible.
        """
        query = _state_queries.posterior_units
        probs = self._ask_of_steps(query, 2, value, observed, lengths, padding)
        return tfd.Categorical(probs=probs)

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
        query = _state_queries.filtered_units
        probs = self._ask_of_steps(query, 2, value, observed, lengths, padding)
        return tfd.Categorical(probs=probs)

    def prior_marginals(self) -> tfd.Categorical:
        """``p(z_t)``, with batch shape ``[..., num_steps]``."""
        probs = self.ask(_state_queries.prior_units)
        return tfd.Categorical(probs=self._event.of_steps(probs, None, "right", 2))

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
        query = _state_queries.best_states
        return self._ask_of_steps(query, 1, value, observed, lengths, padding)

    def _ask_of_steps(
        self,
        query: Callable[..., Tensor],
        ndims: int,
        value: TensorLike,
        *given: TensorLike,
    ) -> Tensor:
        """Returns the answers for the steps, in the order in which the user has them.

        `ndims` is the rank of the answer from the axis of steps on.
        """
        value = self._checked(value, *given)
        answers = self.ask_of(query, self._event.with_lengths(value, *given))
        _, lengths, padding = given
        return self._event.of_steps(answers, lengths, padding, ndims)

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
        query = _state_queries.predictive_log_probs
        return self._ask_of_steps(query, 1, value, observed, lengths, padding)
