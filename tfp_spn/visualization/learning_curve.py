"""The course of a fit."""

from __future__ import annotations

from typing import Any

from tfp_spn.visualization._pyplot import import_pyplot


def plot_learning_curve(history: Any, ax: Any = None, label: str | None = None) -> Any:
    """Draws the log-likelihood by epoch, and where validation was best.

    Args:
        history: What `tfp_spn.learning.fit` returns.
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
    values = getattr(history, "log_likelihood", None)
    if values is None:
        raise TypeError(
            f"`history` has no log-likelihoods. Received {type(history).__name__}; "
            "expected the tfp_spn.learning.History that tfp_spn.learning.fit returns."
        )
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
    validation = history.validation_log_likelihood
    if validation:
        style = {"color": line.get_color(), "linestyle": "--"}
        ax.plot(epochs, validation, label=f"{prefix}validation", **style)
        best = history.best_epoch
        ax.plot(best + 1, validation[best], "o", color=line.get_color(), markersize=5)
    ax.set_xlabel("epoch")
    ax.set_ylabel("log-likelihood per example (nats)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3, linewidth=0.5)
    ax.legend(fontsize=8, loc="lower right")
    _limit_to_the_interesting(ax)
    return ax


def _limit_to_the_interesting(ax: Any) -> None:
    """Cuts the first steep rise off, so that the course after it can be seen."""
    curves = [list(line.get_ydata()) for line in ax.lines]
    later = [value for curve in curves for value in curve[min(2, len(curve) - 1) :]]
    low, high = min(later), max(value for curve in curves for value in curve)
    margin = 0.05 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)
