"""The mean log-likelihood of data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.maximization import as_circuit
from tfp_spn.learning.per_circuit import per_circuit
from tfp_spn.learning.replicas import Replicas
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.programs.labels import log_joint_of_labels

Sums = tuple[Tensor, Tensor]


@tf.function(autograph=False)
def _added(a: Sums, b: Sums) -> Sums:
    return a[0] + b[0], a[1] + b[1]


class LogLikelihood:
    """Mean log-likelihood of held-out data.

    Args:
        circuit: A circuit, or a distribution over one.
        jit_compile: Whether XLA compiles the evaluation.
    """

    def __init__(self, circuit: Any, jit_compile: bool | None = None) -> None:
        circuit = as_circuit(circuit)
        self.replicas = Replicas(circuit, jit_compile)
        self.evaluate = compiled_log_likelihood(circuit, jit_compile)

    def __call__(self, batches: Iterable[Batch]) -> float:
        """Per example, in nats."""
        replicas = self.replicas
        total = None
        for batch in replicas.in_step(batches):
            sums = replicas.run(self.evaluate, batch)
            total = sums if total is None else replicas.plus(_added, total, sums)
        if total is None:
            raise ValueError(
                "LogLikelihood: received no batches, expected at least one. An "
                "iterator can be consumed once only: pass a fresh one."
            )
        log_likelihood, weight = replicas.total(total)
        return mean_of_examples(float(log_likelihood), float(weight))


def mean_of_examples(log_likelihood: float, weight: float) -> float:
    """Per example, in nats.

    Raises:
        ValueError: No example counts.
    """
    if not weight:
        raise ValueError(
            "tfp_spn.learning: received data in which no example counts, expected "
            "sample_weight above 0 somewhere in the dataset. Check how weights were "
            "computed."
        )
    return log_likelihood / weight


@per_circuit
def compiled_log_likelihood(
    circuit: Circuit, jit_compile: bool | None
) -> Callable[[Batch], tuple[Tensor, Tensor]]:
    """Sum of log-likelihoods of a batch, and of its weights, in double precision."""
    program, params = circuit.program, circuit.live_params()

    @tf.function(jit_compile=jit_compile, autograph=False)
    def evaluate(batch: Batch) -> tuple[Tensor, Tensor]:
        joint = program.log_joint(
            program.tables(params), batch.evidence(program), is_whole=True
        )
        log_prob = tf.cast(log_prob_of(joint, batch.labels), tf.float64)
        weights = tf.cast(batch.weights, tf.float64)
        log_prob = tf.reduce_sum(tf.math.multiply_no_nan(log_prob, weights))
        return log_prob, tf.reduce_sum(weights)

    return evaluate


def log_prob_of(joint: Tensor, labels: Tensor | None) -> Tensor:
    """``log p(x)`` or ``log p(x, label)`` of ``[C, N]``."""
    if labels is None:
        return logsumexp(joint, axis=-2)
    return log_joint_of_labels(joint, labels)
