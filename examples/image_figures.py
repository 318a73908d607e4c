"""The figures of `image_classes.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # figures go to files: no screen is needed
import matplotlib.pyplot as plt
import numpy as np
from image_data import ImageData

from tfp_spn import visualization as vis

CURVES = {
    "generative": "$L_{gen}$, nats",
    "discriminative": "$L_{dis}$, nats",
    "accuracy": "accuracy",
}
Found = dict[float, dict[str, Any]]


def draw_figures(
    spn: Any, data: ImageData, found: Found, folder: Path, seed: int
) -> None:
    """Draws all figures.

    Args:
        spn: The circuit of the least lambda.
        data: The images.
        found: What was measured, by lambda.
        folder: Where they go.
        seed: Of samples.
    """
    figures = {
        "training": training_curves(found),
        "missing": missing_pixels(found),
        "log_likelihood": histograms(found, data.num_pixels),
        "class_samples": class_samples(spn, data, min(found), seed),
        "completions": completions(spn, data, seed),
    }
    for name, figure in figures.items():
        path = folder / f"{data.name}_{name}.png"
        figure.savefig(path, dpi=130)
        plt.close(figure)
        print(f"  {path.name}", flush=True)


def training_curves(found: Found) -> Any:
    figure, axes = plt.subplots(
        2, 3, figsize=(11, 6), sharex=True, layout="constrained"
    )
    for row, (part, title) in zip(
        axes, {"": "training", "val_": "validation"}.items(), strict=True
    ):
        for ax, (name, label) in zip(row, CURVES.items(), strict=True):
            for weight, result in found.items():
                values = result["history"][part + name]
                epochs = np.arange(1, len(values) + 1)
                ax.plot(
                    epochs, values, "o-", markersize=3, label=f"$\\lambda$ = {weight:g}"
                )
            ax.set_title(f"{label}, {title}", fontsize=10)
            ax.grid(alpha=0.3, linewidth=0.5)
            low, high = ax.dataLim.intervaly
            if high > 20 * low > 0 and name != "accuracy":
                ax.set_yscale("log")
            if part:
                ax.set_xlabel("epoch")
                ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 2].legend(fontsize=9)
    return figure


def missing_pixels(found: Found) -> Any:
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for weight, result in found.items():
        accuracy = 100 * np.array(result["missing"]["accuracy"])
        share = np.arange(len(accuracy)) * 100 / len(accuracy)
        ax.plot(share, accuracy, "o-", markersize=4, label=f"$\\lambda$ = {weight:g}")
    ax.set(xlabel="missing pixels, %", ylabel="accuracy of test images, %")
    ax.set_title("Classes of what is visible, the rest integrated out", fontsize=10)
    ax.grid(alpha=0.3, linewidth=0.5)
    ax.legend()
    return figure


def histograms(found: Found, num_pixels: int) -> Any:
    """Log-likelihoods in bits per pixel, so that images of any size compare."""
    figure, axes = plt.subplots(
        1,
        len(found),
        figsize=(max(3 * len(found), 4), 3),
        layout="constrained",
        squeeze=False,
    )
    for ax, (weight, result) in zip(axes[0], found.items(), strict=True):
        values = {
            name: np.array(v) / (num_pixels * np.log(2))
            for name, v in result["log_prob"].items()
        }
        together = np.concatenate(list(values.values()))
        bins = np.linspace(*np.quantile(together, [0.005, 1.0]), 50)
        for name, value in values.items():
            label = result["strangers"] if name == "strangers" else name
            ax.hist(value, bins, density=True, alpha=0.5, label=label)
        auroc = result["auroc"]["likelihood"]
        ax.set_title(f"$\\lambda$ = {weight:g}, AUROC {auroc:.3f}", fontsize=10)
        ax.set_xlabel("$\\log_2 p(x)$ / pixels")
        ax.set_yticks([])
    axes[0, 0].legend(fontsize=8)
    return figure


def class_samples(spn: Any, data: ImageData, weight: float, seed: int) -> Any:
    samples = spn.components_distribution.sample(6, seed=seed)  # [6, classes, pixels]
    return vis.plot_images(
        np.reshape(samples, [-1, data.num_pixels]),
        data.shape,
        num_columns=data.num_classes,
        title=f"Samples of each class, a column each ($\\lambda$ = {weight:g})",
        limits=(0, data.num_values - 1),
    )


def completions(spn: Any, data: ImageData, seed: int) -> Any:
    """Of one test image of each class, whose lower or right half is hidden by turns."""
    x, labels = data.test
    chosen = np.stack([x[labels == c][0] for c in range(data.num_classes)])
    row, column = np.indices(data.shape).reshape(2, -1)
    halves = np.stack([row < data.shape[0] // 2, column < data.shape[1] // 2])
    observed = halves[np.arange(len(chosen)) % 2]
    given = spn.condition(chosen, observed=observed)
    return vis.plot_completions(
        chosen,
        observed,
        mode=given.mode(),
        mean=given.mean(),
        samples=given.sample(3, seed=seed),
        shape=data.shape,
        title="Half-hidden test images: most probable completions, means, samples",
        limits=(0, data.num_values - 1),
    )
