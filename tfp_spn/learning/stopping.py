"""When a fit stops."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from tfp_spn.learning.history import History

_LEAST_GAIN = 1e-3
"""Nats per example: what less than this is no gain to wait for."""


@dataclass(frozen=True)
class Stopping:
    """The rules; the first that applies ends the fit.

    Attributes:
        epochs: Greatest number of epochs.
        tolerance: Stop when the training log-likelihood rises by less.
        patience: Stop after so many epochs without a better validation log-likelihood.
        reason: What the end of all epochs is called.
    """

    epochs: int
    tolerance: float | None = None
    patience: int | None = None
    reason: str = "epochs"

    def is_reached(self, history: History, by_callback: bool = False) -> bool:
        """Whether to stop; keeps the reason in `history`."""
        history.stopped_because = self._reason(history)
        if by_callback and not history.stopped_because:
            history.stopped_because = "callback"
        history.converged = history.last_gain < self._least_gain or (
            history.stopped_because == "patience"
            and history.validation_log_likelihood[-1]
            < max(history.validation_log_likelihood) - self._least_gain
        )
        return bool(history.stopped_because)

    @property
    def _least_gain(self) -> float:
        return _LEAST_GAIN if self.tolerance is None else self.tolerance

    def warn(self, history: History, stacklevel: int) -> None:
        """Warns if the fit stopped while the likelihood was still rising."""
        if history.converged or not history.last_gain > 10 * self._least_gain:
            return
        remedy = {
            "patience": "a larger patience",
            "callback": "a callback that waits",
            "num_updates": "more updates",
        }
        warnings.warn(
            f"fit: the log-likelihood was still rising, by {history.last_gain:.3g} "
            f"nats per example in the last of {history.epochs} epochs, when the fit "
            f"stopped because of {history.stopped_because!r}. Continue with "
            f"{remedy.get(history.stopped_because, 'more epochs')} "
            f"(tolerance={self._least_gain:g} ends it in time), or call fit again.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )

    def _reason(self, history: History) -> str:
        values = history.log_likelihood
        if self.patience is not None and history.epochs_since_best() >= self.patience:
            return "patience"
        if self.tolerance is not None and len(values) > 1:
            rise = values[-1] - values[-2]
            if not rise >= self.tolerance and values[-2] > float("-inf"):
                return "tolerance"
        return self.reason if history.epochs >= self.epochs else ""
