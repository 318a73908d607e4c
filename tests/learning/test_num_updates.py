"""Fits that are counted in updates, and step sizes by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import (
    assert_same,
    circuit_of,
    data_of,
    run,
    values_of,
)
from tfp_spn.learning import Batches, Data, LogLikelihood
from tfp_spn.learning.rounds import default_batch_size, rounds_of_fit

pytestmark = pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still")

X = data_of("bernoulli", 100)
X_VALID = data_of("bernoulli", 30, seed=1)


def test_updates_are_those_of_epochs() -> None:
    """Two epochs of four batches, whatever the rounds they are told in."""
    by_epoch, by_update, from_dataset = circuit_of(), circuit_of(), circuit_of()
    settings = {"method": "online_em", "step_size": 0.1}
    history = run(by_epoch, epochs=2, **settings)
    assert (history.epochs, history.num_updates) == (2, 8)
    history = run(by_update, num_updates=8, **settings)
    assert (history.epochs, history.num_updates) == (8, 8)
    assert history.stopped_because == "num_updates"
    assert_same(values_of(by_epoch), values_of(by_update))
    order = [np.random.default_rng([0, epoch]).permutation(100) for epoch in range(2)]
    shuffled = X[np.concatenate(order)]
    first, second = (
        tf.data.Dataset.from_tensor_slices(shuffled[start : start + 100]).batch(32)
        for start in (0, 100)
    )
    dataset = first.concatenate(second)
    run(from_dataset, dataset.repeat(), num_updates=8, **settings)
    assert_same(values_of(by_epoch), values_of(from_dataset))


def test_an_update_of_full_batch_em_is_an_epoch() -> None:
    by_epoch, by_update = circuit_of(), circuit_of()
    assert run(by_epoch, epochs=3).num_updates == 3
    history = run(by_update, num_updates=3)
    assert (history.epochs, history.num_updates) == (3, 3)
    assert_same(values_of(by_epoch), values_of(by_update))


def test_an_interrupted_fit_in_updates_goes_on(tmp_path: Any, monkeypatch: Any) -> None:
    settings = {
        "method": "online_em",
        "num_updates": 10,
        "validation_data": X_VALID,
    }
    whole, parts = circuit_of(), circuit_of()
    want = run(whole, **settings)
    path = tmp_path / "fit.npz"
    calls = []
    padded = Batches._padded

    def interrupt(self: Any, chunk: Any) -> Any:
        calls.append(chunk)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return padded(self, chunk)

    monkeypatch.setattr(Batches, "_padded", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(parts, **settings, checkpoint=path)
    monkeypatch.undo()
    fresh = circuit_of()
    assert run(fresh, **settings, checkpoint=path) == want
    assert_same(values_of(whole), values_of(fresh))
    with pytest.raises(ValueError, match="another fit, received {'round': "):
        run(fresh, **{**settings, "num_updates": 1000}, checkpoint=path)


def test_patience_is_in_updates_and_the_best_is_kept() -> None:
    circuit = circuit_of(num_components=4)
    settings = {"validation_data": X_VALID, "method": "online_em", "step_size": 0.5}
    x = X[:6]
    history = run(circuit, x, num_updates=300, patience=40, pseudocount=0.0, **settings)
    assert history.stopped_because == "patience"
    length = history.num_updates // history.epochs
    assert length == 30 * 2 // 6  # validation costs five times a batch
    assert (history.epochs - 1 - history.best_epoch) * length == 40
    batches = Batches(circuit.program, Data(X_VALID), 32)
    best = max(history.validation_log_likelihood)
    assert LogLikelihood(circuit)(batches()) == pytest.approx(best, rel=1e-6)
    assert history.validation_log_likelihood[-1] < best
    # Without patience, too.
    history = run(circuit, x, num_updates=50, pseudocount=0.0, **settings)
    best = max(history.validation_log_likelihood)
    assert history.stopped_because == "num_updates"
    assert LogLikelihood(circuit)(batches()) == pytest.approx(best, rel=1e-6)


def test_an_interruption_leaves_the_best_parameters() -> None:
    circuit, values = circuit_of(num_components=4), []

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            values.append(logs["val_log_likelihood"])
            if epoch - int(np.argmax(values)) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(
            circuit,
            X[:6],
            method="online_em",
            num_updates=500,
            step_size=0.5,
            pseudocount=0.0,
            validation_data=X_VALID,
            callbacks=Interrupt(),
        )
    batches = Batches(circuit.program, Data(X_VALID), 32)
    assert LogLikelihood(circuit)(batches()) == pytest.approx(max(values), rel=1e-6)
    assert values[-1] < max(values)


def test_step_sizes_by_name_are_schedules_to_zero() -> None:
    schedules = keras.optimizers.schedules
    for name, schedule in (
        ("linear", schedules.PolynomialDecay(0.5, 6, 0.0)),
        ("cosine", schedules.CosineDecay(0.5, 6)),
        ("constant", 0.1),
        (None, schedules.CosineDecay(0.5, 6)),
    ):
        named, given = circuit_of(), circuit_of()
        settings = {"method": "online_em", "num_updates": 6}
        run(named, step_size=name, **settings)
        run(given, step_size=schedule, **settings)
        assert_same(values_of(named), values_of(given))
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(32)
    with pytest.raises(ValueError, match="needs an end, received .*'linear' with a da"):
        run(circuit_of(), dataset, method="online_em", epochs=1, step_size="linear")


def test_defaults_follow_the_size_of_the_data() -> None:
    sizes = {n: default_batch_size(np.zeros([n, 1]), False) for n in (9, 3000, 10**6)}
    assert sizes == {9: 64, 3000: 128, 10**6: 512}
    assert default_batch_size(np.zeros([9, 1]), True) == 512
    for per_epoch, epochs in ((1, 1000), (16, 63), (50, 50), (500, 10), (6000, 1)):
        rounds = rounds_of_fit(None, None, per_epoch, False)
        assert (rounds.count, rounds.num_updates) == (epochs, epochs * per_epoch)
    assert rounds_of_fit(None, None, 6000, True).count == 50
    assert rounds_of_fit(None, 0, 10, False).count == 0
    rounds = rounds_of_fit(None, 1001, 500, False, relative_cost=40.0)
    assert (rounds.length, rounds.count) == (80, 13)
    assert (rounds.updates_after(12), rounds.updates_after(13)) == (960, 1001)


def test_errors() -> None:
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(32)
    for kwargs, message in (
        ({"epochs": 1, "num_updates": 1}, "comes twice, received epochs=1 and num_up"),
        ({"num_updates": 1.5}, "`num_updates` must be an integer. Received 1.5"),
        (
            {"step_size": "fast", "method": "online_em"},
            "received step_size='fast', expected a number, .* 'cosine'. Choose",
        ),
        ({"step_size": "cosine"}, "must be a finite number .* step_size='cosine'"),
        (
            {
                "x": dataset,
                "steps_per_epoch": 2,
                "num_updates": 9,
                "method": "gradient",
            },
            "has no epochs, received steps_per_epoch=2 with num_updates=9",
        ),
    ):
        circuit = circuit_of()
        before = values_of(circuit)
        with pytest.raises((TypeError, ValueError), match=message):
            run(circuit, **kwargs)
        assert_same(before, values_of(circuit))
