"""Keras' own training and loading, without parameters that are NaN or infinite.

Parameters are looked at once per epoch, outside of the compiled step. That costs a step
nothing, whatever its optimizer is: Keras' optimizers change variables in place, so that
a step which could be taken back by itself would have to copy them all.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._typing import TensorLike
from tfp_spn.circuits.diagnosis import described, least_probable_value
from tfp_spn.circuits.example_weights import ExampleWeights
from tfp_spn.circuits.fixed_scales import warn_of_fixed_scales
from tfp_spn.circuits.impossible_data import check_possible
from tfp_spn.circuits.kept_digits import KeptDigits, with_kept_digits
from tfp_spn.layers.finite_variables import (
    Entry,
    check_loaded,
    contents,
    first_not_finite,
)


class FiniteTraining(KeptDigits, ExampleWeights):
    """Mixin of Keras models: what fails in `fit` or `load_weights` ruins nothing."""

    def fit(
        self,
        x: TensorLike = None,
        y: TensorLike = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict | None = None,
        sample_weight: TensorLike = None,
        *args: Any,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Keras' `fit`, but steps that make a parameter NaN or infinite end it.

        They are found at the end of an epoch, before any other callback sees it.
        Parameters and the optimizer's state are then those from before the call; after
        other errors, of the last step.

        Args:
            x: Argument of `keras.Model.fit`.
            y: Argument of `keras.Model.fit`.
            batch_size: Argument of `keras.Model.fit`.
            epochs: Argument of `keras.Model.fit`.
            verbose: Argument of `keras.Model.fit`.
            callbacks: Argument of `keras.Model.fit`.
            validation_split: Argument of `keras.Model.fit`.
            validation_data: Argument of `keras.Model.fit`.
            shuffle: Argument of `keras.Model.fit`.
            class_weight: Argument of `keras.Model.fit`.
            sample_weight: Argument of `keras.Model.fit`.
            *args: Argument of `keras.Model.fit`.
            **kwargs: Argument of `keras.Model.fit`.

        Returns:
            Keras' history.

        Raises:
            ValueError: A step was not finite. Of arrays, before training: an integer
                that no component takes, a label that is no class.
        """
        x = with_kept_digits(self, x)
        if isinstance(validation_data, list | tuple) and len(validation_data) > 0:
            first, *rest = validation_data
            validation_data = (with_kept_digits(self, first), *rest)
        check_possible(self, x, y, sample_weight)
        model: Any = self
        warn_of_fixed_scales(model, x)
        guard = _FiniteSteps(x)
        ready_made = isinstance(callbacks, keras.callbacks.CallbackList)
        if ready_made:
            guard.set_model(self)
            callbacks.callbacks.insert(0, guard)
        else:
            callbacks = [guard, *keras.tree.flatten(callbacks or [])]
        try:
            return super().fit(
                x,
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                validation_data,
                shuffle,
                class_weight,
                sample_weight,
                *args,
                **kwargs,
            )
        except BaseException as error:
            self.train_function = None  # it may be half traced
            if guard.take_back():
                error.add_note("The model is what it was before the call of fit.")
            raise
        finally:
            if ready_made:
                callbacks.callbacks.remove(guard)

    def save(self, filepath: object, *args: object, **kwargs: object) -> None:
        """Keras' `save`, in its own format.

        Args:
            filepath: Argument of `keras.Model.save`; ends in ``.keras``.
            *args: Argument of `keras.Model.save`.
            **kwargs: Argument of `keras.Model.save`.

        Raises:
            ValueError: The file would be HDF5, which Keras could not load.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            model: keras.Model = self
            raise ValueError(
                f'{type(model).__name__} "{model.name}": HDF5 files hold no registered '
                f"classes and could not be loaded, received {str(filepath)!r}, "
                "expected a name that ends in .keras. Use it, or save_weights with "
                ".weights.h5."
            )
        super().save(filepath, *args, **kwargs)  # type: ignore[misc]

    def load_weights(self, filepath: object, *args: object, **kwargs: object) -> None:
        """Keras' `load_weights`; a file that is refused changes nothing.

        Args:
            filepath: Argument of `keras.Model.load_weights`.
            *args: Argument of `keras.Model.load_weights`.
            **kwargs: Argument of `keras.Model.load_weights`.

        Raises:
            ValueError: The file is of another model, or holds NaN or infinite values.
        """
        model: keras.Model = self
        before = [(variable, variable.numpy()) for variable in model.weights]
        try:
            super().load_weights(filepath, *args, **kwargs)  # type: ignore[misc]
            check_loaded(model)
        except BaseException:
            for variable, value in before:
                variable.assign(value)
            raise


class _FiniteSteps(keras.callbacks.Callback):
    """Looks after what training changes.

    Args:
        x: The data, as `fit` was given them, for messages.
    """

    def __init__(self, x: TensorLike) -> None:
        super().__init__()
        self._x = x
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
        x, observed = self._x, None
        if isinstance(x, list | tuple) and len(x) == 2:
            x, observed = x
        if not hasattr(self.model, "live_params") or not hasattr(x, "shape"):
            return ""
        program, params = self.model.program, self.model.live_params()
        if observed is not None:
            observed = np.broadcast_to(observed, (len(x), *program.mask_shape))
        found = least_probable_value(program, params, np.asarray(x), observed)
        if found is None or not found.is_suspicious:
            return ""
        return f" The least probable value is {found}, of {found.label}."
