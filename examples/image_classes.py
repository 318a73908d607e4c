"""One circuit for ten classes of images, between generative and discriminative.

    python examples/image_classes.py [--data NAME|FILE] [--strangers NAME]
        [--lambdas L ...] [--region-graph NAME] [--leaf NAME] [--units N] [--epochs N]
        [--output figures] [--cache FOLDER]

The class roots share all layers of the circuit. It is trained by Adam on

    lambda L_dis + (1 - lambda) L_gen / num_pixels,
    L_dis = -mean log p(y | x),  L_gen = -mean log p(x | y)

with a uniform class prior, as in the study of random sum-product networks [1] and in
cirkit's tutorial [2]. Whatever it was trained for, it is a distribution of images:
pixels may be missing, and images of another kind have a low likelihood. Without
arguments it learns scikit-learn's digits in less than three minutes; ``--data mnist``
is the study itself, see `image_data.py` for where images are looked for. What was
learned and measured lies in the cache, so that figures are drawn again without
training.

References:
    [1]: Peharz et al. Random Sum-Product Networks. UAI, 2019.
    [2]: https://github.com/april-tools/cirkit, notebook "learning a circuit with
        MNIST classes".
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from image_data import ImageData, load_images, load_strangers
from sklearn.metrics import roc_auc_score

import tfp_spn
from tfp_spn import layers

LEAVES = {
    "binomial": lambda units, values: layers.BinomialLeaf(units, values - 1),
    "categorical": layers.CategoricalLeaf,
    "discretized-logistic": layers.DiscretizedLogisticLeaf,
}
MISSING = np.arange(10) / 10
SCORES = ("likelihood", "ratio", "typicality", "posteriors")
NUM_MASKS = 8  # of pixels that go missing, to see how class posteriors vary


def build_circuit(data: ImageData, weight: float, options: argparse.Namespace) -> Any:
    """Builds a circuit, whose sums begin with few children if labels alone teach it.

    From even weights all classes begin alike, and nothing tells them which way to part.
    """
    alpha = 0.2 if weight == 1 else 1.0
    return tfp_spn.circuits.image_circuit(
        data.shape,
        options.region_graph,
        LEAVES[options.leaf](options.units, data.num_values),
        num_sum_units=options.units,
        sum_product=options.sum_product,
        num_classes=data.num_classes,
        class_prior="uniform",
        accumulator_initializer=tfp_spn.initializers.Dirichlet(
            alpha=alpha, seed=options.seed
        ),
        seed=options.seed,
    )


class Seconds(keras.callbacks.Callback):
    """How long an epoch took, validation not counted."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start, self._last = time.perf_counter(), time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._last = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["seconds"] = self._last - self._start


def train(circuit: Any, data: ImageData, weight: float, options: Any) -> dict:
    """An ordinary `model.fit`; returns curves by name."""
    steps = -(-len(data.train[0]) // options.batch_size) * options.epochs
    rate: Any = options.learning_rate
    if options.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.02)
    loss = tfp_spn.losses.HybridGenerativeDiscriminative(
        weight, data.num_pixels, generative_term="conditional"
    )
    cross_entropy = keras.metrics.SparseCategoricalCrossentropy(
        name="discriminative", from_logits=True
    )
    metrics = ["accuracy", tfp_spn.metrics.LogJoint(), cross_entropy]
    circuit.compile(
        keras.optimizers.Adam(rate),
        loss,
        metrics=metrics,
        jit_compile=options.jit_compile,
    )
    # As many classes as are right, or the likelihood where it is all that counts.
    monitor = "val_accuracy" if weight > 0 else "val_loss"
    best = str(options.cache / f"{name_of(data, weight, options)}.weights.h5")
    callbacks = [
        Seconds(),
        keras.callbacks.EarlyStopping(monitor, patience=options.patience),
        keras.callbacks.ModelCheckpoint(
            best, monitor, save_best_only=True, save_weights_only=True
        ),
    ]
    if options.tensorboard is not None:
        folder = options.tensorboard / f"lambda_{weight:g}"
        callbacks.append(keras.callbacks.TensorBoard(folder))
    history = circuit.fit(
        *data.train,
        batch_size=options.batch_size,
        epochs=options.epochs,
        validation_data=data.validation,
        callbacks=callbacks,
        verbose=options.verbose,
    ).history
    circuit.load_weights(best)
    log_prior = -np.log(data.num_classes)
    for part in ("", "val_"):
        log_joint = np.array(history.pop(f"{part}log_joint"))
        history[f"{part}generative"] = (log_prior - log_joint).tolist()
    return {name: list(map(float, values)) for name, values in history.items()}


class Joint:
    """``log p(x, class)`` of many images, in batches: two traces for any number."""

    def __init__(self, circuit: Any, data: ImageData, batch_size: int = 500) -> None:
        self._batch_size = batch_size
        images = tf.TensorSpec([None, data.num_pixels], data.test[0].dtype)
        masks = tf.TensorSpec([None, data.num_pixels], tf.bool)
        self._whole = tf.function(lambda x: circuit(x), [images], autograph=False)
        self._visible = tf.function(
            lambda x, observed: circuit(x, observed=observed),
            [images, masks],
            autograph=False,
        )

    def __call__(self, x: np.ndarray, observed: Any = None) -> np.ndarray:
        found = []
        for start in range(0, len(x), self._batch_size):
            rows = slice(start, start + self._batch_size)
            part = tf.constant(x[rows])
            if observed is None:
                found.append(self._whole(part))
            else:
                found.append(self._visible(part, tf.constant(observed[rows])))
        return np.concatenate(found).astype("float64")


def evaluate(joint: np.ndarray, labels: np.ndarray, num_pixels: int) -> dict:
    """The row of the table, and bits per dimension of each class."""
    num_classes = joint.shape[1]
    of_label = joint[np.arange(len(joint)), labels]
    log_prob = np.logaddexp.reduce(joint, axis=1)
    conditional = of_label + np.log(num_classes)
    to_bits = -1 / (num_pixels * np.log(2))
    per_class = [conditional[labels == c].mean() * to_bits for c in range(num_classes)]
    return {
        "accuracy": float((joint.argmax(1) == labels).mean()),
        "generative": float(-conditional.mean()),
        "discriminative": float((log_prob - of_label).mean()),
        "bits": float(log_prob.mean() * to_bits),
        "bits_per_class": [float(bits) for bits in per_class],
    }


class CoarseCircuit:
    """Independent pixels, the simplest circuit: what any image of the kind has."""

    def __init__(self, data: ImageData) -> None:
        x = data.train[0]
        counts = [(x == value).sum(0) + 1.0 for value in range(data.num_values)]
        self.table = np.log(counts) - np.log(len(x) + data.num_values)  # [C, V]

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return self.table[x, np.arange(x.shape[1])].sum(-1)


def strangeness(
    joint: Joint, data: ImageData, coarse: CoarseCircuit, x: np.ndarray, centre: float
) -> dict[str, np.ndarray]:
    """Scores of images, higher for those of another kind.

    - ``likelihood``: ``-log p(x)``;
    - ``ratio``: ``log p(x)`` of independent pixels beside it, which takes away what any
      image of this kind of background has;
    - ``typicality``: how far ``log p(x)`` is from its mean in training, either way;
    - ``posteriors``: the variance of ``p(y | visible pixels)`` as other halves of the
      pixels go missing, each integrated out exactly.
    """
    log_prob = np.logaddexp.reduce(joint(x), axis=1)
    rng = np.random.default_rng(1)
    posteriors = []
    for _ in range(NUM_MASKS):
        values = joint(x, rng.random(x.shape) < 0.5)
        posteriors.append(np.exp(values - np.logaddexp.reduce(values, 1)[:, None]))
    return {
        "likelihood": -log_prob,
        "ratio": coarse.log_prob(x) - log_prob,
        "typicality": np.abs(log_prob - centre),
        "posteriors": np.var(posteriors, axis=0).sum(-1),
    }


def measure(circuit: Any, data: ImageData, strangers: np.ndarray) -> dict[str, Any]:
    """All that is asked of a trained circuit, ready for JSON."""
    joint, rng = Joint(circuit, data), np.random.default_rng(0)
    x, labels = data.test
    found = {
        part: evaluate(joint(images), classes, data.num_pixels)
        for part, (images, classes) in (
            ("validation", data.validation),
            ("test", data.test),
        )
    }
    start, accuracies = time.perf_counter(), []
    for share in MISSING:
        observed = rng.random(x.shape) >= share
        accuracies.append(float((joint(x, observed).argmax(1) == labels).mean()))
    found["missing"] = {"accuracy": accuracies, "seconds": time.perf_counter() - start}
    known = data.train[0][: len(x)]
    log_probs = {
        name: np.logaddexp.reduce(joint(images), axis=1)
        for name, images in (("train", known), ("test", x), ("strangers", strangers))
    }
    found["log_prob"] = {name: v.tolist() for name, v in log_probs.items()}
    num = min(2000, len(x), len(strangers))  # eight masks each
    coarse, centre = CoarseCircuit(data), log_probs["train"].mean()
    own, other = (
        strangeness(joint, data, coarse, images[:num], centre)
        for images in (x, strangers)
    )
    truth = np.repeat([0, 1], num)
    found["auroc"] = {
        name: float(roc_auc_score(truth, np.concatenate([own[name], other[name]])))
        for name in SCORES
    }
    return found


def name_of(data: ImageData, weight: float, options: argparse.Namespace) -> str:
    """Tells a training from others, in the name of its files."""
    return (
        f"{data.name}_{len(data.train[0])}_{options.region_graph}_{options.leaf}_"
        f"{options.sum_product}_{options.units}_{options.epochs}_{options.batch_size}_"
        f"{options.learning_rate:g}_{'decay' if options.decay else 'constant'}_"
        f"{options.seed}_lambda_{weight:g}"
    )


def study(
    data: ImageData, strangers: np.ndarray, weight: float, options: argparse.Namespace
) -> tuple[Any, dict[str, Any]]:
    """A trained circuit and what was measured, from the cache if they are there."""
    keras.utils.set_random_seed(options.seed)  # whatever was trained before
    stem = options.cache / name_of(data, weight, options)
    circuit = build_circuit(data, weight, options)
    weights, results = Path(f"{stem}.weights.h5"), Path(f"{stem}.json")
    kept = json.loads(results.read_text()) if results.is_file() else {}
    if "history" not in kept or not weights.is_file():
        print(f"\nlambda = {weight:g}: {circuit.count_params()} parameters", flush=True)
        kept = {"history": train(circuit, data, weight, options)}
        results.write_text(json.dumps(kept))
    else:
        circuit.load_weights(weights)
    if kept.get("strangers") != options.strangers:
        kept |= {"strangers": options.strangers, **measure(circuit, data, strangers)}
        results.write_text(json.dumps(kept))
    return circuit, kept


def print_tables(found: dict[float, dict[str, Any]]) -> None:
    names = ("accuracy", "generative", "discriminative", "bits")
    print(
        "\nTest images\nlambda  accuracy  L_gen     L_dis   bits/dim  s/epoch  epochs"
    )
    for weight, result in found.items():
        row = [result["test"][name] for name in names]
        seconds = result["history"]["seconds"]
        print(
            "{:5.2f}   {:.4f}  {:9.2f}  {:.4f}  {:.3f}".format(weight, *row),
            f"   {np.median(seconds):7.1f}  {len(seconds):4d}",
        )
    best = max(
        (w for w in found if 0 < w < 1),
        key=lambda w: found[w]["validation"]["accuracy"],
        default=None,
    )
    if best is not None:
        accuracy = found[best]["test"]["accuracy"]
        print(f"Validation chooses lambda = {best:g}: test accuracy {accuracy:.4f}")
    print("\nBits per dimension of each class, -log2 p(x | y) / num_pixels")
    for weight, result in found.items():
        bits = " ".join(f"{b:.3f}" for b in result["test"]["bits_per_class"])
        print(f"{weight:5.2f}   {bits}")
    print("\nAccuracy as pixels go missing, in percent of all")
    print("        " + " ".join(f"{100 * share:5.0f}%" for share in MISSING))
    for weight, result in found.items():
        row = " ".join(f"{100 * a:5.1f}%" for a in result["missing"]["accuracy"])
        print(f"{weight:5.2f}   {row}   ({result['missing']['seconds']:.0f} s)")
    print("\nAUROC of telling strangers from test images, by")
    print("        " + " ".join(f"{name:>10}" for name in SCORES))
    for weight, result in found.items():
        print(
            f"{weight:5.2f}   "
            + " ".join(f"{result['auroc'][s]:10.4f}" for s in SCORES)
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="a name, or an .npz file")
    parser.add_argument(
        "--strangers", help="other images; photographs or fashion_mnist"
    )
    parser.add_argument(
        "--lambdas", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75, 1]
    )
    parser.add_argument("--region-graph", default="quad-graph")
    parser.add_argument("--leaf", choices=LEAVES, default="categorical")
    parser.add_argument("--sum-product", default="cp")
    parser.add_argument("--units", type=int, help="16 of the digits, else 64")
    parser.add_argument("--epochs", type=int, help="40 of the digits, else 10")
    parser.add_argument("--patience", type=int, help="8 of the digits, else 3")
    parser.add_argument("--batch-size", type=int, help="64 of the digits, else 256")
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument(
        "--decay", action="store_true", help="let the rate fall to zero"
    )
    parser.add_argument("--train", type=int, help="so many training images only")
    parser.add_argument("--jit-compile", action="store_true", help="let XLA compile")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=Path("figures"))
    parser.add_argument("--cache", type=Path, help="default: OUTPUT/cache")
    parser.add_argument("--verbose", type=int, default=1, help="as of Keras' fit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    small = options.data == "digits"
    defaults = {
        "units": (16, 64),
        "epochs": (40, 10),
        "patience": (8, 3),
        "batch_size": (64, 256),
        "strangers": ("photographs", "fashion_mnist"),
    }
    for name, values in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, values[0 if small else 1])
    options.cache = options.cache or options.output / "cache"
    if not all(0 <= weight <= 1 for weight in options.lambdas):
        parser.error("--lambdas are numbers from 0 to 1")
    return options


def main() -> None:
    options, start = parse(), time.perf_counter()
    data = load_images(options.data, options.train)
    strangers = load_strangers(options.strangers, data.shape, data.num_values)
    options.cache.mkdir(parents=True, exist_ok=True)
    counts = ", ".join(
        f"{len(getattr(data, part)[0])} {part}"
        for part in ("train", "validation", "test")
    )
    print(f"{data.name}: {counts} images; {len(strangers)} of {options.strangers}")
    circuits, found = {}, {}
    for weight in options.lambdas:
        circuits[weight], found[weight] = study(data, strangers, weight, options)
    print_tables(found)
    from image_figures import draw_figures

    print(f"\nFigures in {options.output}")
    generative = circuits[min(circuits)]
    spn = tfp_spn.distributions.SumProductNetwork(generative)
    draw_figures(spn, data, found, options.output, options.seed)
    print(f"\nDone in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
