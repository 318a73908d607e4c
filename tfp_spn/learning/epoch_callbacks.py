"""Keras callbacks in `tfp_spn.learning.fit`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from tfp_spn.circuits.circuit import Circuit

_OF_LEARNING_RATES = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


class EpochCallbacks:
    """Calls Keras callbacks at the beginning and the end of training and of epochs.

    Logs are Keras' names, ``loss`` and ``val_loss`` (means of the negative
    log-likelihood), and ``log_likelihood`` and ``val_log_likelihood``. Hooks of batches
    are not called. A callback ends the fit by ``model.stop_training = True``.

    Args:
        callbacks: A Keras callback or a list of them, or `None`.
        circuit: Their model.
        epochs: Greatest number of epochs.

    Raises:
        TypeError: Something is not a Keras callback.
    """

    def __init__(self, callbacks: object, circuit: Circuit, epochs: int) -> None:
        found = keras.tree.flatten([] if callbacks is None else callbacks)
        for callback in found:
            if not isinstance(callback, keras.callbacks.Callback):
                raise TypeError(
                    "fit: callbacks are those of Keras, received a "
                    f"{type(callback).__name__}, expected keras.callbacks.Callback. "
                    "Wrap a function: keras.callbacks.LambdaCallback(on_epoch_end=f)."
                )
        self._circuit, self._found = circuit, found
        self._all: Any = None
        if found:
            self._all = keras.callbacks.CallbackList(
                found, model=circuit, epochs=epochs, verbose=0
            )

    @contextlib.contextmanager
    def with_optimizer(self, optimizer: Any) -> Iterator[None]:
        """Lets callbacks see the optimizer of a fit as that of the model.

        Args:
            optimizer: A Keras optimizer, or `None` of EM.

        Raises:
            ValueError: A callback would change the learning rate of none.
        """
        for callback in self._found:
            if optimizer is None and isinstance(callback, _OF_LEARNING_RATES):
                raise ValueError(
                    f"fit: a {type(callback).__name__} changes the learning rate of an "
                    "optimizer, received a method of EM, which has none, expected "
                    'method="gradient". Leave the callback out; method="online_em" '
                    'takes step_size="cosine", or a schedule of Keras.'
                )
        attributes = self._circuit.__dict__  # Keras would track what it is assigned
        had_one, before = "optimizer" in attributes, attributes.get("optimizer")
        if optimizer is None:  # that of Keras' own `fit` is still the model's
            optimizer = before
        attributes["optimizer"] = optimizer
        try:
            yield
        finally:
            attributes["optimizer"] = before
            if not had_one:
                del attributes["optimizer"]

    @property
    def have_stopped(self) -> bool:
        """Whether a callback wants to stop."""
        return self._all is not None and bool(self._circuit.stop_training)

    def begin(self) -> None:
        """Before the first epoch."""
        if self._all is not None:
            self._circuit.stop_training = False
            self._all.on_train_begin()

    def begin_epoch(self, epoch: int) -> None:
        """Before an epoch, counted from 0."""
        if self._all is not None:
            self._all.on_epoch_begin(epoch)

    def end_epoch(
        self, epoch: int, log_likelihood: float, validation: float | None
    ) -> None:
        """After an epoch, with its results."""
        if self._all is None:
            return
        logs = {"loss": -log_likelihood, "log_likelihood": log_likelihood}
        if validation is not None:
            logs.update(val_loss=-validation, val_log_likelihood=validation)
        self._all.on_epoch_end(epoch, logs)

    def end(self) -> None:
        """After the last epoch."""
        if self._all is not None:
            self._all.on_train_end()
