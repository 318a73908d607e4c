"""Learning rules: what a sum tells its children and its weights on the way back.

All rules share one forward (`tfp_spn.ops.weighted_sum`). Given the flow ``g[o, n]``
that reaches output ``o`` for example ``n`` (the derivative of the objective with
respect to the sum's log value), a rule divides it among the children,

    selection[i, o, n] >= 0,   sum_i selection[i, o, n] = 1,

and returns ``flow to child i = sum_o g * selection`` and ``count of weight (i, o) =
sum_n g * selection``. The count is the gradient with respect to the *normalised
log-weight*, that is: the expected (or hard) count of EM when the objective is the
log-likelihood. Every rule does so without a tensor of size ``I x O x N``.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._arguments import LARGEST_SIZE, a_flag, a_rate, a_seed, reads
from tfp_spn._typing import Config, Tensor
from tfp_spn.ops.log_space import finite_max, is_finite, minus_infinity


class SumRule:
    """Base of the learning rules; a subclass says how a sum's flow is divided.

    Subclasses implement `select` and may set `shares_selection` when the selection does
    not depend on the output. `is_gradient` and `is_one_hot` say something about
    `select`: a class that overrides it does not inherit them, it sets them itself. The
    simplest one to copy is `SumOpSampleBackprop`.

    Attributes:
        is_gradient: Whether the flow is the true derivative of the log value.
        is_one_hot: Whether every selection is zero but for a single one (or zero
            everywhere, for an impossible example): EM then follows one child of each
            sum instead of passing shares to all. Leave it `False` for a rule whose
            shares may be fractions.
        normalizes_counts: Whether linear accumulators receive counts that sum to one
            per sum (soft EM) rather than raw counts.
    """

    is_gradient = False
    is_one_hot = False
    normalizes_counts = False
    shares_selection = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "select" in vars(cls):
            for claim in ("is_gradient", "is_one_hot"):
                setattr(cls, claim, vars(cls).get(claim, False))

    def hands_back_counts(self, logspace: bool) -> bool:
        """Whether the "gradient" of stored weights is their counts.

        Args:
            logspace: Whether logarithms of the weights are stored.
        """
        return not logspace and (self.normalizes_counts or not self.is_gradient)

    def select(self, log_weighted: Tensor, log_sum: Tensor, seed: Tensor) -> Tensor:
        """Divides the flow of one output.

        Args:
            log_weighted: ``[..., R, I, N]``: weighted children, unweighted ones if
                `shares_selection`.
            log_sum: ``[..., R, 1, N]``: their log-sum-exp.
            seed: int32 ``[2]``, for breaking ties.

        Returns:
            ``[..., R, I, N]``, zero everywhere for an impossible example.
        """
        raise NotImplementedError

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SumRule:
        """Builds the rule from `get_config`'s result."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and (self.get_config() == other.get_config())

    def __hash__(self) -> int:
        return hash((type(self), repr(sorted(self.get_config().items()))))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class SumOpGradBackprop(SumRule):
    """The true gradient: children share the flow by their responsibilities.

    ``selection[i, o, n] = exp(log x[i, n] + log w[i, o] - log y[o, n])``

    Args:
        logspace_accumulators: Whether sum layers with this rule keep the logarithms
            of their weights (`True`, the default) or linear weights (`False`).

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.DenseSum(4, sum_op=tfp_spn.SumOpGradBackprop())
    """

    is_gradient = True

    @reads(logspace_accumulators=a_flag())
    def __init__(self, logspace_accumulators: bool | None = None) -> None:
        self.logspace_accumulators = logspace_accumulators

    def select(self, log_weighted: Tensor, log_sum: Tensor, seed: Tensor) -> Tensor:
        """Responsibilities."""
        return responsibilities(log_weighted, log_sum)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"logspace_accumulators": self.logspace_accumulators}


class SumOpEMBackprop(SumRule):
    """Soft expectation maximisation: the flow of the gradient, normalised counts.

    Children receive the same flow as under `SumOpGradBackprop`. A linear accumulator
    receives, instead of its gradient, its expected count divided by the counts of its
    sum (with the sign of the loss), so that an optimizer step
    ``w - learning_rate * (w + gradient)`` is one step of online EM
    (`tfp_spn.learning.OnlineExpectationMaximization`).

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.DenseSum(4, sum_op=tfp_spn.SumOpEMBackprop())
    """

    is_gradient = True
    normalizes_counts = True

    def select(self, log_weighted: Tensor, log_sum: Tensor, seed: Tensor) -> Tensor:
        """Responsibilities."""
        return responsibilities(log_weighted, log_sum)


class SumOpHardEMBackprop(SumRule):
    """Hard expectation maximisation: each sum's flow goes to its best child.

    ``selection[i, o, n] = 1`` for the one ``i`` that maximises ``log x[i, n] +
    log w[i, o]``. Ties are broken uniformly at random; the draw depends only on `seed`
    and on the values, so that equal inputs give equal results.

    With `sample_prob` ``= p`` the child is, with probability ``p``, drawn from its
    posterior instead:

        P(i selected) = p * r[i] + (1 - p) * [i is best] / number of best,
        r[i] = exp(log x[i] + log w[i, o] - log y[o])

    (LibSPN-Keras adds ``p`` times something unnormalised to the indicator of the best,
    so that ``p`` is not a probability there.)

    Args:
        sample_prob: Probability, from 0 to 1, of drawing the child instead of taking
            the best. `None` is 0: always the best.
        seed: Seed of the draws.

    Raises:
        ValueError: `sample_prob` is not a probability.

    Example:
        >>> import tfp_spn
        >>> rule = tfp_spn.SumOpHardEMBackprop(sample_prob=0.1)
        >>> layer = tfp_spn.layers.DenseSum(4, sum_op=rule)
    """

    is_one_hot = True

    @reads(seed=a_seed(most=LARGEST_SIZE))
    def __init__(self, sample_prob: float | None = None, seed: int = 0) -> None:
        if tf.is_tensor(sample_prob):
            known = tf.get_static_value(sample_prob)
            sample_prob = sample_prob if known is None else known[()]
        if sample_prob is not None:
            what = f"{type(self).__name__}: `sample_prob`"
            sample_prob = a_rate(least=0, most=1)(sample_prob, what)
        self.sample_prob = sample_prob
        self.seed = seed

    def select(self, log_weighted: Tensor, log_sum: Tensor, seed: Tensor) -> Tensor:
        """One-hot winner, or one-hot draw."""
        if not self.sample_prob:
            return one_hot_winner(log_weighted, seed)
        seeds = tf.random.experimental.stateless_split(seed, 3)
        drawn = one_hot_draw(log_weighted, seeds[0])
        if self.sample_prob == 1:
            return drawn
        winner = one_hot_winner(log_weighted, seeds[1])
        shape = tf.shape(log_weighted[..., :1, :])
        uniform = tf.random.stateless_uniform(shape, seeds[2], dtype=winner.dtype)
        return tf.where(uniform < self.sample_prob, drawn, winner)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"sample_prob": self.sample_prob, "seed": self.seed}


class SumOpUnweightedHardEMBackprop(SumOpHardEMBackprop):
    """Hard expectation maximisation that ignores the weights.

    ``selection[i, o, n] = 1`` for the one ``i`` that maximises ``log x[i, n]``: one
    winner per region and example, shared by all sums of the region. It keeps a strong
    weight from reinforcing itself through a deep network. With `sample_prob` the child
    is, with that probability, drawn in proportion to ``x[i, n]``.

    Args:
        sample_prob: Probability, from 0 to 1, of drawing the child instead of taking
            the best. `None` is 0: always the best.
        seed: Seed of the draws.

    Raises:
        ValueError: `sample_prob` is not a probability.

    Example:
        >>> import tfp_spn
        >>> rule = tfp_spn.SumOpUnweightedHardEMBackprop()
        >>> layer = tfp_spn.layers.DenseSum(4, sum_op=rule)
    """

    shares_selection = True


class SumOpSampleBackprop(SumRule):
    """Each sum's flow goes to one child, drawn from the posterior.

    ``selection[i, o, n] = 1`` for one ``i`` drawn with probability ``exp(log x[i, n] +
    log w[i, o] - log y[o, n])``, independently for every sum and example. The flow that
    reaches the leaves is then one sampled component per variable, and the counts of the
    weights are a draw whose expectation are the counts of soft EM (stochastic EM). The
    draws depend only on `seed` and on the values: equal inputs give equal results.

    In contrast to LibSPN-Keras it serves every sum layer, weighted children of the root
    (where there is nothing to select) included. To sample from a circuit use its
    distribution, `tfp_spn.distributions.SumProductNetwork`, with any rule.

    Args:
        seed: Seed of the draws.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.DenseSum(4, sum_op=tfp_spn.SumOpSampleBackprop())
    """

    is_one_hot = True

    @reads(seed=a_seed(most=LARGEST_SIZE))
    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def select(self, log_weighted: Tensor, log_sum: Tensor, seed: Tensor) -> Tensor:
        """One-hot draw."""
        return one_hot_draw(log_weighted, seed)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"seed": self.seed}


def responsibilities(log_weighted: Tensor, log_sum: Tensor) -> Tensor:
    """``exp(log_weighted - log_sum)``, zero where the sum is impossible."""
    possible = log_sum > minus_infinity(log_sum)
    log_sum = tf.where(possible, log_sum, tf.zeros_like(log_sum))
    return tf.where(
        possible, tf.exp(log_weighted - log_sum), tf.zeros_like(log_weighted)
    )


def one_hot_winner(log_weighted: Tensor, seed: Tensor) -> Tensor:
    """1 at one maximum along axis -2, ties broken at random; 0 if all are -inf."""
    maximum = tf.reduce_max(log_weighted, axis=-2, keepdims=True)
    possible = maximum > minus_infinity(maximum)
    is_winner = tf.cast((log_weighted == maximum) & possible, log_weighted.dtype)

    def break_ties() -> Tensor:
        noise = tf.random.stateless_uniform(
            tf.shape(is_winner), seed, minval=0.5, maxval=1.0, dtype=is_winner.dtype
        )
        score = is_winner * noise
        best = tf.argmax(score, axis=-2, output_type=tf.int32)
        one_hot = tf.one_hot(
            best, tf.shape(score)[-2], axis=score.shape.rank - 2, dtype=is_winner.dtype
        )
        return tf.ensure_shape(one_hot * is_winner, is_winner.shape)

    has_ties = tf.reduce_any(tf.reduce_sum(is_winner, axis=-2) > 1)
    return tf.cond(has_ties, break_ties, lambda: is_winner)


def one_hot_draw(log_weighted: Tensor, seed: Tensor) -> Tensor:
    """1 at one index drawn ``~ exp(log_weighted)`` along axis -2; 0 if all are -inf."""
    weights = tf.exp(log_weighted - finite_max(log_weighted, -2))
    cumulative = tf.cumsum(weights, axis=-2)
    total = cumulative[..., -1:, :]
    uniform = tf.random.stateless_uniform(tf.shape(total), seed, dtype=total.dtype)
    passed = tf.cast(cumulative <= uniform * total, tf.int32)
    drawn = tf.reduce_sum(passed, axis=-2)  # out of range if the total is 0
    one_hot = tf.one_hot(
        drawn, tf.shape(weights)[-2], axis=weights.shape.rank - 2, dtype=weights.dtype
    )
    return tf.ensure_shape(one_hot, weights.shape)


def tie_seed(rule: SumRule, log_x: Tensor) -> Tensor:
    """A seed made of the rule's and of the values: no state, another one each batch."""
    finite = tf.where(is_finite(log_x), log_x, tf.zeros_like(log_x))
    digest = tf.math.floormod(tf.cast(tf.reduce_sum(finite), tf.float64) * 1e4, 2.0**30)
    return tf.stack([getattr(rule, "seed", 0), tf.cast(digest, tf.int32)])
