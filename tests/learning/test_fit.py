"""`fit`: its methods, its stopping rules, its checkpoints, and its errors."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import (
    assert_same,
    circuit_of,
    data_of,
    values_of,
)
from tests.tracing import num_traces
from tfp_spn.circuits import clear_traces
from tfp_spn.distributions.sum_product_network import SumProductNetwork
from tfp_spn.learning import (
    Batches,
    Data,
    LogLikelihood,
    MinibatchExpectationMaximization,
    fit,
    memory,
)
from tfp_spn.ops.sum_rules import SumOpHardEMBackprop

METHODS = ("em", "online_em", "gradient")
SLOWER_METHODS = pytest.mark.parametrize(
    "method", ["em", pytest.param("online_em", marks=pytest.mark.slow), "gradient"]
)
X = data_of("bernoulli", 100)
X_VALID = data_of("bernoulli", 30, seed=1)
NORMAL = data_of("normal", 50)


def run(circuit: Any, x: Any = X, **kwargs: Any) -> Any:
    settings = {"verbose": False, "epochs": 4, "batch_size": 32, **kwargs}
    return fit(circuit, x, **settings)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_raises_the_likelihood(method) -> None:
    circuit = circuit_of()
    history = run(circuit, method=method, validation_data=X_VALID)
    values = history.log_likelihood
    assert values[0] < values[-1]
    assert history.epochs == 4
    assert history.stopped_because == "epochs"
    assert len(history.validation_log_likelihood) == 4
    mean = float(tf.reduce_mean(tf.reduce_logsumexp(circuit(X_VALID), -1)))
    np.testing.assert_allclose(history.validation_log_likelihood[-1], mean, rtol=1e-5)


def test_a_distribution_is_fitted_in_place() -> None:
    circuit = circuit_of()
    spn = SumProductNetwork(circuit)
    before = float(tf.reduce_sum(spn.log_prob(X)))
    run(spn)
    assert float(tf.reduce_sum(spn.log_prob(X))) > before


def test_labels_fit_the_classes() -> None:
    circuit = circuit_of(num_classes=2)
    labels = np.arange(100) % 4 // 3
    run(circuit, labels=labels, pseudocount=0.0, epochs=1)
    prior = tf.nn.softmax(circuit.live_params()["prior"])
    np.testing.assert_allclose(prior, [0.75, 0.25], rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_missing_values_may_be_nan(method) -> None:
    circuit = circuit_of("normal")
    x = NORMAL.copy()
    x[::3, 1] = np.nan
    history = run(circuit, x, method=method, observed=~np.isnan(x))
    assert np.all(np.isfinite(history.log_likelihood))
    assert all(np.all(np.isfinite(v)) for v in values_of(circuit).values())


def test_weights_are_copies() -> None:
    twice, weighted = circuit_of("normal"), circuit_of("normal")
    first = run(twice, np.concatenate([NORMAL, NORMAL[:20]]), initialize=False)
    weight = np.where(np.arange(50) < 20, 2.0, 1.0)
    second = run(weighted, NORMAL, sample_weight=weight, initialize=False)
    np.testing.assert_allclose(first.log_likelihood, second.log_likelihood, rtol=1e-5)


@pytest.mark.parametrize(
    "method", ["em", pytest.param("online_em", marks=pytest.mark.slow)]
)
def test_a_dataset_is_as_good_as_arrays(method) -> None:
    from_arrays, from_dataset = circuit_of(), circuit_of()
    order = np.arange(100)
    if method == "online_em":  # arrays are shuffled
        order = np.random.default_rng([0, 0]).permutation(100)
    dataset = tf.data.Dataset.from_tensor_slices({"x": X[order]}).batch(32)
    run(from_arrays, method=method, epochs=1, initialize=False)
    history = run(from_dataset, dataset, method=method, epochs=1, initialize=False)
    assert_same(values_of(from_arrays), values_of(from_dataset))
    assert history.epochs == 1


def test_keras_like_datasets_carry_labels_and_weights() -> None:
    arrays, dataset = circuit_of(num_classes=2), circuit_of(num_classes=2)
    labels, weight = np.arange(100) % 2, np.linspace(0, 1, 100)
    run(arrays, labels=labels, sample_weight=weight, initialize=False)
    batches = tf.data.Dataset.from_tensor_slices((X, labels, weight)).batch(32)
    run(dataset, batches, initialize=False)
    assert_same(values_of(arrays), values_of(dataset))


def test_hard_em() -> None:
    circuit = circuit_of(sum_op=SumOpHardEMBackprop())
    values = run(circuit, epochs=6).log_likelihood
    assert values[-1] > values[0]


def test_early_stopping_restores_the_best() -> None:
    circuit = circuit_of(num_components=4)
    x, x_valid = X[:6], X_VALID
    history = run(
        circuit, x, epochs=60, validation_data=x_valid, patience=3, pseudocount=0.0
    )
    values = history.validation_log_likelihood
    assert history.stopped_because == "patience"
    assert history.epochs == history.best_epoch + 4
    batches = Batches(circuit.program, Data(x_valid), 32)
    assert LogLikelihood(circuit)(batches()) == max(values)


def test_tolerance_stops() -> None:
    history = run(circuit_of(), epochs=200, tolerance=1e-3)
    assert history.stopped_because == "tolerance"
    assert history.epochs < 200


@pytest.mark.compiled
def test_one_trace_for_all_batches() -> None:
    clear_traces()
    circuit = circuit_of()
    em = MinibatchExpectationMaximization(circuit, lambda n: (n + 2.0) ** -0.6)
    batches = Batches(circuit.program, Data(X), 32)
    for epoch in range(2):
        em.epoch(batches([0, epoch]))
    assert num_traces(circuit) == 1
    assert int(em.steps) == 8


def test_zero_epochs_change_nothing() -> None:
    circuit = circuit_of()
    before = values_of(circuit)
    assert run(circuit, epochs=0).log_likelihood == []
    assert_same(before, values_of(circuit))


@SLOWER_METHODS
def test_a_resumed_fit_equals_an_uninterrupted_one(method, tmp_path) -> None:
    settings = {"method": method, "validation_data": X_VALID, "seed": 3}
    whole, parts = circuit_of(), circuit_of()
    want = run(whole, **settings, epochs=5)
    path = tmp_path / "folder" / "fit.npz"
    run(parts, **settings, epochs=2, checkpoint=path)
    fresh = circuit_of()
    run(fresh, epochs=1)  # forgotten: the checkpoint says where to go on
    have = run(fresh, **settings, epochs=5, checkpoint=path)
    assert have == want
    assert_same(values_of(whole), values_of(fresh))
    assert [p.name for p in path.parent.iterdir()] == ["fit.npz"]
    again = run(circuit_of(), **settings, epochs=5, checkpoint=path)
    assert again == want


def test_a_foreign_checkpoint_is_refused(tmp_path) -> None:
    path = tmp_path / "fit.npz"
    run(circuit_of(), epochs=1, checkpoint=path)
    other = circuit_of("normal")
    before = values_of(other)
    with pytest.raises(ValueError, match="another fit, received .* expected .* Call"):
        run(other, NORMAL, checkpoint=path)
    with pytest.raises(ValueError, match="'seed': 0.* expected .*'seed': 1"):
        run(circuit_of(), checkpoint=path, seed=1)
    with pytest.raises(ValueError, match="another fit, received {'structure'"):
        run(circuit_of(seed=1), checkpoint=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="cannot be read, received .* Delete it"):
        run(other, NORMAL, checkpoint=path)
    assert_same(before, values_of(other))


@SLOWER_METHODS
def test_an_interruption_leaves_the_last_complete_epoch(method, monkeypatch) -> None:
    want = circuit_of()
    run(want, method=method, epochs=2)
    circuit = circuit_of()
    calls = []
    padded = Batches._padded

    def interrupt(self: Any, chunk: Any) -> Any:
        calls.append(chunk)
        if len(calls) == 10:  # in the third epoch of four batches
            raise KeyboardInterrupt
        return padded(self, chunk)

    monkeypatch.setattr(Batches, "_padded", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(circuit, method=method)
    assert_same(values_of(want), values_of(circuit))


@SLOWER_METHODS
def test_a_bad_batch_of_a_dataset_leaves_everything_unchanged(method) -> None:
    circuit = circuit_of()
    x = X.copy()
    x[70, 2] = 5
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(32)
    optimizer = keras.optimizers.Adam(0.1) if method == "gradient" else None
    before = values_of(circuit)
    with pytest.raises(ValueError, match="received 5 at row 70, column 2"):
        run(circuit, dataset, method=method, optimizer=optimizer)
    assert_same(before, values_of(circuit))
    if optimizer is not None:
        assert int(optimizer.iterations) == 0


NAN = np.where(np.arange(4) == 2, np.nan, NORMAL)
MASK = np.ones(X.shape, bool)
ERRORS = {
    "shape": ({"x": X[:, :3]}, r"received shape \(100, 3\), expected \[examples, 4\]"),
    "rank": ({"x": X[0]}, r"received shape \(4,\).* Reshape x"),
    "empty": ({"x": X[:0]}, "x is empty, received shape .* expected at least one"),
    "dtype": ({"x": X.astype(str)}, "received dtype <U.*expected floats"),
    "support": ({"x": X + 1}, "received 2 at row .*expected a value of the leaf's"),
    "fraction": ({"x": X * 0.5}, "received 0.5 at row .*Correct or recode it"),
    "infinite": (
        {"x": NORMAL * np.inf, "family": "normal"},
        "received .*inf at row 0, col",
    ),
    "nan": ({"x": NAN, "family": "normal"}, r"row 0, column 2 \(50.*observed=~np.isn"),
    "nan_observed": (
        {"x": NAN, "family": "normal", "observed": MASK[:50]},
        "received NaN at row 0, column 2 .*observed &= ~np.isnan",
    ),
    "mask_dtype": ({"observed": MASK * 1}, "received dtype int64, expected bool"),
    "mask_shape": ({"observed": MASK[:9]}, r"shape \(9, 4\), expected \[100, 4\]"),
    "labels_dtype": ({"labels": X[:, 0] / 2}, "dtype float64, expected classes"),
    "labels_shape": ({"labels": np.arange(9)}, r"shape \(9,\), expected \[100\]"),
    "labels_range": ({"labels": np.full(100, 1)}, "received 1 to 1, expected 0 to 0"),
    "weight_shape": ({"sample_weight": np.ones(9)}, r"received shape \(9,\)"),
    "weight_negative": ({"sample_weight": -np.ones(100)}, "received values from -1.0"),
    "weight_zero": ({"sample_weight": np.zeros(100)}, "not all zero, received"),
    "method": ({"method": "sgd"}, "received method='sgd', expected 'em'.*Choose one"),
    "epochs": ({"epochs": -1}, "at least 0. Received epochs=-1"),
    "batch_size": ({"batch_size": 0}, "at least 1. Received batch_size=0"),
    "pseudocount": ({"pseudocount": -1.0}, "of at least 0. Received pseudocount=-1.0"),
    "tolerance": ({"tolerance": -1.0}, "of at least 0. Received tolerance=-1.0"),
    "patience": ({"patience": 3}, "received patience=3, expected validation_data"),
    "step_size": ({"step_size": 2.0}, "of at most 1. Received step_size=2.0"),
    "step_size_em": (
        {"step_size": abs},
        "received a function step_size=.* with method='em', expected a number above "
        "0 .* use method='online_em'",
    ),
    "step_of_gradient": (
        {"method": "gradient", "step_size": 0.1},
        "received step_size=0.1, expected none. Pass optimizer=",
    ),
    "optimizer": ({"optimizer": "adam"}, "received method='em' and optimizer='adam'"),
    "validation": ({"validation_data": X[:, :3]}, r"received shape \(100, 3\)"),
    "validation_keys": (
        {"validation_data": {"x": X, "mask": MASK}},
        r"keys \['mask', 'x'\], expected 'x' and any of .* Rename",
    ),
    "inputs": ({"validation_data": ((X, X, X),)}, "received 3 inputs, expected x or"),
    "dataset": (
        {"x": tf.data.Dataset.from_tensor_slices(X).batch(9), "observed": MASK},
        "received observed beside it, expected none. Let its elements",
    ),
    "empty_dataset": (
        {"x": tf.data.Dataset.from_tensor_slices(X).batch(9).take(0)},
        "without any batch, expected at least one. Check",
    ),
    "rule": (
        {"method": "gradient", "rule": SumOpHardEMBackprop()},
        "received SumOpHardEMBackprop.*expected SumOpGradBackprop. Build",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_leave_everything_unchanged(name) -> None:
    kwargs, message = ERRORS[name]
    kwargs = {"x": X, **kwargs}
    circuit = circuit_of(
        kwargs.pop("family", "bernoulli"), sum_op=kwargs.pop("rule", None)
    )
    before = values_of(circuit)
    with (
        np.errstate(all="ignore"),
        pytest.raises((TypeError, ValueError)) as error,
    ):
        run(circuit, **kwargs)
    assert re.search(message, str(error.value)), str(error.value)
    assert_same(before, values_of(circuit))


def test_a_batch_that_does_not_fit_says_what_it_needs(monkeypatch) -> None:
    monkeypatch.setattr(memory, "memory_of_machine", lambda: 8_000)
    circuit = circuit_of()
    message = r"100 examples, whose units need \S+ MiB each and \S+ GiB in all; ex"
    with pytest.raises(ValueError, match=message) as error:
        fit(circuit, X, batch_size=100, verbose=False)
    size = int(re.search(r"at most (\d+)", str(error.value)).group(1))
    assert 1 <= size < 100
    fit(circuit, X, batch_size=size, epochs=1, verbose=False)


def test_what_cannot_be_fitted() -> None:
    circuit = circuit_of()
    with pytest.raises(TypeError, match="type Dense; expected a circuit, .* Build"):
        run(keras.layers.Dense(2))
    tensors = {k: tf.identity(v) for k, v in circuit.live_params().items()}
    with pytest.raises(ValueError, match="parameters of its own, .* Fit the circuit"):
        run(SumProductNetwork(circuit, tensors))
    with pytest.raises(ValueError, match=r"marginal, received variables \(0, 2\)"):
        run(SumProductNetwork(circuit).marginal([0, 2]))
