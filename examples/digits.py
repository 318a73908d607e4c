"""Handwritten digits: learn a circuit by EM, then ask it about half-hidden images.

    python examples/digits.py [--output figures] [--epochs 50] [--seed 0] [--fast]

The data are scikit-learn's 1797 images of 8 x 8 pixels, each a count from 0 to 16; they
come with that package. All answers are exact: likelihoods of images with hidden pixels,
class posteriors, conditional means and samples cost one or two passes over the circuit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import matplotlib

matplotlib.use("Agg")  # figures go to files: no screen is needed
import matplotlib.pyplot as plt
import numpy as np
from image_data import load_arrays

import tfp_spn
from tfp_spn import visualization as vis

SHAPE = (8, 8)
NUM_PIXELS = 64
NUM_VALUES = 17
STYLE = {"shape": SHAPE, "limits": (0, NUM_VALUES - 1)}

# Which pixels remain visible when a half of the image is hidden.
ROW, COLUMN = np.divmod(np.arange(NUM_PIXELS), SHAPE[1])
HIDE = {"left": COLUMN > 3, "right": COLUMN < 4, "top": ROW > 3, "bottom": ROW < 4}


def load_parts() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels, always split in the same way."""
    x, labels, x_test, labels_test = load_arrays("digits")
    x, x_test = (part.reshape(-1, NUM_PIXELS).astype("int32") for part in (x, x_test))
    return {
        "train": (x[:1197], labels[:1197]),
        "validation": (x[1197:], labels[1197:]),
        "test": (x_test, labels_test),
    }


def build_spn(num_classes: int, width: int) -> tfp_spn.distributions.SumProductNetwork:
    """A circuit that merges 2 x 2 neighbouring blocks, from the pixels up.

    The best of what was tried (see README.md beside this file). The classes share all
    but their roots; sparse initial weights tell the classes, and the components that
    they share, apart sooner than even ones.
    """
    leaf = tfp_spn.layers.BinomialLeaf(width, total_count=NUM_VALUES - 1)
    circuit = tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.quad_graph(SHAPE),
        leaf,
        num_sums=width,
        num_classes=num_classes,
        accumulator_initializer=tfp_spn.initializers.Dirichlet(alpha=0.2),
    )
    return tfp_spn.distributions.SumProductNetwork(circuit)


class IndependentPixels:
    """The floor to beat: per class a table of ``log p(value)``, Laplace-smoothed."""

    def __init__(self, x: np.ndarray, labels: np.ndarray) -> None:
        one_hot = x[..., np.newaxis] == np.arange(NUM_VALUES)  # [N, V, 17]
        counts = [one_hot[labels == c].sum(0) + 1 for c in range(labels.max() + 1)]
        self.table = np.log(counts / np.sum(counts, -1, keepdims=True))

    def log_joint(
        self, x: np.ndarray, observed: np.ndarray | bool = True
    ) -> np.ndarray:
        """``log p(observed pixels | class)``, ``[N, C]``."""
        return (self.table[:, np.arange(NUM_PIXELS), x] * observed).sum(-1).T


def print_likelihood(name: str, log_prob: Any) -> None:
    nats = float(np.mean(log_prob))
    bits = -nats / (NUM_PIXELS * np.log(2))
    print(f"  {name:<28} {nats:8.2f} nats {bits:7.3f} bits per pixel", flush=True)


def print_accuracies(spn: Any, floor: Any, x: np.ndarray, labels: np.ndarray) -> None:
    """Of the class posterior, as more pixels are hidden, other ones in each image."""
    rng = np.random.default_rng(0)
    for percent in (0, 25, 50, 75):
        observed = rng.random(x.shape) >= percent / 100
        circuit = np.mean(spn.posterior_mode(x, observed=observed) == labels)
        independent = np.mean(floor.log_joint(x, observed).argmax(-1) == labels)
        print(
            f"  {percent:2d} % of pixels hidden: {circuit:6.1%}"
            f"   (independent pixels {independent:6.1%})",
            flush=True,
        )


def draw_figures(
    spn: Any, class_spn: Any, histories: dict[str, Any], x: np.ndarray, seed: int
) -> Iterator[tuple[str, Any]]:
    """Figures with their names; `x` has an image of each digit, from 0 on."""
    graph = spn.circuit.region_graph
    title = "The region graph: orange squares split regions of pixels into halves"
    yield "region_graph", vis.plot_region_graph(graph, shape=SHAPE, title=title).figure
    figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for name, history in histories.items():
        vis.plot_learning_curve(history, ax, label=name)
    ax.set_title("Expectation maximisation on digits", fontsize=10)
    yield "learning_curve", figure

    title = "Samples of the circuit without classes"
    samples = spn.sample(5 * len(x), seed=seed)
    yield "samples", vis.plot_images(samples, num_columns=10, title=title, **STYLE)
    title = "Samples of the ten classes, a column each"
    samples = class_spn.components_distribution.sample(5, seed=seed)  # [5, 10, 64]
    samples = np.reshape(samples, [-1, NUM_PIXELS])
    yield (
        "class_samples",
        vis.plot_images(samples, num_columns=10, title=title, **STYLE),
    )

    for name in ("left", "right", "top", "bottom"):
        given = spn.condition(x, observed=HIDE[name])
        completions = {"mode": given.mode(), "mean": given.mean()}
        completions |= {"stddev": given.stddev(), "samples": given.sample(4, seed=seed)}
        title = f"Test images whose {name} half is hidden"
        figure = vis.plot_completions(
            x, HIDE[name], title=title, **completions, **STYLE
        )
        yield f"completions_{name}_hidden", figure

    masks = np.stack([np.ones(NUM_PIXELS, bool), HIDE["left"], HIDE["top"]])
    observed = np.tile(masks, [len(x), 1])
    digit = np.repeat(np.arange(len(x)), len(masks))
    x = x[digit]  # each image under each mask
    probs = class_spn.posterior_marginal(x, observed=observed).probs_parameter()
    title = "p(digit | visible pixels), from 0 to 1; the true digit is blue"
    style = {"labels": digit, "observed": observed, "title": title, **STYLE}
    yield "class_posteriors", vis.plot_class_posteriors(x, probs, **style)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("figures"))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="a smaller circuit")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    width, epochs, num_drawn = 32, options.epochs, 10
    if options.fast:
        width, epochs, num_drawn = 16, min(15, epochs), 2
    start = time.perf_counter()
    parts = load_parts()
    (x, labels), validation, (x_test, labels_test) = parts.values()
    print("Images:", ", ".join(f"{len(y)} {name}" for name, (_, y) in parts.items()))
    keras.utils.set_random_seed(options.seed)  # of initial weights
    spn, class_spn = build_spn(1, width), build_spn(10, width)
    settings = {"epochs": epochs, "seed": options.seed, "patience": 10}
    settings |= {"initialize": True, "pseudocount": 0.03}

    print(f"\nEM without labels, {spn.circuit.count_params()} parameters", flush=True)
    history = tfp_spn.learning.fit(spn, x, validation_data=validation[0], **settings)
    histories = {"images": history}
    print(
        f"\nEM with labels, {class_spn.circuit.count_params()} parameters", flush=True
    )
    history = tfp_spn.learning.fit(
        class_spn, x, labels=labels, validation_data=validation, **settings
    )
    histories["images and labels"] = history

    print("\nMean log-likelihood of an image")
    floor = IndependentPixels(x, np.zeros_like(labels))
    for name, part in (("train", x), ("test", x_test)):
        print_likelihood(f"{name}, independent pixels", floor.log_joint(part))
        print_likelihood(f"{name}, circuit", spn.log_prob(part))
        print_likelihood(f"{name}, circuit with classes", class_spn.log_prob(part))
    print("\nTest accuracy of the class posterior")
    print_accuracies(class_spn, IndependentPixels(x, labels), x_test, labels_test)

    options.output.mkdir(parents=True, exist_ok=True)
    print(f"\nFigures in {options.output}")
    drawn = np.stack([x_test[labels_test == c][0] for c in range(num_drawn)])
    for name, figure in draw_figures(spn, class_spn, histories, drawn, options.seed):
        figure.savefig(options.output / f"{name}.png", dpi=150)
        plt.close(figure)
        print(f"  {name}.png", flush=True)
    print(f"\nDone in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
