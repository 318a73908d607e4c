"""Online EM within seconds, from clusters of the rows if they can be had."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from dataclasses import dataclass, field

import keras
import numpy as np
from keras.optimizers.schedules import CosineDecay

from tfp_spn._typing import TensorLike
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.circuits.resized import UnitClasses
from tfp_spn.learning import Batches, Data, LogLikelihood, distill, fit
from tfp_spn.learning.even_batches import EvenBatches
from tfp_spn.learning.rounds import batch_size_of
from tfp_spn.learning.step_sizes import StepSize
from tfp_spn.structure.columns import Columns
from tfp_spn.structure.script import Script

_STEP_SIZE = 0.3
_UPDATES = 300
"""Of the first phase; each further one has twice as many."""

_MAX_EPOCHS = 200
_LEAST_GAIN = 1e-4
"""Nats per column that a phase has to gain, or it is the last one."""

_PART_FOR_CLUSTERS = 0.3
_WORK_OF_SECOND = 2.5e8
"""Rows by columns by states that k-means shares out in a second."""

_FEWEST_CLUSTERED, _MOST_CLUSTERED = 500, 10_000

_SMALLEST_BATCH, _LARGEST_BATCH = 64, 1024
_BATCHES = 8
"""Of rows that are few: smaller ones are too noisy, larger ones overfit."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a candidate for a table is given.

    Attributes:
        script: Where it writes what it does.
        train: Rows to learn from.
        valid: Rows to judge by.
        seconds: That it has.
        ends: When they are over, by `time.perf_counter`.
        seed: Of all that is drawn.
    """

    script: Script
    train: Columns
    valid: Columns
    seconds: float
    ends: float
    seed: int


def begin_with_clusters(circuit: RegionGraphCircuit, task: Task) -> None:
    """Clusters as latent variables, in a part of the seconds.

    Without scikit-learn nothing is done.
    """
    classes = UnitClasses(circuit, "learn")
    work = sum(len(scope) * classes.sizes[c] for c, scope in classes.scopes.items())
    rows = int(_PART_FOR_CLUSTERS * task.seconds * _WORK_OF_SECOND / work)
    max_rows = min(max(rows, _FEWEST_CLUSTERED), _MOST_CLUSTERED)
    arguments = {**task.train.data, "max_rows": max_rows, "seed": task.seed}
    with contextlib.suppress(ImportError):
        distill(circuit, **arguments)
        task.script.write("", distill, circuit, **arguments)


def fit_within(
    circuit: RegionGraphCircuit, task: Task
) -> tuple[tuple[float, ...], bool]:
    """Phases of online EM, each with steps that fall to nearly zero.

    The first one is short, and each goes on from the best parameters so far for twice
    as long, until one gains nothing, or time is over. So what overfits soon stops soon.

    Args:
        circuit: Is changed.
        task: Where phases are written that brought it forward.

    Returns:
        Validation log-likelihoods on the way, in nats per row; and whether it was
        interrupted (Ctrl-C), where the best until then is kept.
    """
    fitted = _Fitted(circuit, task)
    is_interrupted = False
    try:
        fitted.run(2, None)  # the first one compiles
        start = time.perf_counter()
        fitted.run(1, None)
        of_epoch = time.perf_counter() - start
        epochs = math.ceil(_UPDATES / fitted.num_updates)
        is_better = True
        while is_better:
            left = int(0.9 * (task.ends - time.perf_counter()) / of_epoch)
            epochs = min(epochs, left, _MAX_EPOCHS)
            if epochs < 1:
                break
            is_better = fitted.run(epochs, epochs * fitted.num_updates)
            epochs *= 2
    except KeyboardInterrupt:  # `fit` has left the best of its epochs
        is_interrupted = True
        fitted.keep_better()
    return tuple(fitted.curve), is_interrupted


@dataclass
class _Fitted:
    """A circuit with the best parameters so far, and how it came to them."""

    circuit: RegionGraphCircuit
    task: Task
    curve: list[float] = field(default_factory=list)
    best: float = -math.inf
    best_weights: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Chooses the size of batches by the number of rows."""
        train = self.task.train
        count = len(train.values)
        self.batch_size = batch_size_of(
            count, _BATCHES, _SMALLEST_BATCH, _LARGEST_BATCH
        )
        self.num_updates = EvenBatches(count, self.batch_size, train.weights).count
        self.settings = self.task.script.let(
            "settings",
            dict[str, TensorLike],
            validation_data=self.task.valid.data,
            method="online_em",
            batch_size=self.batch_size,
            pseudocount=0.05,
            patience=10,
            seed=self.task.seed,
        )

    def run(self, epochs: int, num_updates: int | None) -> bool:
        """A phase, of constant steps if `num_updates` is `None`; whether it gained."""
        train, script = self.task.train, self.task.script
        step: StepSize = _STEP_SIZE
        if num_updates is not None:
            step = script.call(CosineDecay, _STEP_SIZE, num_updates, alpha=0.02)
        arguments = {**train.data, **self.settings, "step_size": step}
        callbacks = [_Deadline(self.task.ends)]
        with warnings.catch_warnings():  # of ending before it converges
            warnings.simplefilter("ignore", UserWarning)
            history = fit(
                self.circuit,
                **arguments,
                epochs=epochs,
                verbose=False,
                callbacks=callbacks,
            )
        found = history.validation_log_likelihood
        self.curve += found
        gain = max(found) - self.best
        if self._keep(max(found)):
            script.write("", fit, self.circuit, **arguments, epochs=len(found))
        return gain > _LEAST_GAIN * train.num_variables

    def keep_better(self) -> None:
        """The best parameters, if those of the circuit are worse."""
        valid = Data(**self.task.valid.data)
        batches = Batches(self.circuit.program, valid, self.batch_size)
        self._keep(float(LogLikelihood(self.circuit)(batches())))

    def _keep(self, value: float) -> bool:
        """Whether the circuit is better than before; else it is as it was."""
        is_better = value > self.best
        if is_better:
            self.best, self.best_weights = value, self.circuit.get_weights()
        elif self.best_weights:
            self.circuit.set_weights(self.best_weights)
        return is_better


class _Deadline(keras.callbacks.Callback):
    """Ends a fit after the epoch in which time runs out."""

    def __init__(self, ends: float) -> None:
        super().__init__()
        self._ends = ends

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the clock."""
        if time.perf_counter() > self._ends:
            self.model.stop_training = True
