"""How circuits over images are best parametrised: structure, product, leaf, learner.

    python examples/benchmarks/images.py [--data NAME|FILE] [--region-graphs NAME ...]
        [--sum-products NAME ...] [--leaves NAME ...] [--leaf-sums NAME ...]
        [--methods NAME ...] [--units N] [--epochs N] [--distill] [--step-size S]
        [--output FILE.json] [--verbose]

Trains a circuit with one root, ``p(x)``, for each combination and prints its number of
parameters, the seconds of an epoch (the median, without the first one's compilation)
and the bits per dimension of the test images, of the weights that are best in
validation. These are the parametrisations that cirkit compares: CP (sums, then
products), CP-T (products, then sums) and Tucker (products of all combinations) by
region graph, sums over leaves shared by the partitions of a pixel or one for each.
``adam`` is Adam, ``em`` an M-step for each batch, of a size that falls from
``--step-size`` to nearly zero over all epochs. ``--distill`` begins with clusters of
the images (`tfp_spn.learning.distill`), for which a first step of 0.1 is enough.

Where images are looked for says `image_data.py`, one folder up. Without arguments the
images are scikit-learn's digits; ``--data mnist --units 64 --epochs 10
--learning-rate 0.01`` is what was published for cirkit. Tucker has ``units ** 3``
weights for each partition: leave it out for 64 units, or take 16.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from image_data import ImageData, load_images

import tfp_spn
from tfp_spn import layers, learning, region_graphs

LEAVES = {
    "binomial": lambda units, values: layers.BinomialLeaf(units, values - 1),
    "categorical": layers.CategoricalLeaf,
    "discretized-logistic": layers.DiscretizedLogisticLeaf,
}
GRAPHS = [
    "quad-graph",
    "quad-tree-2",
    "quad-tree-4",
    "random-quad-tree",
    "random-binary-tree",
    "poon-domingos",
]
LEAF_SUMS = {"shared": True, "per-partition": "per-partition", "default": None}


def build(data: ImageData, case: dict[str, str], units: int, seed: int) -> Any:
    graph: Any = case["region_graph"]
    if graph == "random-quad-tree":
        graph = region_graphs.random_quad_tree(data.shape, seed=seed)
    is_cp = case["sum_product"] == "cp"
    return tfp_spn.circuits.image_circuit(
        data.shape,
        graph,
        LEAVES[case["leaf"]](units, data.num_values),
        num_sum_units=units,
        sum_product=case["sum_product"],
        leaf_sums=LEAF_SUMS[case["leaf_sums"]] if is_cp else None,
        seed=seed,
    )


class Seconds(keras.callbacks.Callback):
    """When each epoch began and ended; validation is part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.times = [time.perf_counter()]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.times.append(time.perf_counter())

    @property
    def median(self) -> float:
        taken = np.diff(self.times)
        return float(np.median(taken[1:] if len(taken) > 1 else taken))


def train(
    circuit: Any, data: ImageData, method: str, options: argparse.Namespace
) -> dict[str, float]:
    seconds = Seconds()
    x, held_out = data.train[0], data.validation[0]
    num_steps = options.epochs * -(-len(x) // options.batch_size)
    settings = {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "validation_data": held_out,
        "patience": options.patience,
        "callbacks": [seconds],
        "seed": options.seed,
        "verbose": options.verbose,
    }
    if options.distill:
        start = time.perf_counter()
        learning.distill(circuit, x, seed=options.seed)
        print(f"clusters: {time.perf_counter() - start:.0f} s", flush=True)
    if method == "em":
        first = options.step_size
        step = keras.optimizers.schedules.PolynomialDecay(first, num_steps, 1e-3)
        learning.fit(
            circuit,
            x,
            method="online_em",
            step_size=step,
            initialize=not options.distill,
            pseudocount=options.pseudocount,
            **settings,
        )
    else:
        adam = keras.optimizers.Adam(options.learning_rate)
        learning.fit(
            circuit,
            x,
            method="gradient",
            optimizer=adam,
            initialize=False if options.distill else None,
            **settings,
        )
    to_bits = -1 / (data.num_pixels * np.log(2))
    mean = learning.LogLikelihood(circuit)
    batches = learning.Batches(
        circuit.program, learning.Data(data.test[0]), options.batch_size
    )
    return {
        "parameters": circuit.count_params(),
        "seconds": seconds.median,
        "epochs": len(seconds.times) - 1,
        "bits": float(mean(batches()) * to_bits),
    }


def cases(options: argparse.Namespace) -> list[dict[str, str]]:
    """All combinations; sums over leaves differ for CP only."""
    found: list[dict[str, str]] = []
    for graph, product, leaf, leaf_sums, method in itertools.product(
        options.region_graphs,
        options.sum_products,
        options.leaves,
        options.leaf_sums,
        options.methods,
    ):
        case = {
            "region_graph": graph,
            "sum_product": product,
            "leaf": leaf,
            "leaf_sums": leaf_sums if product == "cp" else "-",
            "method": method,
        }
        if case not in found:
            found.append(case)
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="a name, or an .npz file")
    parser.add_argument("--train", type=int, help="so many training images only")
    parser.add_argument(
        "--region-graphs", nargs="+", choices=GRAPHS, default=GRAPHS[:3] + GRAPHS[4:5]
    )
    parser.add_argument("--sum-products", nargs="+", default=["cp", "cp-t", "tucker"])
    parser.add_argument("--leaves", nargs="+", choices=LEAVES, default=["categorical"])
    parser.add_argument("--leaf-sums", nargs="+", choices=LEAF_SUMS, default=["shared"])
    parser.add_argument(
        "--methods", nargs="+", choices=("adam", "em"), default=["adam", "em"]
    )
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--step-size", type=float, default=1.0, help="the first of EM")
    parser.add_argument("--pseudocount", type=float, default=0.01)
    parser.add_argument(
        "--distill", action="store_true", help="begin with clusters of the images"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    parser.add_argument("--verbose", action="store_true", help="a line for each epoch")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = parse()
    data = load_images(options.data, options.train)
    print(f"{data.name}: {len(data.train[0])} training images, {options.units} units")
    print(
        f"{'region graph':<19} {'product':<7} {'leaf':<21} {'leaf sums':<13} "
        f"{'method':<6} {'parameters':>10} {'s/epoch':>8} {'epochs':>6} {'bits/dim':>8}"
    )
    rows = []
    for case in cases(options):
        circuit = build(data, case, options.units, options.seed)
        found = train(circuit, data, case["method"], options)
        rows.append({**case, **found})
        print(
            f"{case['region_graph']:<19} {case['sum_product']:<7} {case['leaf']:<21} "
            f"{case['leaf_sums']:<13} {case['method']:<6} {found['parameters']:>10} "
            f"{found['seconds']:>8.2f} {found['epochs']:>6} {found['bits']:>8.3f}",
            flush=True,
        )
        if options.output is not None:
            options.output.write_text(json.dumps(rows, indent=1))
        tfp_spn.circuits.clear_traces()


if __name__ == "__main__":
    main()
