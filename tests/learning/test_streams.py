"""Streams larger than memory: nothing grows with them, nothing is compiled anew."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import assert_same, circuit_of, data_of, values_of
from tests.processes import output_of
from tfp_spn import initializers, losses
from tfp_spn.circuits import clear_traces
from tfp_spn.learning import (
    Batch,
    Batches,
    ExpectationMaximization,
    GradientAscent,
    LogLikelihood,
    MinibatchExpectationMaximization,
    OnlineExpectationMaximization,
    fit,
    initialize_leaves,
)

PROGRAM = Path(__file__).with_name("stream_memory.py")
X = data_of("bernoulli", 100)


def ragged(*sizes: int) -> Any:
    """A dataset of batches of these sizes, another order in each epoch."""
    epochs = []

    def rows() -> Any:
        order = sizes[::-1] if len(epochs) % 2 else sizes
        epochs.append(order)
        row = 0
        for size in order:
            yield X[row : row + size]
            row += size

    spec = tf.TensorSpec([None, 4], tf.int64)
    return tf.data.Dataset.from_generator(rows, output_signature=spec)


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["em", "online_em", "gradient", "evaluation"])
def test_ragged_batches_are_compiled_once(name, monkeypatch) -> None:
    circuit = circuit_of()
    epoch = {
        "em": lambda: ExpectationMaximization(circuit).epoch,
        "online_em": lambda: MinibatchExpectationMaximization(circuit).epoch,
        "gradient": lambda: GradientAscent(circuit).epoch,
        "evaluation": lambda: LogLikelihood(circuit),
    }[name]()
    traces = []
    evidence = Batch.evidence

    def counted(self: Any, program: Any) -> Any:
        traces.append(self.x.shape)
        return evidence(self, program)

    monkeypatch.setattr(Batch, "evidence", counted)
    clear_traces()
    batches = Batches(circuit.program, ragged(30, 7, 41, 22), 0)
    for _ in range(3):
        epoch(batches())
    assert traces == [(30, 4)]


def test_keras_online_em_is_compiled_once_per_shape(monkeypatch) -> None:
    circuit = circuit_of()
    traces = []
    train_circuit = OnlineExpectationMaximization.train_circuit

    def counted(self: Any, *arguments: Any) -> Any:
        traces.append(None)
        return train_circuit(self, *arguments)

    monkeypatch.setattr(OnlineExpectationMaximization, "train_circuit", counted)
    circuit.compile(OnlineExpectationMaximization(0.3))
    circuit.fit(X, batch_size=32, epochs=1, verbose=0)  # the last batch is smaller
    first = len(traces)
    assert first <= 2
    circuit.fit(X, batch_size=32, epochs=3, verbose=0)
    assert len(traces) == first


def test_ragged_batches_count_all_examples() -> None:
    one, many = circuit_of(), circuit_of()
    history = fit(one, X, epochs=2, batch_size=100, initialize=False, verbose=False)
    other = fit(many, ragged(30, 7, 41, 22), epochs=2, initialize=False, verbose=False)
    np.testing.assert_allclose(other.log_likelihood, history.log_likelihood, rtol=1e-6)
    for name, value in values_of(one).items():
        np.testing.assert_allclose(values_of(many)[name], value, atol=1e-5)


def test_batches_of_weight_zero_and_of_no_rows() -> None:
    one, many = circuit_of(), circuit_of()
    weight = np.where((np.arange(100) >= 30) & (np.arange(100) < 60), 0.0, 1.0)
    same = {"epochs": 1, "initialize": False, "verbose": False}
    fit(one, X, sample_weight=weight, batch_size=100, **same)

    def batches():
        for start, stop in ((0, 30), (30, 30), (30, 60), (60, 100)):
            part = slice(start, stop)
            yield {"x": X[part], "sample_weight": weight[part]}

    kinds = {"x": X.dtype, "sample_weight": weight.dtype}
    signature = {
        name: tf.TensorSpec([None, *shape], kinds[name])
        for name, shape in (("x", X.shape[1:]), ("sample_weight", ()))
    }
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    fit(many, dataset, **same)
    for name, value in values_of(one).items():
        np.testing.assert_allclose(values_of(many)[name], value, atol=1e-5)


@pytest.mark.parametrize("method", ["em", "online_em", "gradient"])
def test_weights_that_are_all_zero(method) -> None:
    x = np.zeros([4, 4], "float32")
    data = tf.data.Dataset.from_tensors((x, None, np.zeros([4], "float32")))
    with pytest.raises(ValueError, match="no example counts, expected sample_weight"):
        fit(circuit_of(), data, method=method, epochs=1, verbose=False)


def test_evaluation_needs_a_batch() -> None:
    circuit = circuit_of()
    before = values_of(circuit)
    with pytest.raises(ValueError, match="received no batches, expected at least one"):
        LogLikelihood(circuit)(iter([]))
    assert_same(before, values_of(circuit))


def growth(method: str, num_batches: int) -> tuple[int, int]:
    """Of a process that no test has run in; it counts from the end of a warm-up."""
    grown, read = map(int, output_of(PROGRAM, method, num_batches).split()[-2:])
    return grown, read


in_linux = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads /proc"
)


@in_linux
def test_memory_does_not_grow_with_a_stream() -> None:
    grown, read = growth("em", 120)
    assert read > 3_900_000
    assert grown < 0.4 * read


@in_linux
@pytest.mark.slow
@pytest.mark.parametrize("method", ["em", "online_em", "gradient", "evaluation"])
def test_memory_does_not_grow_with_a_long_stream(method) -> None:
    grown, read = growth(method, 2_000)
    assert read > 65_000_000
    assert grown < 4_000_000


def test_endless_datasets_need_a_number_of_steps() -> None:
    rows = tf.data.Dataset.from_tensor_slices(X).batch(25)
    spec = tf.TensorSpec([25, 4], tf.int64)
    unknown = tf.data.Dataset.from_generator(
        lambda: itertools.repeat(X[:25]), output_signature=spec
    )
    for endless in (rows.repeat(), rows.repeat().shuffle(4), unknown):
        circuit = circuit_of()
        if endless.cardinality() == tf.data.INFINITE_CARDINALITY:
            with pytest.raises(ValueError, match="never ends, .* steps_per_epoch=100"):
                fit(circuit, endless, verbose=False)
            with pytest.raises(ValueError, match=r"never ends, .*take\(100\)"):
                fit(circuit, X, validation_data=endless, verbose=False)
            with pytest.raises(ValueError, match="never ends"):
                Batches(circuit.program, endless, 25)
        history = fit(circuit, endless, steps_per_epoch=3, epochs=2, verbose=False)
        assert history.epochs == 2
    endless = rows.map(lambda x: tf.cast(x, tf.float32)).repeat()
    circuit = circuit_of()
    circuit.compile("sgd", losses.NegativeLogLikelihood())
    for call, steps in (
        (lambda: circuit.fit(endless, verbose=0), "steps_per_epoch"),
        (lambda: circuit.evaluate(endless, verbose=0), "steps"),
        (lambda: circuit.predict(endless, verbose=0), "steps"),
        (
            lambda: circuit.fit(X, validation_data=endless, verbose=0),
            "validation_steps",
        ),
    ):
        with pytest.raises(ValueError, match=f"never ends, without {steps}, .*=100"):
            call()
    with pytest.raises(ValueError, match="data that never end"):
        initializers.KMeans(endless)((4, 2, 1))
    with pytest.raises(TypeError, match=r"received a dataset.* np.concatenate"):
        initialize_leaves(circuit, endless)
    assert len(circuit.predict(endless, steps=2, verbose=0)) == 50
    for steps, what in ((0, "` must be at least 1"), (2, " is for datasets")):
        data = X if steps else rows
        with pytest.raises(ValueError, match=f"steps_per_epoch{what}"):
            fit(circuit_of(), data, steps_per_epoch=steps, verbose=False)


def test_the_next_epoch_goes_on_where_the_last_one_ended() -> None:
    program = circuit_of().program
    for repeated in (1, None):  # one that ends begins anew
        rows = tf.data.Dataset.from_tensor_slices(X).batch(20).repeat(repeated)
        batches = Batches(program, rows, 20, steps=3)
        seen = np.concatenate([b.x for _ in range(3) for b in batches()])
        np.testing.assert_array_equal(seen, np.concatenate([X, X[:80]]))
        again = np.concatenate([data.x for data in batches.in_order()])
        np.testing.assert_array_equal(again, X[:60])
