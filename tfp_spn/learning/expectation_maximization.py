"""Expectation maximisation over all data: one M-step per epoch."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from tfp_spn._arguments import a_flag, a_rate, reads
from tfp_spn._typing import Expectations
from tfp_spn.learning.adjustment import Adjustment, slots_of
from tfp_spn.learning.batch_functions import Maximization
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.e_step import PLAIN, EStep
from tfp_spn.learning.log_likelihood import mean_of_examples
from tfp_spn.learning.maximization import as_circuit, trainable_names
from tfp_spn.learning.replicas import Replicas


class ExpectationMaximization:
    """Full-batch EM: adds up expected counts over an epoch, then moves.

    With ``step_size=1`` and ``pseudocount=0``, and under the soft learning rules
    (`SumOpGradBackprop`, `SumOpEMBackprop`), an epoch never lowers the likelihood of
    the data. Under a hard rule it is hard EM. Memory does not grow with the data;
    counts and log-likelihood are added in double precision, so that the size of the
    batches does not matter.

    `tfp_spn.learning.fit` runs it; use it directly to write another loop.

    Args:
        circuit: A circuit, or a distribution over one.
        step_size: How far to move towards the maximiser, from 0 to 1.
        pseudocount: See `tfp_spn.learning.maximize`.
        jit_compile: Whether XLA compiles the E-step.
        adjustments: What is changed of expected counts before each M-step.
        e_step: What the E-step does besides.

    Example:
        >>> import numpy as np, tfp_spn
        >>> from tfp_spn.learning import Batches, Data, ExpectationMaximization
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> em = ExpectationMaximization(circuit, pseudocount=0.0)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> batches = Batches(circuit.program, Data(x), batch_size=32)
        >>> em.epoch(batches()) < em.epoch(batches())
        True
    """

    @reads(
        step_size=a_rate(above=0, most=1),
        pseudocount=a_rate(least=0),
        jit_compile=a_flag(),
    )
    def __init__(
        self,
        circuit: object,
        step_size: float = 1.0,
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
        self.steps = None
        if not e_step.is_plain:
            self.steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")
        self.replicas.keep(slots_of(self.adjustments, self.circuit))

    @property
    def state(self) -> list[tf.Variable]:
        """What an interrupted fit must keep besides the circuit's parameters."""
        steps = [] if self.steps is None else [self.steps]
        return [*steps, *self.replicas.slots.values()]

    def epoch(self, batches: Iterable[Batch]) -> float:
        """One E-step over all batches and one M-step.

        Nothing is changed unless all batches have been passed.

        Returns:
            The mean log-likelihood *before* the M-step.
        """
        replicas, number = self.replicas, int(self.steps or 0)
        e_step = self.e_step.at(number)
        owner, numbers = "ExpectationMaximization.epoch", e_step.numbers(number)
        total = replicas.total_of(owner, e_step, batches, *numbers)
        move = Maximization(trainable_names(self.circuit), self.adjustments)
        replicas.change(move, total, self.step_size, self.pseudocount)
        if self.steps is not None:
            self.steps.assign_add(1)
        return mean_log_likelihood(total)


def mean_log_likelihood(expectations: Expectations) -> float:
    """Per example, in nats."""
    total = float(expectations["log_likelihood"])
    return mean_of_examples(total, float(expectations["num_examples"]))
