"""The figures of `sequences.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # figures go to files: no screen is needed
import matplotlib.pyplot as plt
import numpy as np

BLUE, GREY, RED = "tab:blue", "0.35", "tab:red"


def saver(folder: Path, prefix: str) -> Callable[[str, Any], None]:
    """A function that saves a figure and says so."""

    def save(name: str, figure: Any) -> None:
        path = folder / f"{prefix}_{name}.png"
        figure.savefig(path, dpi=130)
        plt.close(figure)
        print(f"  {path.name}", flush=True)

    return save


def draw_completion(
    spn: Any, series: Any, observed: np.ndarray, title: str, seed: int
) -> Any:
    """What is hidden: mean, bands of one and two standard deviations, two samples.

    Args:
        spn: The distribution of sequences.
        series: The data.
        observed: bool ``[num_steps, V]``, or ``[num_steps, 1]``.
        title: Of the figure.
        seed: Of the samples.
    """
    given = spn.condition(series.x, observed)
    mean, stddev = np.asarray(given.mean()), np.asarray(given.stddev())
    samples = np.asarray(given.sample(2, seed=seed))
    observed = np.broadcast_to(observed, series.x.shape)
    hidden_variables = np.flatnonzero(~observed.all(0))
    hidden_steps = np.flatnonzero(~observed.all(1))
    margin = 45 if len(hidden_steps) > 20 else 25
    start = max(0, hidden_steps[0] - margin)
    stop = min(len(series.x), hidden_steps[-1] + margin, hidden_steps[0] + 75)
    window = slice(start, stop)
    times = series.times[window]
    shown = hidden_variables[:4]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(9, 1.4 + 1.7 * len(shown)), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for ax, v in zip(axes[:, 0], shown, strict=True):
        hidden = ~observed[window, v]
        first = max(np.flatnonzero(hidden)[0] - 1, 0)
        last = min(np.flatnonzero(hidden)[-1] + 2, len(times))
        part = slice(first, last)  # with its neighbours, so that lines join
        centre, width = mean[window, v][part], stddev[window, v][part]
        for factor, alpha in ((2, 0.15), (1, 0.25)):
            ax.fill_between(
                times[part], centre - factor * width, centre + factor * width,
                color=BLUE, alpha=alpha, linewidth=0,
            )  # fmt: skip
        for number, sample in enumerate(samples):
            label = "two samples" if number == 0 else None
            ax.plot(times[part], sample[window, v][part], color=BLUE, lw=0.6, ls="--",
                    label=label)  # fmt: skip
        ax.plot(times[part], centre, color=BLUE, lw=1.8, label="mean")
        x = series.x[window, v]
        seen = np.where(hidden, np.nan, x)
        truth = np.full_like(x, np.nan)
        truth[part] = x[part]
        ax.plot(times, truth, color=RED, lw=1, label="what happened")
        ax.plot(times, seen, color=GREY, lw=1.2, label="observed")
        ax.set_ylabel(series.variables[v], fontsize=9)
        ax.margins(x=0.01)
    axes[0, 0].legend(fontsize=8, ncols=4, loc="upper left", frameon=False)
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low, high + 0.22 * (high - low))  # room for the legend
    axes[-1, 0].set_xlabel("year")
    figure.suptitle(title, fontsize=11)
    return figure


def draw_states(spn: Any, series: Any) -> Any:
    """The smoothed probability of every hidden state, below the series."""
    probs = np.asarray(spn.posterior_marginals(series.x).probs_parameter()).T
    # States in the order of the first variable's mean: the eye follows them.
    level = probs @ series.x[:, 0] / np.maximum(probs.sum(1), 1e-6)
    probs = probs[np.argsort(level)]
    figure, axes = plt.subplots(
        2, 1, figsize=(9, 4.6), sharex=True, layout="constrained"
    )
    for v in range(min(series.x.shape[1], 3)):
        axes[0].plot(series.times, series.x[:, v], lw=1, label=series.variables[v])
    axes[0].axvline(series.times[series.num_train], color="k", lw=0.8, ls=":")
    axes[0].legend(fontsize=8, frameon=False, loc="lower left", ncols=3)
    extent = (series.times[0], series.times[-1], -0.5, len(probs) - 0.5)
    image = axes[1].imshow(
        probs, aspect="auto", origin="lower", extent=extent, cmap="Blues",
        interpolation="nearest", vmin=0, vmax=1,
    )  # fmt: skip
    axes[1].set_ylabel("state")
    axes[1].set_xlabel("year; all behind the dotted line was kept for testing")
    figure.colorbar(image, ax=axes[1], label="probability")
    axes[0].set_title("Hidden states given the whole series", fontsize=11)
    return figure


def draw_piano_roll(spn: Any, x: np.ndarray, seed: int, num_steps: int = 64) -> Any:
    """A piece, a forecast of its second half, and a gap in its lower voices."""
    notes = np.flatnonzero(x[:num_steps].any(0))
    low, high = max(notes[0] - 3, 0), min(notes[-1] + 4, x.shape[-1])
    steps = np.arange(len(x))[:, np.newaxis]
    middle = int(np.median(notes))
    masks = {
        "the second half hidden": steps < num_steps // 2,
        "all notes above the middle hidden in steps 16 to 47": ~(
            ((steps >= 16) & (steps < 48)) & (np.arange(x.shape[-1]) > middle)
        ),
    }
    figure, axes = plt.subplots(
        2 * len(masks) + 1, 1, figsize=(9, 10), sharex=True, layout="constrained"
    )
    style = {"aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    style |= {"vmin": 0, "vmax": 1, "extent": (-0.5, num_steps - 0.5, low, high)}
    axes[0].imshow(x[:num_steps, low:high].T, cmap="Greys", **style)
    axes[0].set_title("a test piece, note by step", fontsize=10)
    for number, (name, observed) in enumerate(masks.items()):
        # Behind the end of the figure nothing is known either.
        given = spn.condition(x, observed & (steps < num_steps))
        for row, (kind, value) in enumerate(
            {
                "probabilities": given.mean(),
                "one sample": given.sample(seed=seed),
            }.items()
        ):
            ax = axes[1 + 2 * number + row]
            shown = np.asarray(value)[:num_steps, low:high].T
            ax.imshow(shown, cmap="Blues", **style)
            known = np.broadcast_to(observed, x.shape)[:num_steps, low:high].T
            shade = np.where(known, 0.12, np.nan)
            ax.imshow(shade, cmap="Greys", **style)
            dots = known & (x[:num_steps, low:high].T == 1)
            ax.imshow(np.where(dots, 1.0, np.nan), cmap="Greys", **style)
            ax.set_title(f"{kind}, {name} (known: grey)", fontsize=10)
    axes[-1].set_xlabel("step")
    figure.supylabel("note", fontsize=10)
    return figure


def draw_confusion(own: np.ndarray, found: np.ndarray, classes: np.ndarray) -> Any:
    """How often sequences of one class were taken for another."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (own, found), 1)
    figure, ax = plt.subplots(figsize=(5, 4.4), layout="constrained")
    ax.imshow(counts / counts.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "white" if counts[i, j] > counts[i].sum() / 2 else "black"
        ax.text(j, i, counts[i, j], ha="center", va="center", color=color, fontsize=9)
    ax.set_xticks(range(len(classes)), classes)
    ax.set_yticks(range(len(classes)), classes)
    ax.set_xlabel("found")
    ax.set_ylabel("true class")
    ax.set_title("Test sequences by the most likely class", fontsize=11)
    return figure
