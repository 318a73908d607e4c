"""The mean log-likelihood of data."""

from __future__ import annotations

from collections.abc import Iterable

from tfp_spn._arguments import a_flag, reads
from tfp_spn.learning.batch_functions import log_likelihood_of
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.maximization import as_circuit
from tfp_spn.learning.replicas import Replicas


class LogLikelihood:
    """Mean log-likelihood of held-out data.

    Args:
        circuit: A circuit, or a distribution over one.
        jit_compile: Whether XLA compiles the evaluation.
    """

    @reads(jit_compile=a_flag())
    def __init__(self, circuit: object, jit_compile: bool | None = None) -> None:
        self.replicas = Replicas(as_circuit(circuit), jit_compile)

    def __call__(self, batches: Iterable[Batch]) -> float:
        """Per example, in nats."""
        log_likelihood, weight = self.replicas.total_of(
            "LogLikelihood", log_likelihood_of, batches
        )
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
