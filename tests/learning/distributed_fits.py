"""A program of its own: fits under a strategy, their results and errors in files.

    python distributed_fits.py mirrored FOLDER [all]
    python distributed_fits.py worker FOLDER INDEX PORT PORT
    python distributed_fits.py interrupted FOLDER INDEX PORT PORT [BATCH]

Logical devices and clusters must be known before TensorFlow starts, so that
`test_distribution.py` runs this once for all its tests. With ``all``, every method is
tried in both precisions; with BATCH, a worker kills itself when it reads that batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[2] / "README.md"
MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
if MODE != "mirrored":
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": [f"127.0.0.1:{port}" for port in sys.argv[4:6]]},
            "task": {"type": "worker", "index": int(sys.argv[3])},
        }
    )

import tensorflow as tf  # noqa: E402 - after the cluster is set

if MODE == "mirrored":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    strategy: Any = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from tests.learning.learning_cases import (  # noqa: E402
    circuit_of,
    data_of,
    values_of,
)
from tfp_spn import region_graphs  # noqa: E402
from tfp_spn.learning import (  # noqa: E402
    Batch,
    Batches,
    Data,
    ExpectationMaximization,
    GradientAscent,
    LogLikelihood,
    MinibatchExpectationMaximization,
    OnlineExpectationMaximization,
    fit,
)
from tfp_spn.learning.batch_functions import Maximization  # noqa: E402
from tfp_spn.learning.replicas import mirrored_functions  # noqa: E402

X = data_of("normal", 37)
# Batches of 16, 16 and 5, of which replicas get 3 and 2, of very different weights.
SETTINGS = {
    "labels": np.arange(37) % 2,
    "sample_weight": np.linspace(0.0, 3.0, 37),
    "observed": np.arange(37 * 4).reshape(37, 4) % 7 > 0,
    "batch_size": 16,
    "epochs": 3,
    "validation_data": X,
    "verbose": False,
}
GRAPH = region_graphs.random_binary_trees(4, 2, 1, seed=0)
INDEX = int(sys.argv[3]) if MODE != "mirrored" else 0


def circuit(dtype: str = "float64") -> Any:
    return circuit_of("normal", 0, 2, GRAPH, leaf={"dtype": dtype})


def fitted(scope: Callable[[], Any], method: str, dtype: str) -> dict[str, Any]:
    with scope():
        model = circuit(dtype)
        optimizer = None
        if method == "gradient":
            optimizer = keras.optimizers.SGD(0.5, momentum=0.5, global_clipnorm=0.3)
    history = fit(model, X, method=method, optimizer=optimizer, **SETTINGS)
    return {
        **values_of(model),
        "log_likelihood": history.log_likelihood,
        "validation_log_likelihood": history.validation_log_likelihood,
    }


def message_of(function: Callable[[], Any]) -> str:
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def save(name: str, results: dict[str, dict[str, Any]]) -> None:
    np.savez(
        FOLDER / name,
        **{f"{k}/{part}": v for k, r in results.items() for part, v in r.items()},
    )


CASES = ["em/float64", "gradient/float32"]
if MODE != "mirrored" or "all" in sys.argv:
    CASES += ["em/float32", "online_em/float64", "online_em/float32"]
    CASES += ["gradient/float64"]


def all_fits(scope: Callable[[], Any]) -> dict[str, Any]:
    return {case: fitted(scope, *case.split("/")) for case in CASES}


def custom_loops() -> dict[str, Any]:
    """The loop of the README, and the same on one device."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (loop,) = (block for block in blocks if "sum_over_replicas" in block)
    results = {}
    for name, used in (("one", tf.distribute.get_strategy()), ("both", strategy)):
        with used.scope() if name == "both" else contextlib.nullcontext():
            names = {"circuit": circuit(), "strategy": used, "x": X, "tf": tf}
            exec(loop.replace("512", "16"), {**names, "keras": keras})
        results[name] = values_of(names["circuit"])
    return results


def traces() -> dict[str, int]:
    """How often functions are traced after the first epoch."""
    with strategy.scope():
        model = circuit("float32")
    calls: list[str] = []
    evidence = Batch.evidence

    def counted(self: Any, program: Any) -> Any:
        calls.append("evidence")
        return evidence(self, program)

    Batch.evidence = counted  # type: ignore[method-assign]
    batches = Batches(model.program, Data(X), 16)
    trainers = [
        ExpectationMaximization(model),
        MinibatchExpectationMaximization(model, lambda n: (n + 2.0) ** -0.6),
        GradientAscent(model),
    ]
    counts = {}
    for trainer in trainers:
        trainer.epoch(batches([0, 0]))
        first = len(calls)
        trainer.epoch(batches([0, 1]))
        trainer.epoch(batches([0, 2]))
        counts[type(trainer).__name__] = len(calls) - first
    evaluate = LogLikelihood(model)
    evaluate(batches())
    first = len(calls)
    evaluate(batches())
    counts["LogLikelihood"] = len(calls) - first
    [update] = [
        function
        for (_, body), function in mirrored_functions(model).items()
        if isinstance(body, Maximization)
    ]
    counts["updates"] = update.experimental_get_tracing_count()
    counts["all"] = len(calls)
    Batch.evidence = evidence  # type: ignore[method-assign]
    return counts


def keras_fits() -> dict[str, Any]:
    results = {}
    for name, scope in (("one", contextlib.nullcontext), ("both", strategy.scope)):
        with scope():
            model = circuit()
            model.compile(OnlineExpectationMaximization(0.3))
        model.fit(X, batch_size=16, epochs=2, shuffle=False, verbose=0)
        results[name] = values_of(model)
    return results


def errors_of_strategies() -> dict[str, str]:
    outside = circuit()
    with strategy.scope():
        inside, other = circuit(), circuit()
        other.compile(OnlineExpectationMaximization(0.3, accumulate_batches=2))
    outside_optimizer = keras.optimizers.Adam()

    def in_scope() -> None:
        with strategy.scope():
            fit(outside, X, verbose=False)

    def halves() -> None:
        mixed = circuit()
        params = {**mixed.live_params(), **dict(list(inside.live_params().items())[:1])}
        mixed.live_params = lambda: params
        fit(mixed, X, verbose=False)

    distributed = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices(X).batch(16)
    )
    before = values_of(inside)
    messages = {
        "outside": message_of(in_scope),
        "halves": message_of(halves),
        "jit": message_of(lambda: fit(inside, X, jit_compile=True, verbose=False)),
        "optimizer": message_of(
            lambda: fit(
                inside,
                X,
                method="gradient",
                optimizer=outside_optimizer,
                verbose=False,
            )
        ),
        "distributed": message_of(lambda: fit(inside, distributed, verbose=False)),
        "groups": message_of(lambda: other.fit(X, batch_size=16, verbose=0)),
        "shape": message_of(lambda: fit(inside, X[:, :3], verbose=False)),
    }
    after = values_of(inside)
    messages["unchanged"] = str(all((before[k] == after[k]).all() for k in before))
    return messages


def errors_of_workers() -> dict[str, str]:
    with strategy.scope():
        model = circuit()
    before = values_of(model)
    many = data_of("normal", 200)
    middle = many.copy()
    middle[100] += INDEX

    def one_fails() -> Iterator[Any]:
        yield X[:16]
        if INDEX == 1:
            raise OSError("the disk is gone")
        yield X[16:32]

    def one_ends() -> Iterator[Any]:
        yield X[:16]
        if INDEX == 1:
            yield X[16:32]

    def dataset(rows: Callable[[], Any]) -> Any:
        spec = tf.TensorSpec([None, 4], tf.float64)
        return tf.data.Dataset.from_generator(rows, output_signature=spec)

    settings: dict[str, Any] = {"epochs": 2, "batch_size": 50, "verbose": False}
    data = {
        "shape": many[: 200 - 50 * INDEX],
        "values": middle,
        "one_fails": dataset(one_fails),
        "one_ends": dataset(one_ends),
        "sizes": tf.data.Dataset.from_tensor_slices(many).batch(40 + 10 * INDEX),
    }
    messages = {
        name: message_of(lambda x=x: fit(model, x, **settings))
        for name, x in data.items()
    }
    messages["epochs"] = message_of(
        lambda: fit(model, many, **{**settings, "epochs": 2 + INDEX})
    )
    after = values_of(model)
    messages["unchanged"] = str(all((before[k] == after[k]).all() for k in before))
    return messages


def interrupted() -> None:
    """Fits a stream with checkpoints; leaves results or an error."""
    last_batch = int(sys.argv[6]) if len(sys.argv) > 6 else -1
    read = []

    def rows() -> Iterator[Any]:
        for start in range(0, 37, 16):
            read.append(start)
            if len(read) == last_batch:
                os.kill(os.getpid(), signal.SIGKILL)
            yield X[start : start + 16]

    spec = tf.TensorSpec([None, 4], tf.float64)
    data = tf.data.Dataset.from_generator(rows, output_signature=spec)
    with strategy.scope():
        model = circuit()
    settings: dict[str, Any] = {
        "method": "online_em",
        "epochs": 5,
        "checkpoint": FOLDER / "checkpoint.npz",
        "verbose": False,
    }
    history: list[Any] = []
    message = message_of(lambda: history.append(fit(model, data, **settings)))
    (FOLDER / f"interrupted{INDEX}.json").write_text(json.dumps(message))
    if history:
        save(f"resumed{INDEX}.npz", {"resumed": values_of(model)})


def main() -> None:
    if MODE == "interrupted":
        interrupted()
        return
    name = f"{MODE}{INDEX}"
    if MODE == "mirrored":
        save("one.npz", all_fits(contextlib.nullcontext))
        if "all" in sys.argv:
            save("keras.npz", keras_fits())
            save("loop.npz", custom_loops())
        facts = {"errors": errors_of_strategies(), "traces": traces()}
    else:
        facts = {"errors": errors_of_workers()}
    save(f"{name}.npz", all_fits(strategy.scope))
    (FOLDER / f"{name}.json").write_text(json.dumps(facts))


main()
