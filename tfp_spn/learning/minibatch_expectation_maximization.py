"""Expectation maximisation with an M-step after every batch."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_flag, a_rate, or_function, reads, shown
from tfp_spn._typing import Expectations
from tfp_spn.learning.adjustment import Adjustment, slots_of
from tfp_spn.learning.batch_functions import (
    Maximization,
    OnlineStep,
)
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.e_step import PLAIN, EStep
from tfp_spn.learning.log_likelihood import mean_of_examples
from tfp_spn.learning.maximization import as_circuit, trainable_names
from tfp_spn.learning.replicas import Replicas
from tfp_spn.learning.step_sizes import StepSize


class MinibatchExpectationMaximization:
    """Online EM: moves by `step_size` towards the maximiser of each batch.

    A batch that is partly filled moves by the filled part of the step.

    Args:
        circuit: A circuit, or a distribution over one.
        step_size: A number from 0 to 1, or a function of the number of steps so far
            (a `keras.optimizers.schedules.LearningRateSchedule` is one).
        pseudocount: See `tfp_spn.learning.maximize`.
        jit_compile: Whether XLA compiles the E-step.
        adjustments: What is changed of expected counts before each M-step.
        e_step: What the E-step does besides.

    Example:
        >>> import numpy as np, tfp_spn
        >>> from tfp_spn.learning import (
        ...     Batches, Data, MinibatchExpectationMaximization)
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> em = MinibatchExpectationMaximization(circuit, lambda n: (n + 2) ** -0.6)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> batches = Batches(circuit.program, Data(x), batch_size=32)
        >>> em.epoch(batches()) < em.epoch(batches())
        True
    """

    @reads(
        step_size=or_function(a_rate(above=0, most=1)),
        pseudocount=a_rate(least=0),
        jit_compile=a_flag(),
    )
    def __init__(
        self,
        circuit: object,
        step_size: StepSize = 0.1,
        pseudocount: float = 0.01,
        jit_compile: bool | None = None,
        adjustments: tuple[Adjustment, ...] = (),
        e_step: EStep = PLAIN,
    ) -> None:
        self.circuit = as_circuit(circuit)
        self.step_size, self.pseudocount = step_size, pseudocount
        self.adjustments = tuple(adjustments)
        self.e_step = e_step
        e_step.check(self.circuit.program)
        self.replicas = Replicas(self.circuit, jit_compile)
        self.replicas.keep(slots_of(self.adjustments, self.circuit))
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")

    @property
    def state(self) -> list[tf.Variable]:
        """What an interrupted fit must keep besides the circuit's parameters."""
        return [self.steps, *self.replicas.slots.values()]

    def epoch(self, batches: Iterable[Batch]) -> float:
        """A step for each batch.

        Returns:
            The mean log-likelihood, that of each batch before its step.

        Raises:
            ValueError: A step's size is not within 0 and 1.
        """
        log_likelihood = weight = 0.0
        for batch in self.replicas.in_step(batches):
            size = self._size_of_step()
            size *= float(np.mean(batch.weights.numpy() > 0))
            found = self._step(batch, size)
            self.steps.assign_add(1)
            log_likelihood += float(found["log_likelihood"])
            weight += float(found["num_examples"])
            if math.isnan(log_likelihood):
                break  # parameters are NaN: further steps would mend nothing
        return mean_of_examples(log_likelihood, weight)

    def _step(self, batch: Batch, size: float) -> Expectations:
        replicas, names = self.replicas, trainable_names(self.circuit)
        e_step = self.e_step.at(int(self.steps))
        numbers = e_step.numbers(int(self.steps))
        if replicas.strategy is None:
            step = OnlineStep(names, self.adjustments, e_step)
            return replicas.run(step, batch, size, self.pseudocount, *numbers)
        found = replicas.total(replicas.run(e_step, batch, *numbers))
        move = Maximization(names, self.adjustments)
        replicas.change(move, found, size, self.pseudocount)
        return found

    def _size_of_step(self) -> float:
        step, number = self.step_size, int(self.steps)
        received = step(number) if callable(step) else step
        try:
            size = float(received)
        except (OverflowError, TypeError, ValueError):
            size = math.nan
        if not 0 <= size <= 1:
            raise ValueError(
                "MinibatchExpectationMaximization: step_size is no part of a step, "
                f"received {shown(received)} after {number} steps, expected a number "
                "from 0 to 1. Mend the function that gives it."
            )
        return size
