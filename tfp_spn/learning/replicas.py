"""Runs learning where a circuit lives: on one device, or on all replicas.

What adds over examples (expected counts, gradients, log-likelihoods, weights) is
computed by each replica on its share of a batch and summed over the replicas; what
follows (an M-step, an optimizer's step) is computed once from the sums and assigned to
all copies. So the numbers are those of one device up to rounding, however many
examples, and of whatever weight, each replica was given: nothing is averaged.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batch_functions import sum_of
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.in_replica import sum_over_replicas
from tfp_spn.learning.worker_agreement import (
    batch_facts,
    check_settings,
    check_turn,
    digest,
    no_batch,
)
from tfp_spn.ops.certainty import CHECKED
from tfp_spn.programs.program import Program
from tfp_spn.programs.traces import Body, answer

T = TypeVar("T")

_SYNCHRONOUS = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
)
_LOST_WORKER = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.UnavailableError,
)


_FUNCTIONS: weakref.WeakKeyDictionary[Circuit, dict[tuple[Program, Body], Callable]] = (
    weakref.WeakKeyDictionary()
)


def mirrored_functions(circuit: Circuit) -> dict[tuple[Program, Body], Callable]:
    """Returns what was traced for a circuit under a strategy, by program and body."""
    return _FUNCTIONS.setdefault(circuit, {})


class Replicas:
    """Runs what learning does for a batch on the devices of a circuit's variables.

    Args:
        circuit: The circuit to train or evaluate. Its strategy is that under whose
            ``scope()`` the variables were created, if any.
        jit_compile: Whether XLA is wanted, which no strategy can have.

    Raises:
        ValueError: The variables belong to no strategy although one is in scope, or to
            different ones, or to one that is not synchronous.
    """

    def __init__(self, circuit: Circuit, jit_compile: bool | None = None) -> None:
        self.circuit, self.jit_compile = circuit, jit_compile
        self.slots: dict[str, tf.Variable] = {}
        self.strategy = strategy_of(circuit)
        if self.strategy is None:
            return
        if jit_compile:
            raise ValueError(
                "tfp_spn.learning: XLA compiles for one device, received "
                f"jit_compile=True and {type(self.strategy).__name__}. Leave "
                "jit_compile out, or build the circuit outside of strategy.scope()."
            )
        strategy = self.strategy

        @tf.function(autograph=False)
        def summed(values: T) -> T:
            return strategy.run(sum_over_replicas, args=(values,))

        self._summed = summed

    @property
    def num_replicas(self) -> int:
        """Number of devices that share each batch."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    @property
    def num_workers(self) -> int:
        """Number of processes."""
        if self.strategy is None:
            return 1
        return self.num_replicas // len(self.strategy.extended.worker_devices)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files for all."""
        if self.num_workers == 1 or self.strategy is None:
            return True
        resolver = self.strategy.cluster_resolver
        if resolver.task_type == "chief":
            return True
        has_chief = "chief" in resolver.cluster_spec().as_dict()
        return not has_chief and resolver.task_id == 0

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the scope for variables that change with those of the circuit."""
        return (
            contextlib.nullcontext() if self.strategy is None else self.strategy.scope()
        )

    def check_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Checks that a Keras optimizer was created where the circuit was.

        Raises:
            ValueError: It belongs to another strategy, or to none.
        """
        for variable in optimizer.variables:
            strategy = getattr(variable.value, "distribute_strategy", None)
            if strategy is not self.strategy:
                raise ValueError(
                    "tfp_spn.learning: the optimizer and the circuit must be created "
                    f"under one strategy, received an optimizer of "
                    f"{_described(strategy)} for a circuit of "
                    f"{_described(self.strategy)}, expected the same. Create both "
                    "within `with strategy.scope():`."
                )

    def keep(self, slots: dict[str, tf.Variable]) -> None:
        """Gives bodies further variables, beside the circuit's parameters.

        Raises:
            ValueError: There are several replicas, which could not share them.
        """
        if slots and self.strategy is not None:
            raise ValueError(
                "tfp_spn.learning: replicas have no variables of a method, received "
                f"{_described(self.strategy)}, expected one device for momentum. Use "
                "method='online_em', or build the circuit outside of strategy.scope()."
            )
        self.slots = slots

    def run(self, body: Body, batch: Any, *numbers: float) -> Tensor:
        """Computes something of a batch, each replica of its share.

        Shares are of one size; what a batch lacks is filled up with weight zero.

        Args:
            body: See `tfp_spn.learning.batch_functions`.
            batch: The batch.
            *numbers: Further arguments of `body`.

        Returns:
            What each replica computed; give it to `sum` and `total`.
        """
        if self.strategy is None:
            return self._answer(body, batch, *numbers, jit_compile=self.jit_compile)
        function = self._mirrored(body)
        with self._clear_about_lost_workers():
            return self.strategy.run(function, args=(self._shared_out(batch), *numbers))

    def change(self, body: Body, totals: object, *numbers: float) -> None:
        """Changes parameters, once for all replicas, by what `total` returned."""
        if self.strategy is None:
            self._answer(body, totals, *numbers)
        else:  # outside of a strategy's scope an assignment is to all copies
            tensors = [tf.constant(number, tf.float64) for number in numbers]
            self._mirrored(body)(totals, *tensors)

    def sum(self, a: T, b: T) -> T:
        """Adds what two runs returned."""
        if self.strategy is None:
            return answer(self.circuit.program, sum_of, {}, a, b)
        return self.strategy.run(self._mirrored(sum_of), args=(a, b))

    def _answer(
        self, body: Body, values: Tensor, *numbers: float, **options: Any
    ) -> Tensor:
        program, params = self.circuit.program, self.circuit.live_params()
        params = {**params, **self.slots}
        tensors = [tf.constant(number, tf.float64) for number in numbers]
        return answer(program, body, params, values, *tensors, **options)

    def _mirrored(self, body: Body) -> Callable:
        """The body as a function of this strategy, of the circuit's own variables."""
        program, params = self.circuit.program, self.circuit.live_params()
        functions = mirrored_functions(self.circuit)
        if (program, body) not in functions:

            @tf.function(autograph=False)
            def function(*arguments: Tensor) -> Tensor:
                return body(program, CHECKED, params, *arguments)

            functions[program, body] = function
        return functions[program, body]

    def total(self, values: T) -> T:
        """Sums what `run` returned over all replicas, in all processes."""
        if self.strategy is None:
            return values
        with self._clear_about_lost_workers():
            return tf.nest.map_structure(self._any_of, self._summed(values))

    def total_of(
        self, owner: str, body: Body, batches: Iterable[Any], *numbers: float
    ) -> Tensor:
        """Sums what `run` returns over all batches and replicas.

        Args:
            owner: Who asks, for messages.
            body: As of `run`.
            batches: As of `in_step`.
            *numbers: As of `run`.

        Raises:
            ValueError: There are no batches.
        """
        total: Any = None
        for batch in self.in_step(batches):
            found = self.run(body, batch, *numbers)
            total = found if total is None else self.sum(total, found)
        if total is None:
            raise ValueError(
                f"{owner}: received no batches, expected at least one. An iterator "
                "can be consumed once only: pass a fresh one."
            )
        return self.total(total)

    def in_step(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, checked to be the same in all processes.

        Raises:
            ValueError: Another process has other batches, or fewer, or more.
            RuntimeError: Another process failed to read its batches, or was lost.
        """
        if self.num_workers == 1:
            yield from batches
            return
        iterator, turn = iter(batches), 0
        while True:
            try:
                batch = next(iterator, None)
            except BaseException:
                with contextlib.suppress(Exception):  # the first error counts
                    self._gathered(no_batch(failed=True))
                raise
            facts = no_batch() if batch is None else batch_facts(batch)
            check_turn(self._gathered(facts), turn)
            if batch is None:
                return
            yield batch
            turn += 1

    def check_agreement(self, settings: Mapping[str, object]) -> None:
        """Checks that all processes do the same.

        Raises:
            ValueError: A value differs.
        """
        if self.num_workers > 1:
            digests = [digest(value) for value in settings.values()]
            check_settings(list(settings), self._gathered(digests))

    def _shared_out(self, batch: Batch) -> Batch:
        share = -(-len(batch.x) // self.num_replicas)

        def shares(values: Any, fill: int | None = None) -> Any:
            if values is None:
                return None
            array = values.numpy()
            filling = array[:1] if fill is None else np.full_like(array[:1], fill)

            def of_replica(context: tf.distribute.ReplicaContext) -> tf.Tensor:
                start = context.replica_id_in_sync_group * share
                part = array[start : start + share]
                rest = np.repeat(filling, share - len(part), axis=0)
                return tf.constant(np.concatenate([part, rest]))

            return self._values(of_replica)

        x, observed, labels = map(shares, (batch.x, batch.observed, batch.labels))
        return Batch(x, observed, labels, shares(batch.weights, fill=0))

    def _gathered(self, numbers: list[int]) -> np.ndarray:
        """The numbers of all processes, ``[replicas, ...]``."""

        def of_replica(context: tf.distribute.ReplicaContext) -> tf.Tensor:
            rows = np.zeros([self.num_replicas, len(numbers)], np.int64)
            rows[context.replica_id_in_sync_group] = numbers
            return tf.constant(rows)

        return self.total(self._values(of_replica)).numpy()

    def _values(
        self, of_replica: Callable[[tf.distribute.ReplicaContext], tf.Tensor]
    ) -> Tensor:
        strategy: tf.distribute.Strategy = self.strategy
        return strategy.experimental_distribute_values_from_function(of_replica)

    def _any_of(self, value: object) -> tf.Tensor:
        strategy: tf.distribute.Strategy = self.strategy
        return strategy.experimental_local_results(value)[0]

    @contextlib.contextmanager
    def _clear_about_lost_workers(self) -> Iterator[None]:
        try:
            yield
        except _LOST_WORKER as error:
            if self.num_workers == 1:
                raise
            raise RuntimeError(
                "tfp_spn.learning: a worker was lost, received "
                f"{type(error).__name__}: {_reason(error)}, expected "
                f"{self.num_workers} workers to the end. Start all workers again; "
                "fit goes on after its last complete epoch if it was, and is, given "
                "a checkpoint that all workers can read."
            ) from error


def strategy_of(circuit: Circuit) -> tf.distribute.Strategy:
    """The strategy that mirrors the circuit's variables, or `None`."""
    mirrored = [
        getattr(variable, "distribute_strategy", None)
        for variable in circuit.live_params().values()
    ]
    name = circuit.name
    strategies = {id(strategy): strategy for strategy in mirrored}
    if len(strategies) > 1:
        raise ValueError(
            f"tfp_spn.learning: the variables of '{name}' do not live together, "
            f"received strategies {[_described(s) for s in strategies.values()]}, "
            "expected one for all. Create all layers of a circuit under one "
            "strategy.scope()."
        )
    strategy = mirrored[0] if mirrored else None
    current = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    is_one_device = isinstance(current, tf.distribute.OneDeviceStrategy)
    if current is not None and current is not strategy and not is_one_device:
        raise ValueError(
            f"tfp_spn.learning: '{name}' was not created under the strategy in scope, "
            f"received variables of {_described(strategy)}, expected "
            f"{_described(current)}. Build the circuit (or the stack of layers) "
            "within `with strategy.scope():`."
        )
    if strategy is not None and not isinstance(strategy, _SYNCHRONOUS):
        raise ValueError(
            "tfp_spn.learning: replicas must keep in step, received "
            f"{_described(strategy)}, expected a MirroredStrategy or a "
            "MultiWorkerMirroredStrategy. Create the circuit under one of these."
        )
    return strategy


def _described(strategy: tf.distribute.Strategy) -> str:
    return "no strategy" if strategy is None else type(strategy).__name__


def _reason(error: tf.errors.OpError) -> str:
    """The line of a long message that says what happened."""
    return error.message.split("aborted by: ")[-1].strip().split("\n")[0]
