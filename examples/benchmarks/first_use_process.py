"""One scenario in a process of its own: what `first_use.py` starts for each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import speed_measurement as measurement

NUM_ROWS = 10
"""Rows of each query."""

OF_ALL_ROWS = ("log_prob", "gradient", "condition().mean()")
"""Queries that are also asked of all rows, which are more than one block."""


class Recorder:
    """Seconds that calls take, and memory above that after the imports."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, float]] = {}
        self.start = measurement.mebibytes("VmRSS")
        measurement.forget_peak()

    def call(self, name: str, function: Callable[[], Any]) -> Any:
        """Calls a function and keeps what it took."""
        start = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - start
        self.records[name] = {
            "s": seconds,
            "mib": measurement.mebibytes("VmRSS") - self.start,
            "peak_mib": measurement.mebibytes("VmHWM") - self.start,
        }
        return result


def measure(name: str, jit_compile: bool | None) -> dict[str, Any]:
    """Everything that a user of the scenario waits for, in the order of a first day."""
    start = time.perf_counter()
    import keras  # noqa: F401
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfp.distributions.Normal  # noqa: B018 (TFP imports itself when it is first used)
    others = time.perf_counter() - start
    import tfp_spn

    seconds = time.perf_counter() - start - others
    tf.constant(0.0)
    recorder = Recorder()
    recorder.records["import above TensorFlow, TFP and Keras"] = {"s": seconds}
    if name == "fifty structures":
        fit_fifty(recorder, jit_compile)
        return recorder.records
    from first_use_scenarios import SCENARIOS

    scenario = SCENARIOS[name]
    x = scenario.data(scenario.num_rows)
    circuit = recorder.call("construction", scenario.circuit)
    # Before the first fit: seeding makes TensorFlow forget its kernels.
    other = scenario.circuit()
    for method in scenario.methods:
        options = {"method": method, "epochs": scenario.epochs, "verbose": False}
        if jit_compile is not None:
            options["jit_compile"] = jit_compile
        for number in ("first", "second"):
            recorder.call(
                f"fit {method}, {number} epoch",
                lambda options=options: tfp_spn.learning.fit(circuit, x, **options),
            )
    options = {**options, "method": scenario.methods[0]}
    recorder.call(
        f"fit {scenario.methods[0]}, a second circuit of the structure",
        lambda: tfp_spn.learning.fit(other, x, **options),
    )
    spn = scenario.distribution(circuit)
    for query, call in queries(spn, x[:NUM_ROWS]).items():
        for number in ("first", "second", "third"):
            recorder.call(f"{query}, {number} call", call)
    for query, call in in_function(spn, x[:NUM_ROWS], bool(jit_compile)).items():
        for number in ("first", "second"):
            recorder.call(f"{query} in a tf.function, {number} call", call)
    of_all = queries(spn, x)
    for query in OF_ALL_ROWS:
        for number in ("first", "second"):
            recorder.call(f"{query} of all rows, {number} call", of_all[query])
    return recorder.records


def queries(spn: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Each query as a user writes it outside of any function."""
    import numpy as np
    import tensorflow as tf

    observed = np.random.default_rng(1).random(spn.program.mask_shape) < 0.5
    variables = [variable.value for variable in spn.circuit.trainable_variables]

    def gradient() -> list[Any]:
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(spn.log_prob(x))
        return [g.numpy() for g in tape.gradient(mean, variables)]

    return {
        "log_prob": lambda: spn.log_prob(x).numpy(),
        "log_prob with a mask": lambda: spn.log_prob(x, observed=observed).numpy(),
        "gradient": gradient,
        "sample": lambda: spn.sample(NUM_ROWS, seed=1).numpy(),
        "condition().mean()": lambda: spn.condition(x, observed).mean().numpy(),
        "condition().sample()": lambda: (
            spn.condition(x, observed).sample(seed=1).numpy()
        ),
        "condition().mode()": lambda: spn.condition(x, observed).mode().numpy(),
    }


def in_function(spn: Any, x: Any, jit_compile: bool) -> dict[str, Callable[[], Any]]:
    """Queries within a function of the user's own."""
    import tensorflow as tf

    variables = [variable.value for variable in spn.circuit.trainable_variables]

    @tf.function(jit_compile=jit_compile, autograph=False)
    def log_prob(x: Any) -> Any:
        return spn.log_prob(x)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def gradient(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(spn.log_prob(x))
        return tape.gradient(mean, variables)

    x = tf.constant(x)
    return {
        "log_prob": lambda: log_prob(x).numpy(),
        "gradient": lambda: [g.numpy() for g in gradient(x)],
    }


def fit_fifty(recorder: Recorder, jit_compile: bool | None) -> None:
    """A search over structures: memory after each fit is what counts."""
    import numpy as np
    from first_use_scenarios import tree_of_16

    import tfp_spn

    x = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    options = {} if jit_compile is None else {"jit_compile": jit_compile}

    def fit_one(seed: int) -> None:
        tfp_spn.learning.fit(tree_of_16(seed), x, epochs=2, verbose=False, **options)

    for number in range(50):
        recorder.call(f"fit number {number + 1}", lambda number=number: fit_one(number))
