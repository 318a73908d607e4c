"""Keras' own training, without parameters that are NaN or infinite.

Parameters are looked at once per epoch, outside of the compiled step. That costs a step
nothing, whatever its optimizer is: Keras' optimizers change variables in place, so that
a step which could be taken back by itself would have to copy them all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn.circuits.data import Data
from tfp_spn.circuits.diagnosis import described, least_probable_value
from tfp_spn.circuits.keras_call import KerasCall
from tfp_spn.layers.finite_variables import Entry, contents, first_not_finite


@contextlib.contextmanager
def finite_training(model: Any, call: KerasCall) -> Iterator[None]:
    """Ends a call of `fit` that makes a parameter NaN or infinite, and takes it back.

    Args:
        model: The model that is trained.
        call: The call, which gets a callback.
    """
    guard = _FiniteSteps(call.data)
    callbacks: Any = call.arguments.get("callbacks")
    ready_made = isinstance(callbacks, keras.callbacks.CallbackList)
    if ready_made:
        guard.set_model(model)
        callbacks.callbacks.insert(0, guard)
    else:
        callbacks = keras.tree.flatten(callbacks or [])
        call.arguments["callbacks"] = [guard, *callbacks]
    try:
        yield
    except BaseException as error:
        model.train_function = None  # it may be half traced
        if guard.take_back():
            error.add_note("The model is what it was before the call of fit.")
        raise
    finally:
        if ready_made:
            callbacks.callbacks.remove(guard)


class _FiniteSteps(keras.callbacks.Callback):
    """Looks after what training changes.

    Args:
        data: What `fit` was given, for messages.
    """

    def __init__(self, data: Data) -> None:
        super().__init__()
        self._data = data
        self._start: list[tuple[tf.Variable, np.ndarray]] = []

    def on_train_begin(self, logs: object = None) -> None:
        found = first_not_finite(contents(self._variables))
        if found is not None:
            raise ValueError(
                f"{self._label}: training cannot begin, received {found}, expected "
                "finite numbers. Load good weights or build the model anew; compile it "
                "with another optimizer if the number is the optimizer's."
            )
        self._start = [(variable, variable.numpy()) for variable in self._variables]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = first_not_finite(contents(self._variables))
        loss = float((logs or {}).get("loss", 0.0))
        if found is None and not np.isnan(loss):
            return
        what = "a loss of nan" if found is None else self._described(found)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._restore()
        raise ValueError(
            f"{self._label}: a step of epoch {epoch + 1} was not finite, received "
            f"{what}, expected finite numbers; the learning rate was {rate}."
            f"{self._suspicion()} Parameters and the optimizer's state are those from "
            "before the call of fit. Look for huge values in the data and in weights "
            "of examples, or take smaller steps."
        )

    def take_back(self) -> bool:
        """Restores the start if what there is now is not finite; tells whether."""
        if not self._start or first_not_finite(contents(self._variables)) is None:
            return False
        self._restore()
        return True

    def _restore(self) -> None:
        for variable in self._collected:  # some may have been made since
            variable.assign(np.zeros(variable.shape))
        for variable, value in self._start:
            variable.assign(value)

    @property
    def _label(self) -> str:
        return f'{type(self.model).__name__} "{self.model.name}"'

    @property
    def _variables(self) -> list[keras.Variable]:
        optimizer = self.model.optimizer
        return [*self.model.weights, *optimizer.variables, *self._collected]

    @property
    def _collected(self) -> list[tf.Variable]:
        """Sums that an optimizer keeps until there are batches enough for a step."""
        collected = getattr(self.model.optimizer, "collected", None)
        return [] if collected is None else collected(self.model)

    def _described(self, entry: Entry) -> str:
        if not hasattr(self.model, "live_params"):
            return str(entry)
        paths = {id(v.value): v.path for v in self.model.weights}
        for name, value in self.model.live_params().items():
            if paths.get(id(value)) == entry.name:
                return described(self.model.program, entry._replace(name=name))
        return str(entry)

    def _suspicion(self) -> str:
        """A sentence about the value that is to blame, where data and circuit tell."""
        x, observed = self._data.x, self._data.observed
        if not hasattr(self.model, "live_params") or not hasattr(x, "shape"):
            return ""
        program, params = self.model.program, self.model.live_params()
        if observed is not None:
            observed = np.broadcast_to(observed, (len(x), *program.mask_shape))
        found = least_probable_value(program, params, np.asarray(x), observed)
        if found is None or not found.is_suspicious:
            return ""
        return f" The least probable value is {found}, of {found.label}."
