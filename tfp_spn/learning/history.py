"""What happened during a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """The course of a fit; log-likelihoods are means per example, in nats.

    A fit of `num_updates` is told in rounds of equally many updates in place of epochs.

    Attributes:
        log_likelihood: Of the training data, by epoch: before the M-step for
            ``method="em"``, else of each batch before its step.
        validation_log_likelihood: Of the validation data after each epoch; empty
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
    classes: tuple[Any, ...] | None = None
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
