"""Parameters averaged over the last updates of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.mean_parameters import MeanParameters
from tfp_spn.learning.method import Terms, Trainer
from tfp_spn.learning.named_methods import WrappedMethod


@dataclass(frozen=True)
class AveragedParameters(WrappedMethod):
    """Any method, whose result is the average over its last updates.

    Steps of constant size leave the parameters in a cloud around a maximum, whose
    middle is better than most of it (Polyak and Ruppert). Weights of sums are averaged
    as probabilities, leaves as they are stored. The average replaces the last
    parameters in the end of the fit; where the best ones are kept, only if its
    validation log-likelihood is higher than theirs.

    Args:
        method: A method of `fit`.
        last: Part of the updates that is averaged over, from 0 (none) to 1.

    Example:
        >>> import tfp_spn
        >>> tfp_spn.learning.AveragedParameters("online_em", last=0.5)
        AveragedParameters(method='online_em', last=0.5)
    """

    last: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        read_fields(self, last=a_rate(least=0, most=1))

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        """Binds the method to a circuit.

        Raises:
            ValueError: The fit has no known end, or several replicas.
        """
        inner = self.inner.trainer(circuit, terms)
        if terms.num_updates is None:
            raise ValueError(
                "AveragedParameters: the last updates need an end, received a dataset "
                "and epochs, expected num_updates. Pass num_updates to fit."
            )
        if inner.replicas.strategy is not None:
            raise ValueError(
                "AveragedParameters: replicas have no averages, received "
                f"{type(inner.replicas.strategy).__name__}, expected one device. Build "
                "the circuit outside of strategy.scope()."
            )
        count = int(self.last * terms.num_updates)
        if not count:
            return inner
        return AveragingTrainer(
            circuit, inner, terms.num_updates - count, self.is_full_batch
        )


class AveragingTrainer:
    """Watches another trainer, and averages what it makes of the parameters."""

    def __init__(
        self, circuit: Circuit, inner: Trainer, start: int, by_epoch: bool
    ) -> None:
        self.inner, self.start, self.by_epoch = inner, start, by_epoch
        self.replicas = inner.replicas
        self.optimizer = getattr(inner, "optimizer", None)
        self.step_size = getattr(inner, "step_size", None)
        self.parameters = parameters = MeanParameters(circuit)
        with self.replicas.scope():
            self.updates = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.averages = {
                name: tf.Variable(tf.zeros_like(value), trainable=False)
                for name, value in parameters.tensors().items()
            }

        @tf.function(autograph=False)
        def collect(number: tf.Tensor) -> None:
            for name, value in parameters.tensors().items():
                average = self.averages[name]
                average.assign_add((value - average) / tf.cast(number, value.dtype))

        self._collect = collect

    @property
    def state(self) -> list[tf.Variable]:
        """What an interrupted fit must keep besides the circuit's parameters."""
        return [*self.inner.state, self.updates, *self.averages.values()]

    def epoch(self, batches: Iterable[Batch]) -> float:
        """An epoch of the other trainer."""
        if not self.by_epoch:
            return self.inner.epoch(self._watched(batches))
        log_likelihood = self.inner.epoch(batches)
        self._count()
        return log_likelihood

    def take_average(self) -> bool:
        """Sets the circuit's parameters to the average, if there is one."""
        if int(self.updates) <= self.start:
            return False
        self.parameters.assign(
            {name: tf.convert_to_tensor(v) for name, v in self.averages.items()}
        )
        return True

    def _watched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            self._count()  # the next one is wanted: a step has been taken

    def _count(self) -> None:
        self.updates.assign_add(1)
        number = int(self.updates) - self.start
        if number > 0:
            self._collect(tf.constant(number, tf.int64))
