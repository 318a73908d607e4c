"""Priors and penalties of EM: what is added to expected counts before an M-step."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn._typing import Expectations
from tfp_spn.learning.adjustment import Adjustment, Update, nothing_known
from tfp_spn.learning.e_step import MARGINAL


@dataclass(frozen=True)
class MarginalPseudocount(Adjustment):
    """Pseudocounts of leaves look like the columns of the data, not like each other.

    The `pseudocount` examples that `fit` adds to every leaf component have the mean
    statistics of the data (of the batch), in place of what the family takes for no
    knowledge: a rare event stays rare in each component.
    """

    needs_marginals = True

    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        """Statistics with those examples."""
        part = tf.cast(update.leaf_pseudocount, tf.float64)
        part = tf.math.divide_no_nan(part, expectations["num_examples"])
        leaf = tf.nest.map_structure(
            lambda own, all_: own + part * all_,
            expectations["leaf"],
            expectations[MARGINAL],
        )
        update.leaf_pseudocount = tf.zeros_like(update.leaf_pseudocount)
        return {**expectations, "leaf": leaf}


@dataclass(frozen=True)
class SumEntropy(Adjustment):
    """A reward for the entropy of each sum's weights [1].

    The M-step moves towards the maximum of ``sum_i n[i] log w[i] + weight N H(w)``,
    where ``N`` is the sum's count and ``H`` the entropy, by the fixed-point step

        n[i] <- n[i] - weight N w[i] (log w[i] + H(w))

    at the old weights. (Some 0.001.)

    Args:
        weight: Of the entropy, in nats per example.

    References:
        [1]: Liu, Van den Broeck. Tractable regularization of probabilistic circuits.
        NeurIPS, 2021.
    """

    weight: float = 1e-3

    def __post_init__(self) -> None:
        read_fields(self, weight=a_rate(least=0))

    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        """Counts with the reward."""
        program = update.program
        adjusted = {}
        for name, count in program.packed(expectations["sums"]).items():
            w = tf.cast(update.tables.weights[name], count.dtype)
            log_w = tf.math.log(tf.maximum(w, 1e-30))
            entropy = -tf.reduce_sum(w * log_w, axis=-2, keepdims=True)
            total = tf.reduce_sum(count, axis=-2, keepdims=True)
            change = self.weight * total * w * (log_w + entropy)
            adjusted[name] = tf.maximum(count - change, 0)
        sums = {**expectations["sums"], **program.unpacked(adjusted)}
        return {**expectations, "sums": sums}


@dataclass(frozen=True)
class ExpectedCounts(Adjustment):
    """A Dirichlet prior on sums that is the same for all parts of a circuit.

    As if `num_examples` more, of which nothing is known, had passed a circuit whose
    weights are all alike: sums far below share them out, where a pseudocount gives each
    sum as much, however little of the data it sees. (For trees this is the score of
    Bayesian networks with an equivalent sample size.) It replaces `pseudocount` at the
    sums; leaves keep theirs.

    Args:
        num_examples: How many.
    """

    num_examples: float = 1.0

    def __post_init__(self) -> None:
        read_fields(self, num_examples=a_rate(least=0))

    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        """Counts with these examples."""
        program, tables = update.program, update.tables
        weights = {
            name: tf.ones_like(value) / tf.cast(value.shape[-2], value.dtype)
            for name, value in tables.weights.items()
        }
        alike = tables.replaced(
            log_weights={n: tf.math.log(w) for n, w in weights.items()}, weights=weights
        )
        prior, _ = program.expectations(alike, nothing_known(program))
        sums = {
            name: count + self.num_examples * tf.cast(prior["sums"][name], count.dtype)
            for name, count in expectations["sums"].items()
        }
        update.pseudocount = tf.zeros_like(update.pseudocount)
        return {**expectations, "sums": sums}
