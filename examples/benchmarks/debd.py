"""Test log-likelihood on binary density-estimation data sets.

    python examples/benchmarks/debd.py FOLDER [NAME ...] [--json FILE]

FOLDER (or the environment variable ``TFP_SPN_DATA``) holds ``<name>.npz`` with 0/1
arrays ``train``, ``valid`` and ``test``: the twenty data sets of Van Haaren and Davis.
Each is learned once, first by online EM with a decaying step, then by full-batch EM, on
a structure fixed below; the parameters with the best validation log-likelihood are
tested.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

import tfp_spn


@dataclass(frozen=True)
class Setting:
    """How one data set is learned."""

    structure: str = "rat"
    depth: int = 4
    num_repetitions: int = 40
    num_sums: int = 12
    online_epochs: int = 16
    epochs: int = 0
    batch_size: int = 500
    step_size: float = 0.3
    online_pseudocount: float = 0.05
    pseudocount: float = 0.1
    seed: int = 0


# Compared by validation log-likelihood. HCLT stands for a hidden Chow-Liu tree.
SETTINGS = {
    "nltcs": Setting(depth=3, epochs=25),
    "baudio": Setting(),
    "jester": Setting(online_epochs=12, online_pseudocount=0.1),
    "bnetflix": Setting(),
    "tretail": Setting(structure="hclt", num_sums=20, online_pseudocount=0.01),
    "kosarek": Setting(structure="hclt", num_sums=20, online_pseudocount=0.01),
}


def load(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    path = folder / f"{name}.npz"
    if not path.exists():
        raise SystemExit(f"{path} not found: pass the folder with {name}.npz")
    with np.load(path) as data:
        return tuple(data[k].astype(np.float32) for k in ("train", "valid", "test"))


def build(setting: Setting, train: np.ndarray) -> tfp_spn.circuits.Circuit:
    keras.utils.set_random_seed(setting.seed)
    leaf = tfp_spn.layers.BernoulliLeaf(setting.num_sums)
    if setting.structure == "hclt":
        graph = tfp_spn.region_graphs.hidden_chow_liu_tree(train.astype(np.int64))
    else:
        graph = tfp_spn.region_graphs.random_binary_trees(
            train.shape[1], setting.depth, setting.num_repetitions, setting.seed
        )
    return tfp_spn.circuits.from_region_graph(
        graph, leaf, setting.num_sums, leaf_sums=False
    )


def run(name: str, setting: Setting, folder: Path) -> dict[str, float | str]:
    train, valid, test = load(folder, name)
    start = time.perf_counter()
    circuit = build(setting, train)
    spn = tfp_spn.distributions.SumProductNetwork(circuit)
    shared = {
        "validation_data": valid,
        "batch_size": setting.batch_size,
        "seed": setting.seed,
        "jit_compile": True,
    }
    num_steps = setting.online_epochs * -(-len(train) // setting.batch_size)
    tfp_spn.learning.fit(
        spn,
        train,
        method="online_em",
        epochs=setting.online_epochs,
        step_size=lambda n: cosine(setting.step_size, n / num_steps),
        pseudocount=setting.online_pseudocount,
        **shared,
    )
    if setting.epochs:
        tfp_spn.learning.fit(
            spn,
            train,
            method="em",
            epochs=setting.epochs,
            patience=5,
            pseudocount=setting.pseudocount,
            **shared,
        )
    seconds = time.perf_counter() - start
    return {
        "name": name,
        "test": mean_log_prob(spn, test),
        "valid": mean_log_prob(spn, valid),
        "train": mean_log_prob(spn, train),
        "parameters": circuit.count_params(),
        "seconds": seconds,
        **asdict(setting),
    }


def cosine(start: float, progress: float) -> float:
    return start * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def mean_log_prob(spn: tfp_spn.distributions.SumProductNetwork, x: np.ndarray) -> float:
    blocks = np.array_split(x, max(1, len(x) // 1000))
    return float(np.mean(np.concatenate([spn.log_prob(b).numpy() for b in blocks])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    default = os.environ.get("TFP_SPN_DATA")
    parser.add_argument(
        "folder", type=Path, nargs="?" if default else None, default=default
    )
    parser.add_argument("names", nargs="*", default=list(SETTINGS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    for name in arguments.names or SETTINGS:
        result = run(name, SETTINGS[name], Path(arguments.folder))
        results.append(result)
        print(
            "{name:10s} test {test:8.3f}  valid {valid:8.3f}  train {train:8.3f}  "
            "{seconds:.0f} s".format(**result),
            flush=True,
        )
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
