"""Test log-likelihood on binary density-estimation data sets.

    python examples/benchmarks/debd.py FOLDER [NAME ...] [--methods METHOD ...]
        [--seeds N] [--seconds S] [--rows R] [--json FILE]

FOLDER (or the environment variable ``TFP_SPN_DATA``) holds ``<name>.npz`` with 0/1
arrays ``train``, ``valid`` and ``test``: the twenty data sets of Van Haaren and Davis;
by default all of them are learned. Each fit runs in a process of its own, which has S
seconds. Of each data set the method with the best validation log-likelihood (median of
the seeds) is marked; the test data decide nothing.

``--rows R`` learns from R rows alone, drawn by the seed, a tenth of which are held out
in place of ``valid``: how models do where rows are few.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 500


def by_learn(train, valid, seconds: float, seed: int) -> Any:
    import tfp_spn

    return tfp_spn.learn(
        train, validation_data=valid, time_budget=seconds, seed=seed, verbose=False
    )


def by_continuous_mixture(train, valid, seconds: float, seed: int) -> Any:
    import tfp_spn

    num_points = 2 ** min(10, max(6, int(math.log2(2**16 / train.shape[1]))))
    mixture = tfp_spn.structure.continuous_mixture(
        train,
        validation_data=valid,
        num_points=num_points,
        max_seconds=0.9 * seconds,
        seed=seed,
    )
    return tfp_spn.distributions.SumProductNetwork(mixture.circuit())


def by_structure(name: str, **arguments: Any) -> Callable:
    """An algorithm of `tfp_spn.structure`, then full-batch EM."""

    def method(train, valid, seconds: float, seed: int) -> Any:
        import tfp_spn

        start = time.perf_counter()
        learn = getattr(tfp_spn.structure, name)
        circuit = learn(train, seed=seed, **arguments)
        spn = tfp_spn.distributions.SumProductNetwork(circuit)
        left = seconds - (time.perf_counter() - start)
        fit(spn, train, valid, left, seed, method="em", pseudocount=0.0)
        return spn

    return method


def by_online_em(make_graph: Callable, num_sums: int) -> Callable:
    """A region graph, its circuit learned by online EM."""

    def method(train, valid, seconds: float, seed: int) -> Any:
        import keras

        import tfp_spn

        keras.utils.set_random_seed(seed)
        circuit = tfp_spn.circuits.from_region_graph(
            make_graph(tfp_spn.region_graphs, train, seed),
            tfp_spn.layers.BernoulliLeaf(num_sums),
            num_sums,
            leaf_sums=False,
        )
        spn = tfp_spn.distributions.SumProductNetwork(circuit)
        epochs = max(16, 1500 // -(-len(train) // BATCH))
        num_steps = epochs * -(-len(train) // BATCH)

        def step_size(step: Any) -> float:
            part = min(1.0, float(step) / num_steps)
            return 0.3 * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))

        fit(
            spn,
            train,
            valid,
            seconds,
            seed,
            epochs=epochs,
            method="online_em",
            step_size=step_size,
            pseudocount=0.05,
        )
        return spn

    return method


def by_defaults(train, valid, seconds: float, seed: int) -> Any:
    """What somebody gets who names nothing but the structure; of all rows."""
    import tfp_spn

    x = np.concatenate([train, valid])
    circuit = tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.hidden_chow_liu_tree(x),
        tfp_spn.layers.BernoulliLeaf(32),
        32,
        leaf_sums=False,
    )
    tfp_spn.learning.fit(circuit, x, seed=seed, verbose=False)
    return tfp_spn.distributions.SumProductNetwork(circuit)


def by_chow_liu_tree(train, valid, seconds: float, seed: int) -> Any:
    import tfp_spn

    return tfp_spn.distributions.SumProductNetwork(
        tfp_spn.structure.chow_liu_trees(np.concatenate([train, valid]), alpha=1.0)
    )


def by_columns(train, valid, seconds: float, seed: int) -> Any:
    import tfp_spn

    return tfp_spn.distributions.SumProductNetwork(
        tfp_spn.structure.learn_spn(np.concatenate([train, valid]), min_rows=2**31 - 1)
    )


OF_ALL_ROWS: dict[str, Callable] = {
    "fit_of_hidden_chow_liu_tree": by_defaults,
    "smoothed_chow_liu_tree": by_chow_liu_tree,
    "independent_columns": by_columns,
}
"""These learn from the validation data, too: they are compared, but never chosen."""

METHODS: dict[str, Callable] = {
    "learn": by_learn,
    "continuous_mixture": by_continuous_mixture,
    "learn_spn": by_structure("learn_spn", min_rows=200),
    "cutset_network": by_structure("cutset_network"),
    "random_partitions": by_structure(
        "random_partition_circuit", num_members=4, min_rows=512, max_partitions=32
    ),
    "hidden_chow_liu_trees": by_online_em(
        lambda graphs, x, seed: graphs.mixture_of_hidden_chow_liu_trees(x, seed=seed),
        num_sums=16,
    ),
    "random_binary_trees": by_online_em(
        lambda graphs, x, seed: graphs.random_binary_trees(x.shape[1], 4, 40, seed),
        num_sums=12,
    ),
    **OF_ALL_ROWS,
}


def fit(spn, train, valid, seconds: float, seed: int, **arguments: Any) -> None:
    """EM until validation gets worse, or the seconds are over."""
    import keras

    import tfp_spn

    ends = time.perf_counter() + seconds

    def look_at_the_clock(epoch: int, logs: Any) -> None:
        clock.model.stop_training = time.perf_counter() > ends

    clock = keras.callbacks.LambdaCallback(on_epoch_end=look_at_the_clock)
    arguments = {"epochs": 50, "batch_size": BATCH, **arguments}
    tfp_spn.learning.fit(
        spn,
        train,
        validation_data=valid,
        patience=5,
        callbacks=[clock],
        seed=seed,
        verbose=False,
        **arguments,
    )


def run(
    folder: Path, name: str, method: str, seconds: float, rows: int, seed: int
) -> dict:
    path = folder / f"{name}.npz"
    if not path.exists():
        raise SystemExit(f"{path} not found: pass the folder with {name}.npz")
    with np.load(path) as data:
        train, valid, test = (
            data[k].astype(np.int32) for k in ("train", "valid", "test")
        )
    if rows:
        drawn = np.random.default_rng(seed).permutation(train)[:rows]
        train, valid = np.split(drawn, [len(drawn) - max(1, len(drawn) // 10)])
    start = time.perf_counter()
    spn = METHODS[method](train, valid, seconds, seed)
    seconds = time.perf_counter() - start
    report = getattr(spn, "report", None)
    trials = report.trials if report else ()
    return {
        "name": name,
        "method": method,
        "seed": seed,
        "seconds": seconds,
        "parameters": spn.circuit.count_params(),
        "valid": mean_log_prob(spn, valid),
        "test": mean_log_prob(spn, test),
        "trials": [[t.name, t.validation, t.seconds] for t in trials],
    }


def mean_log_prob(spn: Any, x: np.ndarray) -> float:
    blocks = np.array_split(x, max(1, len(x) // 1000))
    return float(np.mean(np.concatenate([spn.log_prob(b).numpy() for b in blocks])))


def in_process(*task: Any) -> dict:
    """`run` in a process of its own."""
    command = [sys.executable, __file__, "--task", json.dumps([str(t) for t in task])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"name": task[1], "method": task[2], "error": done.stderr[-500:]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    default = os.environ.get("TFP_SPN_DATA")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        folder, name, method, *numbers = json.loads(arguments.task)
        seconds, rows, seed = float(numbers[0]), int(numbers[1]), int(numbers[2])
        print(json.dumps(run(Path(folder), name, method, seconds, rows, seed)))
        return
    if arguments.folder is None:
        parser.error("pass the folder with <name>.npz, or set TFP_SPN_DATA")
    folder, results = Path(arguments.folder), []
    for name in arguments.names or sorted(p.stem for p in folder.glob("*.npz")):
        rows = {}
        for method in arguments.methods:
            runs = [
                in_process(
                    folder, name, method, arguments.seconds, arguments.rows, seed
                )
                for seed in range(arguments.seeds)
            ]
            results += runs
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1))
            failed = [r["error"] for r in runs if "error" in r]
            if failed:
                print(f"{name:10s} {method:22s} failed: {failed[0]}", flush=True)
                continue
            rows[method] = {
                key: statistics.median(r[key] for r in runs)
                for key in ("valid", "test", "seconds")
            }
            line = "test {test:8.3f}  valid {valid:8.3f}  {seconds:.0f} s"
            row = line.format(**rows[method])
            print(f"{name:10s} {method:22s} {row}", flush=True)
        rows = {name: row for name, row in rows.items() if name not in OF_ALL_ROWS}
        if rows:
            best = max(rows, key=lambda method: rows[method]["valid"])
            print(f"{name:10s} chosen: {best}, test {rows[best]['test']:.3f}")


if __name__ == "__main__":
    main()
