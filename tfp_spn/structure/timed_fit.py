"""Online EM within seconds, from clusters of the rows if they can be had."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.circuits.resized import UnitClasses
from tfp_spn.learning import Batches, Data, History, LogLikelihood, distill, fit
from tfp_spn.learning.even_batches import EvenBatches
from tfp_spn.learning.rounds import batch_size_of
from tfp_spn.structure.columns import Columns

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


@dataclass(frozen=True)
class TimedFit:
    """What was done within the seconds.

    Attributes:
        curve: Validation log-likelihoods, in nats per row.
        code: Python that does it again.
        is_interrupted: Whether it was (Ctrl-C); the best until then is kept.
    """

    curve: tuple[float, ...]
    code: str
    is_interrupted: bool


AS_FLOAT32 = (
    'x = x.astype("float32")\n'
    'validation_data["x"] = validation_data["x"].astype("float32")\n'
)
"""Python for the dtype of circuits."""


def begin_with_clusters(
    circuit: RegionGraphCircuit, train: Columns, seconds: float, seed: int
) -> str:
    """Clusters as latent variables, in a part of the seconds.

    Without scikit-learn nothing is done.

    Returns:
        Python that does it again.
    """
    classes = UnitClasses(circuit, "learn")
    work = sum(len(scope) * classes.sizes[c] for c, scope in classes.scopes.items())
    rows = int(_PART_FOR_CLUSTERS * seconds * _WORK_OF_SECOND / work)
    max_rows = min(max(rows, _FEWEST_CLUSTERED), _MOST_CLUSTERED)
    try:
        distill(
            circuit,
            train.values.astype(np.float32),
            observed=train.observed,
            sample_weight=train.weights,
            max_rows=max_rows,
            seed=seed,
        )
    except ImportError:
        return ""
    return (
        "tfp_spn.learning.distill(\n"
        f"    circuit, x, observed=observed{weight_code(train)},\n"
        f"    max_rows={max_rows}, seed={seed})\n"
    )


def fit_within(
    circuit: RegionGraphCircuit, train: Columns, valid: Columns, ends: float, seed: int
) -> TimedFit:
    """Phases of online EM, each with steps that fall to nearly zero.

    The first one is short, and each goes on from the best parameters so far for twice
    as long, until one gains nothing, or time is over. So what overfits soon stops soon.

    Args:
        circuit: Is changed.
        train: Rows to learn from.
        valid: Rows to judge by.
        ends: When to stop, by `time.perf_counter`.
        seed: Of the order of rows.
    """
    fitted = _Fitted(circuit, train, valid, ends, seed)
    is_interrupted = False
    try:
        fitted.run(2, None)  # the first one compiles
        start = time.perf_counter()
        fitted.run(1, None)
        of_epoch = time.perf_counter() - start
        epochs = math.ceil(_UPDATES / fitted.num_updates)
        is_better = True
        while is_better:
            left = int(0.9 * (ends - time.perf_counter()) / of_epoch)
            epochs = min(epochs, left, _MAX_EPOCHS)
            if epochs < 1:
                break
            is_better = fitted.run(epochs, epochs * fitted.num_updates)
            epochs *= 2
    except KeyboardInterrupt:  # `fit` has left the best of its epochs
        is_interrupted = True
        fitted.keep_better()
    return TimedFit(tuple(fitted.curve), fitted.code(), is_interrupted)


@dataclass
class _Fitted:
    """A circuit with the best parameters so far, and how it came to them."""

    circuit: RegionGraphCircuit
    train: Columns
    valid: Columns
    ends: float
    seed: int
    curve: list[float] = field(default_factory=list)
    phases: list[tuple[int, int | None]] = field(default_factory=list)
    best: float = -math.inf
    best_weights: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Chooses the size of batches by the number of rows."""
        count = len(self.train.values)
        self.batch_size = batch_size_of(
            count, _BATCHES, _SMALLEST_BATCH, _LARGEST_BATCH
        )
        weights = self.train.weights
        self.num_updates = EvenBatches(count, self.batch_size, weights).count

    def run(self, epochs: int, num_updates: int | None) -> bool:
        """A phase, of constant steps if `num_updates` is `None`; whether it gained."""
        step: Any = _STEP_SIZE
        if num_updates is not None:
            step = keras.optimizers.schedules.CosineDecay(step, num_updates, alpha=0.02)
        data = as_data(self.train)
        if not self.train.is_weighted:
            del data["sample_weight"]
        history = _fit(
            self.circuit,
            **data,
            method="online_em",
            epochs=epochs,
            step_size=step,
            validation_data=as_data(self.valid),
            batch_size=self.batch_size,
            pseudocount=0.05,
            patience=10,
            seed=self.seed,
            verbose=False,
            callbacks=[_Deadline(self.ends)],
        )
        found = history.validation_log_likelihood
        self.curve += found
        gain = max(found) - self.best
        self._keep(max(found), (len(found), num_updates))
        return gain > _LEAST_GAIN * self.train.num_variables

    def keep_better(self) -> None:
        """The best parameters, if those of the circuit are worse."""
        valid = as_data(self.valid)
        batches = Batches(self.circuit.program, Data(**valid), self.batch_size)
        self._keep(float(LogLikelihood(self.circuit)(batches())), None)

    def code(self) -> str:
        """Python that does the phases again."""
        phases = []
        for epochs, num_updates in self.phases:
            decay = f"{_STEP_SIZE}, {num_updates}, alpha=0.02"
            schedule = f"keras.optimizers.schedules.CosineDecay({decay})"
            step = _STEP_SIZE if num_updates is None else schedule
            phases.append(f"    ({step}, {epochs}),\n")
        return (
            f"for step_size, epochs in [\n{''.join(phases)}]:\n"
            "    tfp_spn.learning.fit(\n"
            '        circuit, x, method="online_em", observed=observed,\n'
            f"        epochs=epochs{weight_code(self.train)}, step_size=step_size,\n"
            f"        validation_data=validation_data, batch_size={self.batch_size},\n"
            f"        pseudocount=0.05, patience=10, seed={self.seed})"
        )

    def _keep(self, value: float, phase: tuple[int, int | None] | None) -> None:
        if value > self.best:
            self.best, self.best_weights = value, self.circuit.get_weights()
            self.phases += [] if phase is None else [phase]
        elif self.best_weights:
            self.circuit.set_weights(self.best_weights)


def _fit(circuit: RegionGraphCircuit, x: np.ndarray, **arguments: Any) -> History:
    """A fit that does not warn of ending before it converges: time is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fit(circuit, x, **arguments)


class _Deadline(keras.callbacks.Callback):
    """Ends a fit after the epoch in which time runs out."""

    def __init__(self, ends: float) -> None:
        super().__init__()
        self._ends = ends

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the clock."""
        if time.perf_counter() > self._ends:
            self.model.stop_training = True


def as_data(columns: Columns) -> dict[str, np.ndarray]:
    """What `fit` takes."""
    return {
        "x": columns.values.astype(np.float32),
        "observed": columns.observed,
        "sample_weight": columns.weights,
    }


def weight_code(columns: Columns) -> str:
    """An argument of code, where weights differ."""
    return ", sample_weight=sample_weight" if columns.is_weighted else ""
