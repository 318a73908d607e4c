"""How far a fit has come, and the way back when something goes wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tfp_spn.learning.checkpoint_file import (
    Arrays,
    Settings,
    load,
    remove_leftovers,
    save,
)
from tfp_spn.learning.history import History
from tfp_spn.learning.training_state import TrainingState, params_of


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
