"""Learning under strategies of `tf.distribute` is learning on one device."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import circuit_of
from tests.processes import output_of
from tfp_spn.learning import sum_over_replicas
from tfp_spn.learning.replicas import Replicas

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("distributed_fits.py")
QUICK = ("em/float64", "gradient/float32")
ALL = (
    *QUICK,
    "em/float32",
    "online_em/float64",
    "online_em/float32",
    "gradient/float64",
)
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
TIMEOUT = 600


def start(*arguments: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(*processes: subprocess.Popen[str]) -> list[str]:
    try:
        return [process.communicate(timeout=TIMEOUT)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def run(*arguments: Any) -> None:
    output_of(PROGRAM, *arguments)


def start_workers(
    mode: str, folder: Path, *of_last: Any
) -> list[subprocess.Popen[str]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return [
        start(mode, folder, 0, *ports),
        start(mode, folder, 1, *ports, *of_last),
    ]


def results(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def assert_close(have: dict[str, Any], want: dict[str, Any], case: str) -> None:
    names = [name for name in want if name.startswith(f"{case}/")]
    assert len(names) > 5
    tolerance = TOLERANCE[case.split("/")[1]]
    for name in names:
        np.testing.assert_allclose(
            have[name], want[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    run("mirrored", folder)
    return folder


@pytest.mark.parametrize("case", QUICK)
def test_two_replicas_equal_one(mirrored, case) -> None:
    want = results(mirrored / "one.npz")
    assert_close(results(mirrored / "mirrored0.npz"), want, case)
    values = want[f"{case}/log_likelihood"]
    assert values[-1] > values[0]


MESSAGES = {
    "outside": "ValueError: .* not created under the strategy in scope, received .* no "
    "strategy, expected MirroredStrategy. Build",
    "halves": r"do not live together, received strategies \['MirroredStrategy', 'no s",
    "jit": "received jit_compile=True and MirroredStrategy. Leave",
    "optimizer": "optimizer of no strategy for a circuit of MirroredStrategy, expected",
    "distributed": "TypeError: .* received a DistributedDataset, expected a tf.data.D",
    "groups": "received accumulate_batches=2 and MirroredStrategy, expected 1. Choose",
    "shape": r"received shape \(37, 3\), expected \[examples, 4\]",
    "unchanged": "True",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_strategies_refuse(mirrored, name) -> None:
    errors = json.loads((mirrored / "mirrored0.json").read_text())["errors"]
    assert re.search(MESSAGES[name], errors[name]), errors[name]


def test_replicas_trace_once(mirrored) -> None:
    traces = json.loads((mirrored / "mirrored0.json").read_text())["traces"]
    assert traces.pop("all") >= 6  # the counter counts
    assert traces.pop("updates") == 1
    assert set(traces.values()) == {0}
    assert len(traces) == 4


def test_sum_over_replicas_needs_a_replica() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope(), pytest.raises(RuntimeError, match="outside of any replica"):
        sum_over_replicas(tf.constant(1.0))


def test_parameter_servers_are_refused() -> None:
    class Server:
        pass

    circuit = circuit_of()
    params = dict(circuit.live_params())

    class Variable:
        distribute_strategy = Server()

    circuit.live_params = lambda: dict.fromkeys(params, Variable())
    with pytest.raises(ValueError, match="must keep in step, received Server, expect"):
        Replicas(circuit)


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    run("mirrored", folder, "all")
    processes = start_workers("worker", folder)
    outputs = finished(*processes)
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("who", ["mirrored0", "worker0", "worker1"])
def test_two_processes_equal_one(workers, who, case) -> None:
    have, want = results(workers / f"{who}.npz"), results(workers / "one.npz")
    assert_close(have, want, case)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras", "loop"])
def test_keras_online_em_and_the_loop_of_the_readme(workers, name) -> None:
    values = results(workers / f"{name}.npz")
    both = [key for key in values if key.startswith("both/")]
    assert len(both) > 4
    for key in both:
        one = values[key.replace("both/", "one/")]
        np.testing.assert_allclose(values[key], one, rtol=1e-12, atol=1e-12)


DIFFERENT = "workers have different data, received in batch "
DISAGREEMENTS = {
    "shape": r"called differently, received different \['data'\], expected .* Pass",
    "values": f"{DIFFERENT}2 different x, expected .* Do not shard",
    "one_fails": "(RuntimeError.*batch 1 could not be read by replica 1)|disk is gone",
    "one_ends": f"{DIFFERENT}1 none in replica 0",
    "sizes": rf"{DIFFERENT}0 \[40, 50\] examples by replica",
    "epochs": r"called differently, received different \['epochs'\]",
    "unchanged": "True",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_workers_that_disagree_all_raise(workers, name) -> None:
    for worker in range(2):
        errors = json.loads((workers / f"worker{worker}.json").read_text())["errors"]
        assert re.search(DISAGREEMENTS[name], errors[name]), errors[name]


@pytest.mark.slow
def test_a_killed_worker_is_reported_and_the_fit_goes_on(tmp_path) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    broken.mkdir()
    whole.mkdir()
    # An epoch has three batches: the eighth is the second of the third epoch.
    finished(*start_workers("interrupted", broken, 8))
    message = json.loads((broken / "interrupted0.json").read_text())
    assert "RuntimeError: tfp_spn.learning: a worker was lost, received" in message
    assert "expected 2 workers to the end. Start all workers again" in message
    assert not (broken / "resumed0.npz").exists()
    with np.load(broken / "checkpoint.npz") as file:
        assert len(file["log_likelihood"]) == 2
    finished(*start_workers("interrupted", broken))
    finished(*start_workers("interrupted", whole))
    want = results(whole / "resumed0.npz")
    for worker in range(2):
        have = results(broken / f"resumed{worker}.npz")
        for name, value in want.items():
            np.testing.assert_allclose(have[name], value, rtol=1e-12, atol=1e-12)
