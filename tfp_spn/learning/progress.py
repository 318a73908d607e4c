"""How far a fit has come, what it changes, and the way back when something fails."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Config, Params
from tfp_spn.circuits.data import Data
from tfp_spn.learning.checkpoint_file import (
    Arrays,
    Settings,
    load,
    remove_leftovers,
    save,
)
from tfp_spn.learning.history import History


class TrainingState:
    """All variables that a fit changes, by name.

    Args:
        params: The circuit's parameters, `tf.Variable` each.
        others: Variables of the method, such as an optimizer's.
    """

    def __init__(self, params: Params, others: list[tf.Variable]) -> None:
        self.variables = {f"params/{name}": v for name, v in params.items()}
        self.variables.update({f"method/{n}": v for n, v in enumerate(others)})

    def take(self) -> Arrays:
        """A copy of all values."""
        return {name: v.numpy().copy() for name, v in self.variables.items()}

    def restore(self, arrays: Arrays) -> None:
        """Puts copied values back; arrays may name some of the variables only."""
        for name, value in arrays.items():
            self.variables[name].assign(value)


def params_of(arrays: Arrays) -> Arrays:
    """The circuit's own parameters."""
    return {k: v for k, v in arrays.items() if k.startswith("params/")}


def data_digest(data: Data | tf.data.Dataset, num_rows: int = 64) -> Config:
    """Which data these are, as far as it is cheap to tell.

    Args:
        data: A `Data` of arrays, or a dataset, of which only the types are told.
        num_rows: How many rows at both ends are looked at.

    Returns:
        Shapes by part and a hash of the rows, ready for JSON.
    """
    if isinstance(data, tf.data.Dataset):
        return {"dataset": str(data.element_spec)}
    shapes, digest = {}, hashlib.sha256()
    for name, part in data._asdict().items():
        if part is not None:
            shapes[name] = list(part.shape)
            for rows in (part[:num_rows], part[-num_rows:]):
                digest.update(np.asarray(rows, np.float64).tobytes())
    return {**shapes, "rows": digest.hexdigest()[:16]}


class Progress:
    """The history of a fit with the parameters that belong to it.

    Args:
        state: The variables that the fit changes.
        settings: What a checkpoint must agree in.
        in_version_1: What the first version of checkpoints recorded otherwise.
        checkpoint: Path of the checkpoint; read if it exists.
        saves: Whether this process writes it.
        keeps_best: Whether an interruption leaves the best parameters, not the last.

    Raises:
        ValueError: The checkpoint belongs to another fit.
    """

    def __init__(
        self,
        state: TrainingState,
        settings: Settings,
        in_version_1: Settings,
        checkpoint: str | os.PathLike[str] | None = None,
        saves: bool = True,
        keeps_best: bool = False,
    ) -> None:
        self.saves, self.keeps_best = saves, keeps_best
        self.state = state
        self.settings = settings
        self.path = None if checkpoint is None else Path(checkpoint)
        self.history = History()
        self.start = state.take()
        self.last: Arrays = self.start
        self.best: Arrays = {}
        if self.path is not None and saves:
            remove_leftovers(self.path)
        if self.path is not None and self.path.exists():
            self.history, self.last, self.best = load(
                self.path, settings, in_version_1, self.start
            )

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Restores the last complete epoch on entry and after an interruption.

        (Then the parameters of the best one, if they are kept.)

        After an error, whatever it is, restores what was there in the beginning.
        """
        try:
            self.state.restore(self.last)
            yield
        except Exception:
            self.state.restore(self.start)
            raise
        except BaseException:
            self.state.restore(self.last)
            if self.keeps_best:
                self.take_best()
            raise

    def complete_epoch(
        self, last: Arrays, log_likelihood: float, validation: float | None
    ) -> None:
        """Notes what an epoch ended with, its results, and saves the checkpoint."""
        self.history.log_likelihood.append(log_likelihood)
        if validation is not None:
            self.history.validation_log_likelihood.append(validation)
            if self.history.has_improved:
                self.best = params_of(last)
        self.last = last
        if self.path is not None and self.saves:
            save(self.path, self.settings, self.history, self.last, self.best)

    def take_best(self) -> None:
        """Goes back to the epoch of the best validation."""
        self.state.restore(self.best)
