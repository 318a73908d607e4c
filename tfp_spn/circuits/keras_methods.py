"""Keras' own methods, of data that were looked at first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from tfp_spn._typing import Tensor, TensorLike
from tfp_spn.circuits.example_weights import (
    check_class_weight,
    check_weights,
    given_targets,
    targets_beside,
)
from tfp_spn.circuits.finite_training import finite_training
from tfp_spn.circuits.fixed_scales import warn_of_fixed_scales
from tfp_spn.circuits.impossible_data import check_possible
from tfp_spn.circuits.keras_call import KerasCall
from tfp_spn.circuits.keras_inputs import read_inputs
from tfp_spn.circuits.training_variables import make_training_variables
from tfp_spn.layers.finite_variables import check_loaded

# Names and arguments as Python shows them; the text is ours.
_with_arguments_of = functools.partial(
    functools.wraps, assigned=("__name__", "__qualname__"), updated=()
)


def _checked(name: str) -> Callable:
    """Keras' method of a name, of data that passed the checks."""

    def method(self: KerasMethods, *args: object, **kwargs: object) -> object:
        return self._read(name, args, kwargs)()

    method.__doc__ = f"Keras' `{name}`."
    return _with_arguments_of(getattr(keras.Model, name))(method)


class KerasMethods:
    """Mixin of Keras models: what fails in their methods ruins nothing.

    Data are refused whose digits the model's dtype would lose: arrays as they come;
    tensors of graphs, such as elements of a `tf.data.Dataset`, when the graph runs.
    Frames with nullable columns and the like become arrays; masked and sparse ones are
    refused. Weights of examples count, with or without targets.

    Attributes:
        takes_ragged: Whether the model reads ragged tensors itself.
    """

    takes_ragged = False

    def __call__(self, inputs: TensorLike, *args: object, **kwargs: object) -> Tensor:
        """Calls the model."""
        observed = kwargs.get("observed", args[0] if args else None)
        inputs = read_inputs(self, inputs, observed)
        return super().__call__(inputs, *args, **kwargs)  # type: ignore[misc]

    @_with_arguments_of(keras.Model.fit)
    def fit(self, *args: object, **kwargs: object) -> keras.callbacks.History:
        """Keras' `fit`, but steps that make a parameter NaN or infinite end it.

        They are found at the end of an epoch, before any other callback sees it.
        Parameters and the optimizer's state are then those from before the call; after
        other errors, of the last step.

        Args:
            *args: Arguments of `keras.Model.fit`.
            **kwargs: Arguments of `keras.Model.fit`.

        Returns:
            Keras' history.

        Raises:
            ValueError: A step was not finite. Of arrays, before training: an integer
                that no component takes, a label that is no class.
        """
        call = self._read("fit", args, kwargs)
        check_possible(self, call.data)
        circuit = self.circuit_of_data()
        if circuit is not None:
            warn_of_fixed_scales(circuit, call.data.x, call.data.observed)
        with finite_training(self, call):
            make_training_variables(self, call)
            return call()

    evaluate = _checked("evaluate")
    predict = _checked("predict")
    train_on_batch = _checked("train_on_batch")
    test_on_batch = _checked("test_on_batch")
    predict_on_batch = _checked("predict_on_batch")

    def circuit_of_data(self) -> Any:
        """The circuit that data are for as they come, or `None` if there is none."""
        return self if hasattr(self, "program") else None

    def _read(self, name: str, args: tuple, kwargs: dict) -> KerasCall:
        """A call of Keras' method, with data that passed the checks."""

        def checked(x: TensorLike, y: TensorLike, weights: TensorLike) -> tuple:
            check_weights(self, weights)
            x = read_inputs(self, x)
            return x, targets_beside(weights, x, y), weights

        call = KerasCall(getattr(super(), name), args, kwargs)
        check_class_weight(call)
        call.check_end()
        call.replace(checked)
        return call

    def compute_metrics(
        self,
        x: TensorLike,
        y: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike = None,
    ) -> dict[str, Any]:
        """The metrics."""
        return super().compute_metrics(  # type: ignore[misc]
            x,
            self._labels(x, y, y_pred),
            y_pred,
            sample_weight=self._weights(sample_weight, y_pred),
        )

    def _labels(
        self, x: TensorLike, y: TensorLike, y_pred: TensorLike
    ) -> Tensor | None:
        """Labels of examples, of their targets."""
        return given_targets(y)

    def _weights(self, sample_weight: TensorLike, y_pred: TensorLike) -> TensorLike:
        """Weights of what the model returns, of those of examples."""
        return sample_weight

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
