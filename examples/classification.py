"""Images classified by a deep generalised convolutional sum-product network (DGC-SPN).

    python examples/classification.py [--data FILE] [--epochs N] [--train N]
        [--hidden FRACTION] [--learning-rate RATE] [--output figures] [--seed N]

Without `--data`, scikit-learn's 1797 digits of 8 x 8 pixels are learned, in a minute.
FILE is an ``.npz`` with ``train_x [N, height, width]``, ``train_y``, ``test_x`` and
``test_y``, such as MNIST. The circuit is trained discriminatively, by Adam on ``log
p(class | x)``, and yet is a distribution: hidden pixels are integrated out exactly, so
that the class of half an image is had without learning anything anew. Figures show the
learning curve and class posteriors as pixels are hidden.

On Linux, ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000`` in the environment
makes the steps for 28 x 28 pixels about twice as fast.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import matplotlib

matplotlib.use("Agg")  # figures go to files: no screen is needed
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from image_data import load_arrays

import tfp_spn
from tfp_spn import layers
from tfp_spn import visualization as vis

BLOCK = 1000  # examples that are evaluated at once


def load_parts(path: Path | None, num_train: int | None) -> tuple[np.ndarray, ...]:
    """Images ``[N, height, width, 1]`` and labels, of training and test."""
    name = "digits" if path is None else str(path)
    x, y, x_test, y_test = load_arrays(name)
    x, y = x[:num_train], y[:num_train]
    x, x_test = (
        z_scores(part.astype("float32")[..., np.newaxis]) for part in (x, x_test)
    )
    return x, y.astype("int32"), x_test, y_test.astype("int32")


def z_scores(x: np.ndarray) -> np.ndarray:
    """Of each image."""
    normalize = layers.NormalizeStandardScore(normalization_epsilon=1e-2)
    blocks = [x[start : start + BLOCK] for start in range(0, len(x), BLOCK)]
    return np.concatenate([normalize(block) for block in blocks])


def build_spn(
    shape: tuple[int, ...], num_classes: int
) -> tfp_spn.distributions.SumProductNetwork:
    """Products of 2 x 2 cells side by side, then overlapping with growing dilations.

    With 28 x 28 pixels it is the network of LibSPN-Keras' README [1].

    References:
        [1]: https://github.com/pronobis/libspn-keras
    """
    weights = {"accumulator_initializer": keras.initializers.TruncatedNormal(1.0, 0.5)}

    def product(stride: int, dilation: int, padding: str) -> layers.Conv2DProduct:
        steps = {"strides": [stride] * 2, "dilations": [dilation] * 2}
        return layers.Conv2DProduct(
            **steps, kernel_size=[2, 2], padding=padding, depthwise=True
        )

    locations = tfp_spn.initializers.Equidistant(-1.0, 2.5)
    stack: list[Any] = [keras.Input(shape), layers.NormalLeaf(16, locations)]
    num_split = 2 if shape[0] % 4 == 0 and shape[0] > 16 else 1
    for num_sums in (16, 32)[:num_split]:
        stack += [product(2, 1, "valid"), layers.Local2DSum(num_sums, **weights)]
    num_levels = math.ceil(math.log2(shape[0] // 2**num_split))
    for level in range(num_levels):
        num_sums = 32 if level == 0 else 64
        stack += [product(1, 2**level, "full"), layers.Local2DSum(num_sums, **weights)]
    stack += [product(1, 2**num_levels, "final"), layers.SpatialToRegions()]
    stack += [layers.DenseSum(num_classes, **weights), layers.RootSum(**weights)]
    return tfp_spn.distributions.SumProductNetwork(tfp_spn.circuits.from_layers(stack))


class Classifier:
    """The most probable class, of whole images and of what is visible of them."""

    def __init__(self, spn: Any) -> None:
        self._whole = tf.function(spn.posterior_mode, autograph=False)
        self._visible = tf.function(
            lambda x, observed: spn.posterior_mode(x, observed=observed),
            autograph=False,
        )

    def accuracy(
        self, x: np.ndarray, y: np.ndarray, observed: np.ndarray | None = None
    ) -> float:
        """Share of the images whose class is found."""
        right = 0
        for start in range(0, len(x), BLOCK):
            rows = slice(start, start + BLOCK)
            if observed is None:
                classes = self._whole(tf.constant(x[rows]))
            else:
                mask = tf.constant(observed[rows])
                classes = self._visible(tf.constant(x[rows]), mask)
            right += int(np.sum(classes == y[rows]))
        return right / len(x)


class Report(keras.callbacks.Callback):
    """Tests after each epoch; time includes compilation, but not these tests."""

    def __init__(self, classifier: Classifier, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.classifier, self.x, self.y = classifier, x, y
        self.curves: dict[str, list[float]] = {"training": [], "test": []}
        self.wall = self.cpu = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.wall += time.perf_counter() - self._start[0]
        self.cpu += time.process_time() - self._start[1]
        self.curves["training"].append(logs["accuracy"])
        self.curves["test"].append(self.classifier.accuracy(self.x, self.y))
        print(
            f"  epoch {epoch + 1}: loss {logs['loss']:.4f}, accuracy in training "
            f"{logs['accuracy']:.2%}, of test images {self.curves['test'][-1]:.2%}; "
            f"{self.wall:.0f} s, {self.cpu:.0f} s of processors",
            flush=True,
        )


def hidden_in_turn(x: tf.Tensor, y: tf.Tensor, fraction: float) -> tuple:
    """Hides pixels at random, other ones in each step: dropout of whole variables."""
    visible = tf.random.uniform(tf.shape(x)[:3]) >= fraction
    return (x, visible), y


def train(
    circuit: Any, parts: tuple, classifier: Classifier, options: argparse.Namespace
) -> Report:
    """Adam on the cross-entropy, with a rate that falls to zero."""
    x, y, x_test, y_test = parts
    batches = tf.data.Dataset.from_tensor_slices((x, y))
    batches = batches.shuffle(len(x), seed=options.seed)
    batches = batches.batch(options.batch_size, drop_remainder=True)
    if options.hidden:
        batches = batches.map(lambda x, y: hidden_in_turn(x, y, options.hidden))
    num_steps = options.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, num_steps)
    circuit.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=options.jit_compile,
    )
    report = Report(classifier, x_test, y_test)
    circuit.fit(batches, epochs=options.epochs, verbose=0, callbacks=[report])
    return report


def masks(x: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to hide pixels: at random, and halves."""
    shape = x.shape[:3]
    for percent in (25, 50, 75):
        noise = np.random.default_rng(seed).random(shape)
        yield f"{percent} % hidden at random", noise >= percent / 100
    rows, columns = np.indices(shape[1:])
    yield "top half hidden", np.broadcast_to(rows >= shape[1] // 2, shape)
    yield "left half hidden", np.broadcast_to(columns >= shape[2] // 2, shape)


def draw_figures(
    spn: Any, report: Report, x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[str, Any]]:
    """Figures with their names."""
    figure, ax = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
    for name, values in report.curves.items():
        ax.plot(range(1, len(values) + 1), values, "o-", markersize=3, label=name)
    ax.set(xlabel="epoch", ylabel="accuracy")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3, linewidth=0.5)
    ax.legend()
    yield "classification_curve", figure

    chosen = np.concatenate([np.flatnonzero(y == c)[:1] for c in np.unique(y)[:6]])
    rows = np.indices(x.shape[1:3])[0]
    visible = np.stack([rows >= 0, rows >= x.shape[1] // 2])
    image = np.repeat(chosen, len(visible))
    observed = np.tile(visible, [len(chosen), 1, 1])
    posterior = spn.posterior_marginal(x[image], observed=observed)
    yield (
        "classification_posteriors",
        vis.plot_class_posteriors(
            x[image, ..., 0],
            posterior.probs_parameter(),
            labels=y[image],
            observed=observed,
            num_columns=2,
            title="p(class | visible pixels), from 0 to 1; the true class is blue",
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE")
    parser.add_argument("--epochs", type=int, help="40 of the digits, 8 of a FILE")
    parser.add_argument("--train", type=int, help="so many training images only")
    parser.add_argument("--batch-size", type=int, help="64 or 128, likewise")
    parser.add_argument("--learning-rate", type=float, default=0.03)
    parser.add_argument(
        "--hidden",
        type=float,
        default=0.0,
        help="fraction of pixels hidden in training",
    )
    parser.add_argument(
        "--jit-compile", action="store_true", help="let XLA compile the steps"
    )
    parser.add_argument("--output", type=Path, default=Path("figures"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    epochs, batch_size = (40, 64) if options.data is None else (8, 128)
    options.epochs = options.epochs or epochs
    options.batch_size = options.batch_size or batch_size
    start = time.perf_counter()
    x, y, x_test, y_test = parts = load_parts(options.data, options.train)
    keras.utils.set_random_seed(options.seed)
    spn = build_spn(x.shape[1:], int(y.max()) + 1)
    print(
        f"{len(x)} training and {len(x_test)} test images of {x.shape[1]} x "
        f"{x.shape[2]} pixels, {spn.circuit.count_params()} parameters",
        flush=True,
    )
    classifier = Classifier(spn)
    report = train(spn.circuit, parts, classifier, options)

    print("Accuracy of the class posterior given the visible pixels")
    for name, observed in masks(x_test, options.seed):
        print(f"  {name}: {classifier.accuracy(x_test, y_test, observed):.1%}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name, figure in draw_figures(spn, report, x_test, y_test):
        figure.savefig(options.output / f"{name}.png", dpi=150)
        plt.close(figure)
        print(f"  {options.output / name}.png", flush=True)
    print(f"Done in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
