"""Expectation maximisation over all data: one M-step per epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.expectations import (
    Expectations,
    add_expectations,
    expected_statistics,
    to_float64,
)
from tfp_spn.learning.log_likelihood import mean_of_examples
from tfp_spn.learning.maximization import as_circuit, maximize, trainable_names
from tfp_spn.learning.per_circuit import per_circuit
from tfp_spn.learning.replicas import Replicas

_compiled_sum = tf.function(add_expectations, autograph=False)


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

    def __init__(
        self,
        circuit: Any,
        step_size: float = 1.0,
        pseudocount: float = 0.01,
        jit_compile: bool | None = None,
    ) -> None:
        self.circuit = as_circuit(circuit)
        self.step_size = step_size
        self.replicas = Replicas(self.circuit, jit_compile)
        self.expectations = compiled_expectations(self.circuit, jit_compile)
        self.update = compiled_update(self.circuit, pseudocount)

    @property
    def state(self) -> list[tf.Variable]:
        """What an interrupted fit must keep besides the circuit's parameters."""
        return []

    def epoch(self, batches: Iterable[Batch]) -> float:
        """One E-step over all batches and one M-step.

        Nothing is changed unless all batches have been passed.

        Returns:
            The mean log-likelihood *before* the M-step.
        """
        total: Expectations | None = None
        replicas = self.replicas
        for batch in replicas.in_step(batches):
            expectations = replicas.run(self.expectations, batch)
            if total is None:
                total = expectations
            else:
                total = replicas.plus(_compiled_sum, total, expectations)
        if total is None:
            raise ValueError(
                "ExpectationMaximization.epoch: received no batches, expected at least "
                "one. An iterator can be consumed once only: pass a fresh one."
            )
        total = replicas.total(total)
        self.update(total, tf.constant(self.step_size, self.circuit.program.dtype))
        return mean_log_likelihood(total)


@per_circuit
def compiled_expectations(
    circuit: Circuit, jit_compile: bool | None = None
) -> Callable[[Batch], Expectations]:
    """The E-step of a batch, in double precision; traced once per shape."""
    program, params = circuit.program, circuit.live_params()

    @tf.function(jit_compile=jit_compile, autograph=False)
    def expectations(batch: Batch) -> Expectations:
        return to_float64(
            expected_statistics(
                program, params, batch.evidence(program), batch.weights, batch.labels
            )
        )

    return expectations


@per_circuit
def compiled_update(
    circuit: Circuit, pseudocount: float
) -> Callable[[Expectations, Tensor], None]:
    """The M-step, assigned to the circuit's trainable variables."""
    program, params = circuit.program, circuit.live_params()
    names = trainable_names(circuit)

    @tf.function(autograph=False)
    def update(expectations: Expectations, step_size: Tensor) -> None:
        new = maximize(program, params, expectations, step_size, pseudocount, names)
        for name in names:
            params[name].assign(new[name])

    return update


def mean_log_likelihood(expectations: Expectations) -> float:
    """Per example, in nats."""
    total = float(expectations["log_likelihood"])
    return mean_of_examples(total, float(expectations["num_examples"]))
