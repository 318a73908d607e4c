"""No fit leaves parameters that are NaN or infinite.

What a fit changes is copied at the end of each epoch in any case, so that is where it
is looked at: nothing is added to a step. The rest is for messages.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.diagnosis import DataValue, described, least_probable_value
from tfp_spn.layers.finite_variables import Content, first_not_finite
from tfp_spn.learning.batches import Batches
from tfp_spn.learning.checkpoint_file import Arrays
from tfp_spn.learning.progress import TrainingState


class FiniteSteps:
    """Checks what a fit starts from, and what it makes of it.

    Args:
        circuit: The circuit.
        state: The variables that the fit changes.
        train: The data, for messages.
        start: What the variables held before the fit, for messages.
        optimizer: The Keras optimizer, if there is one, for messages.
    """

    def __init__(
        self,
        circuit: Circuit,
        state: TrainingState,
        train: Batches,
        start: Arrays,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        self.program = circuit.program
        self.train = train
        self.start = start
        self.optimizer = optimizer
        self.names = {
            name: name.removeprefix("params/")
            if name.startswith("params/")
            else variable.name.removesuffix(":0")
            for name, variable in state.variables.items()
        }
        weights = {
            id(variable.value)
            for variable in circuit.weights
            if getattr(variable, "is_log_weight", False)
        }
        self.log_weights = {
            name
            for name, variable in state.variables.items()
            if id(variable) in weights
        }
        self._may_be_impossible = False

    def check_start(self, last: Arrays, best: Arrays, checkpoint: object) -> None:
        """Checks what there is before the first step.

        Args:
            last: What the fit begins with.
            best: What it may end with, of a checkpoint.
            checkpoint: Path of the checkpoint, or `None`.

        Raises:
            ValueError: It is not finite.
        """
        found = self._not_finite(last) or self._not_finite(best)
        if found is None:
            return
        if checkpoint is None and self._not_finite(self.start) is None:
            raise ValueError(
                f"fit: the start from the data was not finite, received {found}, "
                f"expected finite numbers{self._circumstances()}. Parameters are "
                "those from before the call. Divide the column by its size, or "
                'build the circuit with dtype="float64".'
            )
        source = "" if checkpoint is None else f" with checkpoint {checkpoint!s}"
        raise ValueError(
            f"fit: training cannot begin{source}, received {found}, expected "
            "finite numbers. Nothing was changed. Build the circuit and the "
            "optimizer anew, and choose another path if a checkpoint was read."
        )

    def check_epoch(self, number: int, arrays: Arrays, log_likelihood: float) -> None:
        """Checks what an epoch ended with.

        Raises:
            ValueError: Parameters (or the optimizer's state) are not finite, or a value
                has no probability that the dtype could hold.
        """
        found = self._not_finite(arrays)
        if found is not None:
            raise ValueError(
                f"fit: a step of epoch {number} was not finite, received {found}, "
                f"expected finite numbers{self._circumstances()}. Parameters are those "
                "from before the call. Look for huge values in the data and in "
                "sample_weight, or take smaller steps."
            )
        if log_likelihood == -np.inf and not self._may_be_impossible:
            self._check_values()

    def _check_values(self) -> None:
        value = self._least_probable_value()
        if value is None or value.log_prob > -np.inf or not value.is_in_support:
            self._may_be_impossible = True  # for a reason of its own: asked once
            return
        raise ValueError(
            "fit: a value has probability zero under every component of "
            f"{value.label}, received {value}, expected one whose log-density "
            f"{self.program.dtype.name} can hold. Parameters are those from before the "
            "call. Correct or recode it, standardise the column, or set observed to "
            "False there."
        )

    def _circumstances(self) -> str:
        """Names what may have been the reason."""
        text = ""
        if self.optimizer is not None:
            text += f"; the learning rate was {float(self.optimizer.learning_rate)}"
        value = self._least_probable_value()
        if value is not None and value.is_suspicious:
            text += f"; the least probable value is {value}, of {value.label}"
        return text

    def _not_finite(self, arrays: Arrays) -> str | None:
        entry = first_not_finite(
            Content(self.names[name], values, name in self.log_weights)
            for name, values in arrays.items()
        )
        return None if entry is None else described(self.program, entry)

    def _least_probable_value(self) -> DataValue | None:
        """Under the parameters that the fit began with."""
        prefix = "params/"
        params: Params = {
            name.removeprefix(prefix): tf.constant(value)
            for name, value in self.start.items()
            if name.startswith(prefix)
        }
        least, row = None, 0
        for data in self.train.in_order():
            counts = np.ones(len(data.x), bool)
            if data.sample_weight is not None:
                counts = data.sample_weight > 0
            observed = np.ones((len(counts), *self.program.mask_shape), bool)
            if data.observed is not None:
                observed = data.observed
            mask = counts.reshape(-1, *[1] * (observed.ndim - 1)) & observed
            found = least_probable_value(self.program, params, data.x, mask, row)
            row += len(counts)
            if found is not None and (least is None or found.log_prob < least.log_prob):
                least = found
        return least
