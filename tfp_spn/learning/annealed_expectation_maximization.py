"""Annealed EM: posteriors that are soft at first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.e_step import Warming
from tfp_spn.learning.method import Terms, Trainer
from tfp_spn.learning.named_methods import WrappedMethod


@dataclass(frozen=True)
class AnnealedExpectationMaximization(WrappedMethod):
    """Deterministic annealing: EM whose E-step is tempered in the beginning [1].

    Counts are those of posteriors in proportion to ``p(x, z)^t``. The inverse
    temperature `t` rises linearly from `start` to 1 within the first part of the
    updates: components compete less while they have not found their place.

    Args:
        method: ``"em"``, ``"online_em"`` or another method of EM.
        start: The first inverse temperature, from 0 to 1. With 1 nothing is tempered.
        part: Of the updates that are tempered, from 0 to 1.

    Example:
        >>> import tfp_spn
        >>> tfp_spn.learning.AnnealedExpectationMaximization("em", start=0.5, part=0.2)
        AnnealedExpectationMaximization(method='em', start=0.5, part=0.2)

    References:
        [1]: Ueda, Nakano. Deterministic annealing EM algorithm. Neural Networks, 1998.
    """

    start: float = 0.5
    part: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        part = a_rate(least=0, most=1)
        read_fields(self, start=part, part=part)

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        """Binds the method to a circuit.

        Raises:
            ValueError: The fit has no known end, or the method is not one of EM.
        """
        if terms.num_updates is None:
            raise ValueError(
                "AnnealedExpectationMaximization: a part of the updates needs an end, "
                "received a dataset and epochs, expected num_updates. Pass num_updates "
                "to fit."
            )
        if self.start < 1:
            number = int(self.part * terms.num_updates)
            e_step = replace(terms.e_step, warming=Warming(self.start, number))
            terms = replace(terms, e_step=e_step)
        return self.inner.trainer(circuit, terms)
