"""What `fit` tells about its end, callbacks, held-out parts and labels of any kind."""

from __future__ import annotations

import re
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import assert_same, circuit_of, data_of, values_of
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import OnlineExpectationMaximization, fit

X = data_of("bernoulli", 60)


def run(circuit: Any, x: Any = X, **kwargs: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(circuit, x, **{"verbose": False, **kwargs})
    rising = [str(w.message) for w in caught if "still rising" in str(w.message)]
    return history, rising


def test_the_end_of_a_fit_is_told() -> None:
    history, rising = run(circuit_of(num_components=4), epochs=3)
    assert not history.converged
    values = history.log_likelihood
    assert history.last_gain == values[-1] - values[-2] > 0.01
    (message,) = rising
    assert re.search("0.0.* of 3 epochs, .* 'epochs'. Continue with more", message)
    history, rising = run(circuit_of(), epochs=300, tolerance=1e-4)
    assert (history.converged, history.stopped_because) == (True, "tolerance")
    assert not rising
    history, rising = run(circuit_of(), epochs=1)  # nothing to compare with
    assert np.isnan(history.last_gain)
    assert not history.converged
    assert not rising
    history, rising = run(
        circuit_of(num_components=4), validation_data=X[:1], patience=1, tolerance=0.0
    )
    assert history.stopped_because in ("patience", "epochs")


def test_callbacks_see_the_optimizer() -> None:
    circuit, seen = circuit_of(), []

    class Watch(keras.callbacks.Callback):  # as TensorBoard does
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.optimizer)

    run(circuit, epochs=1, callbacks=Watch())
    assert seen == [None]
    assert not hasattr(circuit, "optimizer")
    compiled = circuit_of()
    compiled.compile("adam")
    run(compiled, epochs=1, callbacks=Watch())
    assert seen[1] is compiled.optimizer is not None  # of Keras' own `fit`
    before = circuit.get_weights()
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1)
    for callback in (plateau, keras.callbacks.LearningRateScheduler(lambda _: 0.1)):
        with pytest.raises(ValueError, match="changes the learning rate .*step_size="):
            run(circuit, callbacks=callback)
    for old, new in zip(before, circuit.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    optimizer = keras.optimizers.Adam(0.5)
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    ascent = {"method": "gradient", "optimizer": optimizer, "epochs": 2}
    run(circuit, callbacks=schedule, **ascent)
    np.testing.assert_allclose(optimizer.learning_rate, 0.05, rtol=1e-6)


def test_keras_callbacks_see_epochs_and_stop_them() -> None:
    seen: list[Any] = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen.append("begin")

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append(epoch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(dict(logs))
            self.model.stop_training = epoch == 2

        def on_train_end(self, logs: Any = None) -> None:
            seen.append("end")

    circuit = circuit_of()
    history, _ = run(circuit, epochs=9, callbacks=Watch(), validation_data=X[:9])
    assert (history.epochs, history.stopped_because) == (3, "callback")
    assert [what for what in seen if not isinstance(what, dict)] == [
        "begin",
        *range(3),
        "end",
    ]
    logs = [what for what in seen if isinstance(what, dict)]
    assert [log["log_likelihood"] for log in logs] == history.log_likelihood
    assert [-log["loss"] for log in logs] == history.log_likelihood
    assert [log["val_log_likelihood"] for log in logs] == (
        history.validation_log_likelihood
    )
    assert -logs[0]["val_loss"] == history.validation_log_likelihood[0]
    run(circuit, epochs=1, callbacks=[])  # stop_training is forgotten
    early = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=0.05)
    history, _ = run(circuit_of(), epochs=50, callbacks=[early])
    assert history.epochs < 50
    with pytest.raises(TypeError, match="received a function, expected .*Lambda"):
        run(circuit_of(), callbacks=lambda epoch: None)

    def fail(*_: Any) -> None:
        raise RuntimeError

    before = values_of(circuit)
    failing = keras.callbacks.LambdaCallback(on_epoch_end=fail)
    with pytest.raises(RuntimeError):
        run(circuit, callbacks=failing)
    assert_same(before, values_of(circuit))


def test_a_part_may_be_held_out() -> None:
    weights = np.linspace(0.1, 1, 60)
    split, apart = circuit_of(), circuit_of()
    have, _ = run(split, sample_weight=weights, validation_split=0.25, epochs=3)
    held_out = {"x": X[45:], "sample_weight": weights[45:]}
    want, _ = run(
        apart, X[:45], sample_weight=weights[:45], validation_data=held_out, epochs=3
    )
    assert have == want
    assert_same(values_of(split), values_of(apart))
    history, _ = run(circuit_of(), validation_split=0.1, patience=2, epochs=4)
    assert len(history.validation_log_likelihood) == history.epochs
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(9)
    for kwargs, message in (
        ({"validation_split": 1.0}, "below 1. Received validation_split=1.0"),
        ({"validation_split": "half"}, "must be a finite number"),
        ({"validation_split": 0.1, "validation_data": X}, "come twice"),
        ({"validation_split": 0.1, "x": X[:1]}, "cannot be split"),
        ({"validation_split": 0.1, "x": dataset}, "received validation_split beside"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            run(circuit_of(), **kwargs)


def test_labels_of_any_kind_are_numbered() -> None:
    numbers = np.arange(60) % 4 // 3
    want = circuit_of(num_classes=2)
    history, _ = run(want, labels=numbers, epochs=2)
    assert history.classes is None
    texts = np.array(["ham", "spam"])
    kinds = {
        "text": texts[numbers],
        "objects": texts[numbers].astype(object),
        "list": texts[numbers].tolist(),
        "0 and 2": numbers * 2,
        "-1 and 1": numbers * 2 - 1,
        "floats": numbers * 2.0,
        "bool": numbers > 0,
    }
    for name, labels in kinds.items():
        circuit = circuit_of(num_classes=2)
        validation = (X[:9], labels[:9])
        history, _ = run(circuit, labels=labels, epochs=2, validation_data=validation)
        assert_same(values_of(want), values_of(circuit))
        names = np.asarray(history.classes)
        assert names.tolist() == sorted(set(np.asarray(labels).tolist())), name
    found = names[SumProductNetwork(circuit).posterior_mode(X)]
    assert found.dtype == bool
    for labels, message in (
        (
            ["a", "b", "c"] * 20,
            r"received 3 \('a', 'b', 'c', ...\), expected at most 2",
        ),
        (numbers + 1.5, "received dtype float64"),
        (np.arange(60), "out of range, received 0 to 59"),
        (numbers + np.inf, "received dtype float64"),
        (np.ma.masked_equal(numbers * 2, 2), "labels.*mask"),
        ([[0], [0, 1]], "labels"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            run(circuit_of(num_classes=2), labels=labels)
    with pytest.raises(ValueError, match="received 'eggs', expected any of"):
        run(
            circuit_of(num_classes=2),
            labels=texts[numbers],
            validation_data=(X[:1], ["eggs"]),
        )


def test_fit_of_keras_says_what_to_write_in_place_of_targets() -> None:
    circuit = circuit_of()
    circuit.compile(OnlineExpectationMaximization())
    with pytest.raises(
        ValueError, match=r"Write circuit.fit\(x\), not circuit.fit\(x, x"
    ):
        circuit.fit(X, X, verbose=0)
    circuit.fit(X, verbose=0)
