"""What happened during a fit, and when that is a reason to stop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field


@dataclass
class History:
    """The course of a fit; log-likelihoods are means per example, in nats.

    A fit of `num_updates` is told in rounds of equally many updates in place of epochs.

    Attributes:
        log_likelihood: That of the training data, by epoch: before the M-step for
            ``method="em"``, else of each batch before its step.
        validation_log_likelihood: That of the validation data after each epoch; empty
            without them.
        stopped_because: ``"epochs"``, ``"num_updates"``, ``"tolerance"``,
            ``"patience"`` or ``"callback"``.
        converged: Whether the fit came to an end by itself: the last epoch raised the
            training log-likelihood by less than `tolerance` (0.001 if none was given),
            or validation has become worse. One that stopped on a plateau, or because of
            `epochs`, while it was still rising has not.
        classes: The label of each class root, where labels were no class numbers:
            ``np.asarray(history.classes)[spn.posterior_mode(x)]``. Else `None`.
        num_updates: How often parameters were changed; `None` if a dataset was read
            to its end, whose batches nobody counts.
    """

    log_likelihood: list[float] = field(default_factory=list)
    validation_log_likelihood: list[float] = field(default_factory=list)
    stopped_because: str = ""
    converged: bool = False
    classes: tuple[object, ...] | None = None
    num_updates: int | None = None

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.log_likelihood)

    @property
    def last_gain(self) -> float:
        """By how much the last epoch raised the training log-likelihood, or NaN."""
        values = self.log_likelihood
        return values[-1] - values[-2] if len(values) > 1 else float("nan")

    @property
    def best_epoch(self) -> int | None:
        """Index of the epoch after which validation was best, `None` without it."""
        values = self.validation_log_likelihood
        return max(range(len(values)), key=values.__getitem__) if values else None

    @property
    def has_improved(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.best_epoch == self.epochs - 1

    def epochs_since_best(self) -> int:
        """How many epochs ago validation was best."""
        best = self.best_epoch
        return 0 if best is None else self.epochs - 1 - best

    def summary(self) -> str:
        """The last values, for a progress bar."""
        text = f"log_likelihood={self.log_likelihood[-1]:.4f}"
        if self.validation_log_likelihood:
            text += f", validation={self.validation_log_likelihood[-1]:.4f}"
        return text


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
            if not history.last_gain >= self.tolerance and values[-2] > float("-inf"):
                return "tolerance"
        return self.reason if history.epochs >= self.epochs else ""
