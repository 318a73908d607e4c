"""Parameters of a circuit in coordinates in which they may be averaged."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.maximization import trainable_names
from tfp_spn.ops.log_space import safe_log
from tfp_spn.ops.weights import normalized_weights


class MeanParameters:
    """The trainable parameters: weights normalised, leaves as they are stored.

    Sums of several circuits' weights, or points on the line through them, are weights
    again (up to their sign), which is not true of their logarithms.

    Args:
        circuit: The circuit.
    """

    def __init__(self, circuit: Circuit) -> None:
        names = trainable_names(circuit)
        self.variables = {
            name: variable
            for name, variable in circuit.live_params().items()
            if name in names
        }
        self._specs = {spec.parameter: spec for spec in circuit.program.sum_specs}

    def is_sum(self, name: str) -> bool:
        """Whether a parameter is weights."""
        return name in self._specs

    def tensors(self) -> Params:
        """The values by name."""
        return {
            name: self._mean(name, tf.convert_to_tensor(variable))
            for name, variable in self.variables.items()
        }

    def read(self) -> dict[str, np.ndarray]:
        """The values by name, in double precision."""
        return {n: v.numpy().astype(np.float64) for n, v in self.tensors().items()}

    def assign(self, values: Params) -> None:
        """Sets the circuit's variables; weights need not be normalised."""
        for name, variable in self.variables.items():
            value = tf.cast(values[name], variable.dtype)
            if name in self._specs and self._specs[name].logspace:
                value = safe_log(value)
            variable.assign(value)

    def _mean(self, name: str, value: tf.Tensor) -> tf.Tensor:
        spec = self._specs.get(name)
        if spec is None:
            return value
        axis = -1 if value.shape.rank == 1 else -2
        return normalized_weights(value, spec.logspace, axis)
