"""Keras' own `fit` and `load_weights` leave nothing that is NaN or infinite."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import circuit_of, data_of
from tfp_spn import layers, models, region_graphs
from tfp_spn.losses import NegativeLogLikelihood
from tfp_spn.optimizers import OnlineExpectationMaximization

X = data_of("normal", 32)
ZEROS = np.zeros(32, int)


class Turning(keras.optimizers.schedules.LearningRateSchedule):
    """NaN from the third step on."""

    def __call__(self, step: Any) -> Any:
        return tf.where(tf.cast(step, tf.int32) < 2, 0.01, np.nan)

    def get_config(self) -> dict[str, Any]:
        return {}


KERAS = ("Adam", "AdamW", "Adamax", "Nadam", "SGD", "RMSprop", "Adagrad", "Adadelta")
KERAS += ("Adafactor", "Ftrl", "Lion")
OPTIMIZERS = {
    "em": OnlineExpectationMaximization,
    "em of two batches": functools.partial(
        OnlineExpectationMaximization, accumulate_batches=2
    ),
    **{name: getattr(keras.optimizers, name) for name in KERAS},
}
FAST = {"em", "em of two batches", "Adam"}


def small_circuit() -> Any:
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=1)
    return circuit_of("normal", graph=graph)


def compiled(optimizer: Any, model: Any = None, **arguments: Any) -> Any:
    model = small_circuit() if model is None else model
    model.compile(optimizer, NegativeLogLikelihood(), **arguments)
    return model


def state_of(model: Any) -> list[np.ndarray]:
    return [v.numpy() for v in (*model.weights, *model.optimizer.variables)]


def assert_equal(have: list[np.ndarray], want: list[np.ndarray]) -> None:
    for value, wanted in zip(have, want, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS],
)
def test_a_step_that_is_not_finite_is_taken_back(name) -> None:
    circuit = compiled(OPTIMIZERS[name](Turning()), run_eagerly=name != "em")
    circuit.fit(X, batch_size=32, epochs=2, verbose=0)  # a step each
    before = state_of(circuit)
    with pytest.raises(ValueError, match="a step of epoch .* was nan. .* from before"):
        circuit.fit(X, batch_size=16, epochs=2, verbose=0)
    assert_equal(state_of(circuit), before)
    if name == "em of two batches":
        for variable in circuit.optimizer.collected(circuit):
            assert np.all(variable.numpy() == 0)


REFUSED = {
    "rate": ({"learning_rate": np.nan}, X, None, "begin, received nan in '.*_rate'"),
    "huge rate": ({"learning_rate": 1e38}, X, None, "the learning rate was 9.99.*e.37"),
    "value": (
        {},
        np.where(np.arange(128).reshape(32, 4) == 9, 1e18, X),
        None,
        "in 'leaf_.*: NormalLeaf of variable .* is 1e.18 at row 2, column 1, of Normal",
    ),
    "weight of NaN": ({}, X, np.full(32, np.nan), "sample_weight=nan .32 such"),
    "weights beyond float32": ({}, X, np.full(32, 1e300), "received nan in"),
}


def test_what_refused_fits_say() -> None:
    for arguments, x, weights, message in REFUSED.values():
        circuit = compiled(keras.optimizers.AdamW(**arguments), run_eagerly=True)
        circuit.optimizer.build(circuit.trainable_variables)
        before = state_of(circuit)
        with pytest.raises(ValueError, match=message):
            circuit.fit(x, ZEROS, 8, 2, 0, sample_weight=weights)
        assert_equal(state_of(circuit), before)
    circuit = compiled(OnlineExpectationMaximization(), run_eagerly=True)
    rows = tf.data.Dataset.from_tensors((X, ZEROS, np.full(32, np.nan)))
    with pytest.raises(ValueError, match="received a loss of nan"):
        circuit.fit(rows, verbose=0)


def test_models_of_layers_are_guarded_too() -> None:
    model = models.SequentialSumProductNetwork(
        [
            keras.Input((4,)),
            layers.FlatToRegions(num_decomps=1),
            layers.NormalLeaf(2),
            layers.DenseProduct(4),
            layers.RootSum(return_weighted_child_logits=False),
        ]
    )
    compiled("adam", model, run_eagerly=True)
    before = [variable.numpy() for variable in model.weights]
    with pytest.raises(ValueError, match="received nan in '.*/location'"):
        model.fit(X, ZEROS, sample_weight=np.full(32, 1e300), verbose=0)
    assert_equal([variable.numpy() for variable in model.weights], before)


class Recorder(keras.callbacks.Callback):
    """Counts epochs, and raises at the end of a batch if told to."""

    def __init__(self, error: Any = None, breaks: bool = False) -> None:
        super().__init__()
        self.epochs, self.error, self.breaks = 0, error, breaks

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.breaks:
            self.model.weights[0].assign(self.model.weights[0] * np.nan)
        if self.error is not None:
            raise self.error

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1


def test_callbacks_see_no_broken_epoch() -> None:
    circuit = compiled(keras.optimizers.SGD(Turning()), run_eagerly=True)
    recorder = Recorder()
    with pytest.raises(ValueError, match="a step of epoch 2"):
        circuit.fit(X, batch_size=16, epochs=3, verbose=0, callbacks=[recorder])
    assert recorder.epochs == 1
    given = keras.callbacks.CallbackList([recorder], model=circuit)
    kept = list(given.callbacks)
    with pytest.raises(ValueError, match="a step of epoch 2"):
        circuit.fit(X, batch_size=16, epochs=3, verbose=0, callbacks=given)
    assert given.callbacks == kept
    assert recorder.epochs == 2


@pytest.mark.parametrize("error", [RuntimeError("gone"), KeyboardInterrupt()])
def test_other_errors_leave_the_last_step_unless_it_was_broken(error) -> None:
    circuit = compiled(keras.optimizers.SGD(0.1), run_eagerly=True)
    before = state_of(circuit)
    with pytest.raises(type(error)) as raised:
        circuit.fit(X, verbose=0, callbacks=Recorder(error, breaks=True))
    assert any("before the call of fit" in note for note in raised.value.__notes__)
    assert_equal(
        state_of(circuit)[: len(circuit.weights)], before[: len(circuit.weights)]
    )
    with pytest.raises(type(error)):
        circuit.fit(X, verbose=0, callbacks=Recorder(error))
    assert not np.array_equal(circuit.weights[0], before[0])
    assert circuit.optimizer.iterations == 1


def test_weights_of_a_failed_model_are_not_loaded(tmp_path) -> None:
    path = str(tmp_path / "failed.weights.h5")
    failed, circuit = small_circuit(), small_circuit()
    failed.weights[-1].assign(failed.weights[-1] * np.nan)
    failed.save_weights(path)
    before = [variable.numpy() for variable in circuit.weights]
    with pytest.raises(
        ValueError, match="FoldedSum .* not finite, received nan in .* Lo"
    ):
        circuit.load_weights(path)
    assert_equal([variable.numpy() for variable in circuit.weights], before)


def test_weights_of_another_model_change_nothing(tmp_path) -> None:
    path = str(tmp_path / "other.weights.h5")
    circuit_of("normal", num_components=3).save_weights(path)
    circuit = small_circuit()
    before = [variable.numpy() for variable in circuit.weights]
    with pytest.raises(ValueError, match="could not be loaded"):
        circuit.load_weights(path)
    assert_equal([variable.numpy() for variable in circuit.weights], before)
