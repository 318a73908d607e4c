"""When a fit stops."""

from __future__ import annotations

from dataclasses import dataclass

from tfp_spn.learning.history import History


@dataclass(frozen=True)
class Stopping:
    """The rules; the first that applies ends the fit.

    Attributes:
        epochs: Greatest number of epochs.
        tolerance: Stop when the training log-likelihood rises by less.
        patience: Stop after so many epochs without a better validation log-likelihood.
    """

    epochs: int
    tolerance: float | None = None
    patience: int | None = None

    def is_reached(self, history: History) -> bool:
        """Whether to stop; keeps the reason in `history`."""
        history.stopped_because = self._reason(history)
        return bool(history.stopped_because)

    def _reason(self, history: History) -> str:
        values = history.log_likelihood
        if self.patience is not None and history.epochs_since_best() >= self.patience:
            return "patience"
        if self.tolerance is not None and len(values) > 1:
            rise = values[-1] - values[-2]
            if not rise >= self.tolerance and values[-2] > float("-inf"):
                return "tolerance"
        return "epochs" if history.epochs >= self.epochs else ""
