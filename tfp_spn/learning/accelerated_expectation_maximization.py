"""Full-batch EM with squared extrapolation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn._typing import Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.expectation_maximization import ExpectationMaximization
from tfp_spn.learning.log_likelihood import LogLikelihood
from tfp_spn.learning.maximization import MIN_WEIGHT, trainable_names
from tfp_spn.learning.mean_parameters import MeanParameters
from tfp_spn.learning.method import Method, Terms, Trainer

_GROWTH = 4.0
_LEAST_PART = 0.01
"""Of a weight that a step would make negative: what is left of it."""


@dataclass(frozen=True)
class AcceleratedExpectationMaximization(Method):
    """Full-batch EM that extrapolates two M-steps: SQUAREM [1].

    From ``w0`` EM goes to ``w1`` and ``w2``. With ``r = w1 - w0`` and ``v = w2 - 2 w1 +
    w0`` the next parameters are

        w0 + 2 a r + a^2 v,   a = |r| / |v|, at least 1

    which is ``w2`` if ``a = 1``; `a` is one for all weights of a variable. If their
    likelihood is below that of ``w1``, they are ``w2`` instead, so that with
    ``pseudocount=0`` no epoch lowers the likelihood. An epoch is two M-steps and an
    evaluation; its batches are kept in memory meanwhile.

    Args:
        max_step: The first bound of `a`; it grows fourfold when it is reached, and
            shrinks when a step is refused. With 1 it is EM, two M-steps an epoch.

    Raises:
        ValueError: The bound is below 1.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> history = tfp_spn.learning.fit(
        ...     circuit, x, epochs=3, pseudocount=0.0, verbose=False,
        ...     method=tfp_spn.learning.AcceleratedExpectationMaximization())
        >>> history.log_likelihood == sorted(history.log_likelihood)
        True

    References:
        [1]: Varadhan, Roland. Simple and globally convergent methods for accelerating
        the convergence of any EM algorithm. Scandinavian Journal of Statistics, 2008.
    """

    is_full_batch = True
    max_step: float = 4.0

    def __post_init__(self) -> None:
        read_fields(self, max_step=a_rate(least=1))

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        """Binds the method to a circuit."""
        return _SquaredExtrapolation(circuit, self.max_step, terms)


class _SquaredExtrapolation:
    def __init__(self, circuit: Circuit, max_step: float, terms: Terms) -> None:
        self.em = ExpectationMaximization(circuit, 1.0, *terms.for_em)
        self.replicas = self.em.replicas
        self.evaluate = LogLikelihood(circuit, terms.jit_compile)
        self.parameters = MeanParameters(circuit)
        self.names = trainable_names(circuit)
        self.can_extrapolate = max_step > 1
        self.max_step = tf.Variable(max_step, dtype=tf.float64, trainable=False)

    @property
    def state(self) -> list[tf.Variable]:
        return [self.max_step, *self.em.state]

    def epoch(self, batches: Iterable[Batch]) -> float:
        """Two M-steps and a step beyond; returns the mean log-likelihood before."""
        batches = list(batches)
        first = self.parameters.read()
        before = self.em.epoch(batches)
        second = self.parameters.read()
        between = self.em.epoch(batches)
        third = self.parameters.read()
        if not self.can_extrapolate:
            return before
        beyond, is_bound = {}, False
        for name, value in third.items():
            r = second[name] - first[name]
            v = value - second[name] - r
            step, at_bound = self._step(r, v)
            is_bound |= at_bound
            beyond[name] = first[name] + 2 * step * r + step * step * v
            if self.parameters.is_sum(name):
                least = np.maximum(_LEAST_PART * value, np.minimum(MIN_WEIGHT, value))
                beyond[name] = np.maximum(beyond[name], least)
        self.parameters.assign(beyond)
        after = self.evaluate(batches)
        if not after >= between:  # NaN, too
            self.parameters.assign(third)
            self.max_step.assign(max(2.0, float(self.max_step) / _GROWTH))
        elif is_bound:
            self.max_step.assign(_GROWTH * float(self.max_step))
        return before

    def _step(self, r: Tensor, v: Tensor) -> tuple[float, bool]:
        curvature = float(np.linalg.norm(v))
        step = float(np.linalg.norm(r)) / curvature if curvature > 0 else 1.0
        limit = float(self.max_step)
        return min(max(step, 1.0), limit), step >= limit
