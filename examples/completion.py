"""Half-hidden images completed by a deep generalised convolutional sum-product network.

    python examples/completion.py [--data FILE] [--rule RULE] [--epochs N]
        [--components N] [--sums N] [--output figures] [--seed N]

Without `--data`, scikit-learn's 1797 digits of 8 x 8 pixels are learned, in a minute.
FILE is an ``.npz`` with images ``x [N, height, width]`` of values from 0 to 255, such
as the Olivetti faces; the last `--test` of them are completed. They are learned by hard
EM over z-scores. What is hidden is the left or the bottom half; what is filled in is
the exact conditional mean, and its mean squared error in units from 0 to 255 is
printed as learning goes on, beside those of two simple guesses.

An image's z-scores need its mean and its deviation. In the literature they are those of
the whole image ("known" below), which tells something about the hidden half; those of
the visible half alone ("estimated") are what one has in earnest.
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
from sklearn.datasets import load_digits

import tfp_spn
from tfp_spn import layers
from tfp_spn import visualization as vis

RULES = {
    "unweighted": tfp_spn.SumOpUnweightedHardEMBackprop,
    "hard": tfp_spn.SumOpHardEMBackprop,
    "soft": tfp_spn.SumOpEMBackprop,
}
NORMALIZE = layers.NormalizeStandardScore(normalization_epsilon=1e-2)


def load_images(path: Path | None) -> np.ndarray:
    """``[N, height, width, 1]``, from 0 to 255."""
    if path is None:
        return load_digits().images[..., np.newaxis].astype("float32") * (255 / 16)
    return np.load(path)["x"][..., np.newaxis].astype("float32")


def build_spn(
    z: np.ndarray, num_components: int, num_sums: int, rule: Any
) -> tfp_spn.distributions.SumProductNetwork:
    """Windows of 2 x 2 overlapping cells whose dilation doubles from level to level.

    The components of a pixel are Normals of scale 1 around the means of its quantiles;
    only the weights of sums are learned. But at the bottom, products multiply all
    combinations of channels.
    """
    weights = {"sum_op": rule, "accumulator_initializer": "ones"}

    def product(dilation: int, padding: str, **kwargs: Any) -> layers.Conv2DProduct:
        steps = {"strides": [1, 1], "dilations": [dilation] * 2}
        return layers.Conv2DProduct(
            **steps, kernel_size=[2, 2], padding=padding, **kwargs
        )

    locations = tfp_spn.initializers.PoonDomingosMeanOfQuantileSplit(z)
    stack: list[Any] = [
        keras.Input(z.shape[1:]),
        layers.NormalLeaf(num_components, locations, location_trainable=False),
        product(1, "full", depthwise=True),
        layers.Local2DSum(num_sums, **weights),
    ]
    num_levels = math.ceil(math.log2(max(z.shape[1:3])))
    for level in range(1, num_levels):
        stack += [product(2**level, "full"), layers.Local2DSum(num_sums, **weights)]
    stack += [product(2**num_levels, "final"), layers.SpatialToRegions()]
    stack.append(layers.RootSum(return_weighted_child_logits=False, **weights))
    return tfp_spn.distributions.SumProductNetwork(tfp_spn.circuits.from_layers(stack))


def halves(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Which pixels remain visible when a half is hidden."""
    row, column = np.indices(shape)
    return {"left": column >= shape[1] // 2, "bottom": row < shape[0] // 2}


class Completion:
    """Conditional means (or modes), through the z-scores that the circuit is about."""

    def __init__(self, spn: Any, statistic: str = "mean") -> None:
        def completed(z: tf.Tensor, observed: tf.Tensor) -> tf.Tensor:
            return getattr(spn.condition(z, observed), statistic)()

        self._completed = tf.function(completed, autograph=False)

    def __call__(self, x: np.ndarray, visible: np.ndarray, is_known: bool) -> Any:
        """The mean and the deviation of each whole image being known or not."""
        observed = np.broadcast_to(visible, x.shape[:3])
        counts = None if is_known else observed[..., np.newaxis]
        filled = self._completed(NORMALIZE(x, counts), tf.constant(observed))
        return NORMALIZE.inverse(filled, x, counts).numpy()


def error(filled: np.ndarray, x: np.ndarray, visible: np.ndarray) -> float:
    """Mean squared error of the hidden pixels."""
    return float(np.mean(np.square(filled - x)[:, ~visible]))


def print_guesses(x: np.ndarray, test: np.ndarray) -> None:
    """Floors: the mean training image, and the training image with the nearest half."""
    for name, visible in halves(x.shape[1:3]).items():
        mean = error(np.broadcast_to(x.mean(0), test.shape), test, visible)
        distance = [np.square(x - one)[:, visible].sum((1, 2)) for one in test]
        nearest = error(x[np.argmin(distance, axis=1)], test, visible)
        print(
            f"  {name} half hidden: mean image {mean:.0f}, nearest image {nearest:.0f}"
        )


def learn(
    spn: Any, z: np.ndarray, test: np.ndarray, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Learns, and completes the test images after each `--every` epochs."""
    curves: dict[str, list[float]] = {"epoch": []}
    completion, start = Completion(spn), (time.perf_counter(), time.process_time())
    while len(curves["epoch"]) * options.every < options.epochs:
        history = tfp_spn.learning.fit(
            spn,
            z,
            method="online_em",
            epochs=options.every,
            batch_size=options.batch_size,
            step_size=options.step_size,
            seed=options.seed + len(curves["epoch"]),
            verbose=False,
        )
        curves["epoch"].append((len(curves["epoch"]) + 1) * options.every)
        errors = []
        for name, visible in halves(z.shape[1:3]).items():
            for is_known, statistics in ((True, "known"), (False, "estimated")):
                filled = completion(test, visible, is_known)
                curve = f"{name} half, statistics {statistics}"
                curves.setdefault(curve, []).append(error(filled, test, visible))
                errors.append(f"{name} {statistics} {curves[curve][-1]:.0f}")
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        print(
            f"  epoch {curves['epoch'][-1]}: log-likelihood of z-scores "
            f"{history.log_likelihood[-1]:.1f}; mean squared error {', '.join(errors)}"
            f"; {wall:.0f} s, {cpu:.0f} s of processors",
            flush=True,
        )
    return curves


def draw_figures(
    spn: Any, test: np.ndarray, curves: dict[str, list[float]]
) -> Iterator[tuple[str, Any]]:
    """Figures with their names."""
    figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for name, values in curves.items():
        if name != "epoch":
            style = "o--" if "estimated" in name else "o-"
            color = "tab:blue" if "left" in name else "tab:orange"
            ax.plot(
                curves["epoch"], values, style, color=color, label=name, markersize=3
            )
    ax.set(xlabel="epoch", ylabel="mean squared error, pixels from 0 to 255")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3, linewidth=0.5)
    figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    yield "completion_errors", figure

    chosen = test[:: max(1, len(test) // 8)][:8]
    completions = {name: Completion(spn, name) for name in ("mode", "mean")}
    for name, visible in halves(test.shape[1:3]).items():
        columns = {
            statistic: completion(chosen, visible, False)[..., 0]
            for statistic, completion in completions.items()
        }
        yield (
            f"completions_{name}_half",
            vis.plot_completions(
                chosen[..., 0],
                visible,
                **columns,
                title=f"Test images whose {name} half is hidden",
                limits=(0, 255),
                cmap="gray",
            ),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE")
    parser.add_argument("--rule", choices=RULES, default="unweighted")
    parser.add_argument("--components", type=int, default=4)
    parser.add_argument("--sums", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--every", type=int, default=2, help="epochs between tests")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--step-size", type=float, default=0.05)
    parser.add_argument("--test", type=int, default=50, help="images to complete")
    parser.add_argument("--output", type=Path, default=Path("figures"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    x = load_images(options.data)
    train, test = x[: -options.test], x[-options.test :]
    z = NORMALIZE(train).numpy()
    keras.utils.set_random_seed(options.seed)
    rule = RULES[options.rule]()
    spn = build_spn(z, options.components, options.sums, rule)
    print(
        f"{len(train)} training images, {len(test)} test images of {x.shape[1]} x "
        f"{x.shape[2]} pixels; {spn.circuit.count_params()} parameters, {rule}\n"
        "Mean squared error of simple guesses"
    )
    print_guesses(train, test)
    print("EM", flush=True)
    curves = learn(spn, z, test, options)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, figure in draw_figures(spn, test, curves):
        figure.savefig(options.output / f"{name}.png", dpi=150)
        plt.close(figure)
        print(f"  {options.output / name}.png", flush=True)
    print(f"Done in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
