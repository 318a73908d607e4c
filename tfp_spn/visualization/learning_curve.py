"""The course of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfp_spn._arguments import a_text, reads
from tfp_spn.visualization._optional import import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@reads(label=a_text())
def plot_learning_curve(
    history: Any, ax: Axes | None = None, label: str | None = None
) -> Axes:
    """Draws the log-likelihood by epoch, and where validation was best.

    Args:
        history: What `tfp_spn.learning.fit` returns, or `fit` of a Keras model: then
            its ``log_likelihood``, or else its ``loss``.
        ax: The matplotlib `Axes` to draw on, for several curves in one picture.
            Default: that of a new figure.
        label: Name of the fit, put before "training" and "validation" in the legend.

    Returns:
        The matplotlib `Axes`.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If `history` has no log-likelihoods.
        ValueError: If no epoch has been completed.
    """
    values, validation, name = _courses(history)
    if not values:
        raise ValueError(
            "`history` is empty: there is nothing to draw. Fit for at least one epoch."
        )
    plt = import_pyplot()
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
    prefix = f"{label}, " if label else ""
    epochs = range(1, len(values) + 1)
    (line,) = ax.plot(epochs, values, label=f"{prefix}training")
    if validation:
        title = f"{prefix}validation"
        ax.plot(epochs, validation, "--", color=line.get_color(), label=title)
        choose = min if name == "loss" else max
        best = choose(range(len(validation)), key=validation.__getitem__)
        ax.plot(best + 1, validation[best], "o", color=line.get_color(), markersize=5)
    ax.set_xlabel("epoch")
    ax.set_ylabel(name)
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3, linewidth=0.5)
    ax.legend(fontsize=8, loc="upper right" if name == "loss" else "lower right")
    _limit_to_the_interesting(ax)
    return ax


def _courses(history: Any) -> tuple[list[float], list[float], str]:
    """By epoch: of the training and of the validation data, and what they are."""
    name = "log-likelihood per example (nats)"
    if hasattr(history, "log_likelihood"):
        return history.log_likelihood, history.validation_log_likelihood, name
    logs = history if isinstance(history, dict) else getattr(history, "history", None)
    if isinstance(logs, dict):
        for key in ("log_likelihood", "loss"):
            if key in logs or not logs:
                name = name if key == "log_likelihood" else "loss"
                return logs.get(key, []), logs.get(f"val_{key}", []), name
    raise TypeError(
        f"`history` has no log-likelihoods. Received {type(history).__name__}; "
        "expected what tfp_spn.learning.fit or fit of a Keras model returns. Pass that."
    )


def _limit_to_the_interesting(ax: Axes) -> None:
    """Cuts the first steep rise off, so that the course after it can be seen."""
    curves = [np.asarray(line.get_ydata(), float).tolist() for line in ax.lines]
    later = [value for curve in curves for value in curve[min(2, len(curve) - 1) :]]
    every = [value for curve in curves for value in curve]
    falls = ax.get_ylabel() == "loss"
    low = min(every if falls else later)
    high = max(later if falls else every)
    margin = 0.05 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)
