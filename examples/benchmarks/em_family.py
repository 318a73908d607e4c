"""EM against gradients: the same circuits, the same seconds.

    python examples/benchmarks/em_family.py FOLDER [NAME ...] [--seconds 60]
        [--methods METHOD ...] [--seeds 3] [--json FILE]

FOLDER (or the environment variable ``TFP_SPN_DATA``) holds ``<name>.npz`` with 0/1
arrays ``train``, ``valid`` and ``test``. Each fit runs in a process of its own, from
the same initial parameters of the same hidden Chow-Liu tree. How long an update takes
is measured first, compilation aside; each method then gets as many updates as fit into
its seconds, and its best parameters by validation are tested.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfp_spn
from tfp_spn import learning

Method = Callable[[int], dict[str, Any]]
"""Arguments of `fit`, given the number of updates."""


def cosine(rate: float, num_updates: int) -> Any:
    return keras.optimizers.schedules.CosineDecay(rate, num_updates)


def gradient(optimizer: type, rate: float) -> Method:
    return lambda n: {
        "method": "gradient",
        "optimizer": optimizer(cosine(rate, n)),
    }


METHODS: dict[str, Method] = {
    "em": lambda n: {"method": "em"},
    "squarem": lambda n: {"method": learning.AcceleratedExpectationMaximization()},
    "online": lambda n: {"method": "online_em", "step_size": "constant"},
    "online-linear": lambda n: {"method": "online_em", "step_size": "linear"},
    "online-cosine": lambda n: {"method": "online_em", "step_size": "cosine"},
    "averaged": lambda n: {
        "method": learning.AveragedParameters("online_em"),
        "step_size": "constant",
    },
    "anemone": lambda n: {"method": learning.AnemoneExpectationMaximization()},
    "anemone-cosine": lambda n: {
        "method": learning.AnemoneExpectationMaximization("cosine")
    },
    "anemone-no-momentum": lambda n: {
        "method": learning.AnemoneExpectationMaximization(momentum=0.0)
    },
    "annealed": lambda n: {
        "method": learning.AnnealedExpectationMaximization("online_em"),
        "step_size": "cosine",
    },
    "sharpness-aware": lambda n: {
        "method": learning.SharpnessAwareExpectationMaximization("online_em", 1e-4),
        "step_size": "cosine",
    },
    "adam": gradient(keras.optimizers.Adam, 0.05),
    "adam-0.01": gradient(keras.optimizers.Adam, 0.01),
    "rmsprop": gradient(keras.optimizers.RMSprop, 0.01),
}
FULL_BATCH = ("em", "squarem")
WARM_UP = 12


def load(folder: Path, name: str) -> list[np.ndarray]:
    path = folder / f"{name}.npz"
    if not path.exists():
        raise SystemExit(f"{path} not found: pass the folder with {name}.npz")
    with np.load(path) as data:
        return [data[k].astype(np.float32) for k in ("train", "valid", "test")]


def build(train: np.ndarray, num_sums: int, seed: int) -> tfp_spn.circuits.Circuit:
    keras.utils.set_random_seed(seed)
    graph = tfp_spn.region_graphs.hidden_chow_liu_tree(train.astype(np.int64))
    leaf = tfp_spn.layers.BernoulliLeaf(num_sums)
    return tfp_spn.circuits.from_region_graph(graph, leaf, num_sums, leaf_sums=False)


def run(arguments: argparse.Namespace, name: str, method: str, seed: int) -> None:
    """One fit; prints its result as JSON."""
    train, valid, test = load(Path(arguments.folder), name)
    batch = 2000 if method in FULL_BATCH else arguments.batch_size
    shared = {"verbose": False, "batch_size": batch, "jit_compile": True}
    warnings.simplefilter("ignore")

    def seconds(num_updates: int, **options: Any) -> tuple[float, Any]:
        circuit = build(train, arguments.num_sums, seed)
        settings = {**shared, **METHODS[method](num_updates), **options}
        start = time.perf_counter()
        learning.fit(circuit, train, num_updates=num_updates, seed=seed, **settings)
        return time.perf_counter() - start, circuit

    seconds(2)  # compiles
    few = 3 if method in FULL_BATCH else WARM_UP
    each = (seconds(2 * few)[0] - seconds(few)[0]) / few
    num_updates = max(2, int(arguments.seconds / max(each, 1e-4)))
    spent, circuit = seconds(num_updates, validation_data=valid)

    def score(x: np.ndarray) -> float:
        batches = learning.Batches(circuit.program, learning.Data(x), 1000)
        return learning.LogLikelihood(circuit)(batches())

    result = {
        "name": name,
        "method": method,
        "seed": seed,
        "updates": num_updates,
        "seconds": round(spent, 1),
        "train": score(train),
        "valid": score(valid),
        "test": score(test),
    }
    print(json.dumps(result))


def in_process(arguments: argparse.Namespace, *case: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(arguments.folder), "--case", *case]
    for option in ("seconds", "num_sums", "batch_size"):
        command += [f"--{option}".replace("_", "-"), str(getattr(arguments, option))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(case)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    default = os.environ.get("TFP_SPN_DATA")
    parser.add_argument("folder", type=Path, nargs="?" if default else None)
    parser.add_argument("names", nargs="*", default=["nltcs"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--num-sums", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder or default
    if arguments.case:
        name, method, seed = arguments.case
        run(arguments, name, method, int(seed))
        return
    results = []
    for name in arguments.names or ["nltcs"]:
        for method in arguments.methods:
            for seed in range(arguments.seeds):
                result = in_process(arguments, name, method, str(seed))
                results.append(result)
                print(
                    "{name:10s} {method:20s} seed {seed}  test {test:9.4f}  valid "
                    "{valid:9.4f}  train {train:9.4f}  {updates:6d} updates "
                    "{seconds:.0f} s".format(**result),
                    flush=True,
                )
                if arguments.json:
                    arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
