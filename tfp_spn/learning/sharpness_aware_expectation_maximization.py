"""Sharpness-aware EM: weights to which the likelihood is less sensitive."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn._typing import Expectations, Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.adjustment import Adjustment, Update
from tfp_spn.learning.method import Terms, Trainer
from tfp_spn.learning.named_methods import WrappedMethod

_NEWTON_STEPS = 12


@dataclass(frozen=True)
class SharpnessAwareExpectationMaximization(WrappedMethod):
    """EM with a penalty on the gradient with respect to the weights.

    A circuit is linear in each weight, so that the trace of the Hessian of ``log p`` is
    minus the sum of the squares of its gradient ``counts / w`` [1]: flat maxima have
    small gradients at each example. The M-step maximises

        sum_i counts[i] log w[i] - strength sum_i counts[i] / w[i]

    whose solution is the positive root of a quadratic equation for each weight,

        w[i] = (counts[i] + sqrt(counts[i]^2 + 4 s strength counts[i])) / (2 s)

    with ``s`` such that they sum to one. It raises weights below `strength` most, and
    helps where examples are few. With 0 it is the method that it is given.

    Args:
        method: ``"em"``, ``"online_em"`` or another method of EM.
        strength: Of the penalty, in units of weights.

    Example:
        >>> import tfp_spn
        >>> tfp_spn.learning.SharpnessAwareExpectationMaximization("em", strength=0.01)
        SharpnessAwareExpectationMaximization(method='em', strength=0.01)

    References:
        [1]: Suresh, Sidheekh, Shreeram, Natarajan, Krishnan. Tractable sharpness-aware
        learning of probabilistic circuits. 2025. https://arxiv.org/abs/2508.05537
    """

    strength: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        read_fields(self, strength=a_rate(least=0))

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        """Binds the method to a circuit."""
        if not self.strength:
            return self.inner.trainer(circuit, terms)
        return self.inner.trainer(circuit, terms.with_adjustment(_Flat(self.strength)))


@dataclass(frozen=True)
class _Flat(Adjustment):
    strength: float

    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        program = update.program
        counts = program.packed(expectations["sums"])
        sums = program.unpacked({n: self._flat(c, -2) for n, c in counts.items()})
        if program.prior is not None:
            name = program.prior.parameter
            sums[name] = self._flat(expectations["sums"][name], -1)
        return {**expectations, "sums": {**expectations["sums"], **sums}}

    def _flat(self, counts: Tensor, axis: int) -> Tensor:
        """Counts of equal sum whose shares are the solution."""
        counts = tf.maximum(counts, 0)
        total = tf.reduce_sum(counts, axis, keepdims=True)
        share = tf.math.divide_no_nan(counts, total)
        # In shares: q = (p + sqrt(p^2 + 4 s a p)) / (2 s), from below by Newton's rule:
        # the sum is convex and falls in s.
        scale = tf.ones_like(total)
        for _ in range(_NEWTON_STEPS):
            root = tf.sqrt(share * share + 4 * scale * self.strength * share)
            value = tf.reduce_sum((share + root) / (2 * scale), axis, keepdims=True)
            inner = tf.math.divide_no_nan(self.strength * share, root * scale)
            slope = tf.reduce_sum(
                inner - (share + root) / (2 * scale * scale), axis, keepdims=True
            )
            scale -= tf.math.divide_no_nan(value - 1, slope)
        root = tf.sqrt(share * share + 4 * scale * self.strength * share)
        shares = (share + root) / (2 * scale)
        shares /= tf.maximum(tf.reduce_sum(shares, axis, keepdims=True), 1e-30)
        return shares * total
