"""What distributions have in common that read a circuit's parameters when asked."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_spn._keras_bridge import frozen_variable_ids
from tfp_spn._typing import Params, Tensor
from tfp_spn.distributions import _parameters
from tfp_spn.distributions._tensor_values import TensorValues


def properties_of_params() -> dict[str, Any]:
    """For `_parameter_properties`, wanted by TFP in each class with `__init__`."""
    return {
        "params": tfp.util.ParameterProperties(
            event_ndims=lambda self: dict(self.program.param_event_ndims),
            shape_fn=_parameters.no_shape,
            default_constraining_bijector_fn=_parameters.no_bijector,
        )
    }


class CircuitView(TensorValues):
    """Mixin of distributions over a circuit, before `tfd.Distribution` in the bases.

    Attributes:
        _circuit: The circuit.
        _params: Its parameters by name, un-read.
        _is_view: Whether these are the very variables of the circuit.
        _event: The variables that the event ranges over.
    """

    _circuit: Any
    _params: Params
    _is_view: bool
    _event: Any

    @property
    def circuit(self) -> Any:
        """The circuit."""
        return self._circuit

    @property
    def params(self) -> Params:
        """Parameters by name, un-read."""
        return self._params

    @property
    def program(self) -> Any:
        """The compiled circuit."""
        return self._circuit.program

    @property
    def variables_of_event(self) -> tuple[int, ...]:
        """The circuit's variables (of one step) that the event ranges over."""
        return self._event.variables

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Trainable variables; those of frozen Keras layers are left out."""
        frozen = frozen_variable_ids(self._circuit)
        variables = super().trainable_variables  # type: ignore[misc]
        return tuple(v for v in variables if id(v) not in frozen)

    def copy(self, **override_parameters_kwargs: Any) -> Any:
        """As in TFP; with another circuit, a view of that circuit's own parameters.

        Parameters that are not those of the present circuit stay, unless replaced too.
        """
        changes = override_parameters_kwargs
        if "circuit" in changes and "params" not in changes and self._is_view:
            changes["params"] = None
        return super().copy(**changes)  # type: ignore[misc]

    def tables(self) -> Any:
        """Reads the parameters, once each."""
        params = {k: tf.convert_to_tensor(v) for k, v in self._params.items()}
        return self.program.tables(params)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._event.shape)

    def _event_shape_tensor(self) -> Tensor:
        return tf.constant(self._event.shape, tf.int32)

    def _stddev(self) -> Tensor:
        return tf.sqrt(self._variance())  # type: ignore[attr-defined]
