"""Anemone: mini-batch EM whose steps suit each sum, with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._arguments import a_rate, one_of, or_function, read_fields
from tfp_spn._typing import Expectations
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.adjustment import Adjustment, Update, nothing_known
from tfp_spn.learning.method import Method, Terms, Trainer
from tfp_spn.learning.minibatch_expectation_maximization import (
    MinibatchExpectationMaximization,
)
from tfp_spn.learning.momentum import Momentum
from tfp_spn.learning.step_sizes import STEP_SIZES, StepSize, named_step_size


@dataclass(frozen=True)
class AnemoneExpectationMaximization(Method):
    """Mini-batch EM that changes the distribution as little as a batch justifies [1].

    Under the model a sum takes part in an example with its top-down probability ``t``;
    in the examples of the batch it took part with frequency ``f``. Its weights become

        w <- ((1 - step) t w + step counts / N) / ((1 - step) t + step f)

    so that sums that the batch says little about hardly move. Counts are averaged over
    batches first (`Momentum`). Leaves move by the step itself.

    Args:
        step_size: From 0 to 1: a number, a function of the number of steps such as a
            Keras schedule, or ``"constant"``, ``"linear"`` or ``"cosine"``.
        momentum: From 0 to below 1.

    Raises:
        ValueError: A number is out of range.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> history = tfp_spn.learning.fit(
        ...     circuit, x, num_updates=10, verbose=False,
        ...     method=tfp_spn.learning.AnemoneExpectationMaximization(momentum=0.5))
        >>> history.num_updates
        10

    References:
        [1]: Liu, Shao, Van den Broeck. Rethinking probabilistic circuit parameter
        learning. 2025. https://arxiv.org/abs/2505.19982
    """

    step_size: StepSize | str = 0.4
    momentum: float = 0.9

    def __post_init__(self) -> None:
        step = or_function(a_rate(above=0, most=1))
        if isinstance(self.step_size, str):
            step = one_of(*STEP_SIZES)
        read_fields(self, step_size=step, momentum=a_rate(least=0, below=1))

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        """Binds the method to a circuit."""
        size = self.step_size
        if isinstance(size, str):
            size = named_step_size(size, terms.num_updates)
        if self.momentum:
            terms = terms.with_adjustment(Momentum(self.momentum))
        terms = terms.with_adjustment(TopDownSteps())
        return MinibatchExpectationMaximization(circuit, size, *terms.for_em)


@dataclass(frozen=True)
class TopDownSteps(Adjustment):
    """Steps of sums in proportion to what the batch says about them."""

    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        """Counts stay as they are; the steps change."""
        program = update.program
        prior, _ = program.expectations(update.tables, nothing_known(program))
        top_down = program.packed(prior["sums"])
        counts = program.packed(expectations["sums"])
        for name, count in counts.items():
            expected = tf.cast(top_down[name], count.dtype)
            expected = tf.reduce_sum(expected, axis=-2, keepdims=True)
            found = tf.reduce_sum(count, axis=-2, keepdims=True)
            found /= tf.cast(expectations["num_examples"], count.dtype)
            step = tf.cast(update.step_size, count.dtype)
            moved = step * found
            update.sum_steps[name] = tf.math.divide_no_nan(
                moved, (1 - step) * expected + moved
            )
        return expectations
