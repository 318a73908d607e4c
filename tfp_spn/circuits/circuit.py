"""What every circuit is: a Keras model with a program and parameters."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits import dynamic_evaluation
from tfp_spn.circuits.dynamic_evaluation import to_sequence_evidence
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.evaluation import (
    evaluate,
    leaf_values,
    log_base,
    with_base,
)
from tfp_spn.circuits.examples import Evidence, to_evidence
from tfp_spn.circuits.program import Program


def evidence_for(
    program: Program | DynamicProgram,
    value: Tensor,
    observed: Tensor | None,
    batch_rank: int = 0,
) -> Evidence:
    """A value of the program's event shape, and its mask, in the kernel's layout."""
    if isinstance(program, DynamicProgram):
        return to_sequence_evidence(program, value, observed, batch_rank)
    return to_evidence(value, observed, len(program.event_shape), batch_rank)


def log_joint(
    program: Program | DynamicProgram, params: Params, evidence: Evidence
) -> Tensor:
    """``log p(x, class)``, ``[..., C, N]``, as a pure function of parameters."""
    if isinstance(program, DynamicProgram):
        return dynamic_evaluation.log_joint(program, params, evidence)
    tables = program.tables(params)
    leaves = leaf_values(program, tables, evidence.x, evidence.observed)
    base = log_base(program, evidence.x, evidence.observed)
    joint = evaluate(program, tables, leaves).log_joint
    return with_base(joint, base)


class Circuit(keras.Model):
    """Base class of circuits.

    Subclasses create their variables in the constructor and provide `program` and
    `live_params`.

    Input shape:
        ``[batch, num_variables]``, ``[batch, num_variables, num_dims]``, or ``[batch,
        height, width, num_dims]`` of spatial stacks.

    Output shape:
        ``[batch, num_classes]``: ``log p(x, class)``.
    """

    @property
    def program(self) -> Any:
        """The compiled circuit: a `Program`, or a `DynamicProgram` over sequences."""
        raise NotImplementedError

    def live_params(self) -> Params:
        """The un-read variables by name."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Checks that the data have the circuit's shape."""
        self.check_shape(input_shape)
        self.built = True

    def call(self, x: Any, observed: Any = None) -> Tensor:
        """Log joint probabilities of examples and classes.

        Args:
            x: Values, or a pair (or dict) of values and mask ``x, observed``, which is
                how missing values go through Keras' `fit` and `evaluate`.
            observed: bool ``[batch, num_variables]`` (``[batch, height, width]`` of
                images): which values count; the others are integrated out. `None`:
                all.

        Returns:
            ``[batch, num_classes]``.
        """
        x, observed = _pair(x, observed)
        self.check_shape(x.shape)
        program = self.program
        x = tf.cast(x, program.dtype)
        observed = None if observed is None else tf.cast(observed, tf.bool)
        evidence = evidence_for(program, x, observed)
        return tf.transpose(log_joint(program, self.live_params(), evidence))

    def compute_output_spec(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Symbolic output."""
        x, _ = _pair(x, None)
        shape = self.compute_output_shape(x.shape)
        return keras.KerasTensor(shape, dtype=self.program.dtype.name)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """``[batch, num_classes]``."""
        return (input_shape[0], self.program.num_classes)

    def train_step(self, data: Any) -> Any:
        """Lets optimizers that are no gradient method, such as online EM, do it all."""
        train_circuit = getattr(self.optimizer, "train_circuit", None)
        if train_circuit is None:
            return super().train_step(data)
        return train_circuit(self, data)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Lets losses that need no target (`NegativeLogLikelihood`) do without."""
        if y is None:
            y = tf.zeros([tf.shape(y_pred)[0]], tf.int32)
        return super().compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )

    def check_shape(self, shape: Any) -> None:
        """Raises a `ValueError` unless data of this shape fit, as far as known."""
        event_shape = self.program.event_shape
        received = tuple(shape)
        event = received[1:]
        if len(received) != 1 + len(event_shape) or any(
            have is not None and have != want
            for have, want in zip(event, event_shape, strict=True)
        ):
            raise ValueError(
                f'{type(self).__name__} "{self.name}": received data of shape '
                f"{received}, expected [batch, {', '.join(map(str, event_shape))}]. "
                "Reshape the data, or build the circuit over a region graph with as "
                "many variables as the data have columns."
            )


def _pair(x: Any, observed: Any) -> tuple[Any, Any]:
    if observed is None and isinstance(x, dict):
        return x["x"], x.get("observed")
    if observed is None and isinstance(x, list | tuple):
        return x[0], x[1]
    return x, observed
