"""The base class of circuits: a Keras model with a program and parameters."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import tensorflow as tf

from tfp_spn._masks import mask_fault
from tfp_spn._typing import Config, Params, ShapeLike, Tensor, TensorLike
from tfp_spn.circuits.data import values_and_mask
from tfp_spn.circuits.example_weights import NO_LABEL, given_targets
from tfp_spn.circuits.keras_inputs import read_inputs
from tfp_spn.circuits.keras_methods import KerasMethods
from tfp_spn.layers.finite_variables import FiniteVariables
from tfp_spn.ops.certainty import Certainty
from tfp_spn.programs.program import Program
from tfp_spn.programs.traces import answer


class Circuit(KerasMethods, FiniteVariables, keras.Model):
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
    def program(self) -> Program:
        """The compiled circuit."""
        raise NotImplementedError

    def live_params(self) -> Params:
        """The un-read variables by name."""
        raise NotImplementedError

    def structure(self) -> Config:
        """Describes the structure of the circuit, ready for JSON.

        Checkpoints of a fit record it; it does not depend on how circuits are folded.
        """
        return {}

    def build(self, input_shape: ShapeLike = None) -> None:
        """Checks that the data have the circuit's shape."""
        self.check_shape(input_shape)
        self.built = True

    def call(self, x: TensorLike, observed: TensorLike = None) -> Tensor:
        """Log joint probabilities of examples and classes.

        Args:
            x: Values, or a pair (or dict) of values and mask ``x, observed``, which is
                how missing values go through Keras' `fit` and `evaluate`.
            observed: bool ``[batch, num_variables]`` (``[batch, height, width]`` of
                images): which values count; the others are integrated out. `None`:
                all. A mask without the batch is that of all examples; of sequences,
                one flag will do for each step.

        Returns:
            ``[batch, num_classes]``.
        """
        x, observed = _pair(x, observed)
        x, observed = self.checked(x, observed)
        program = self.program
        x = tf.cast(x, program.dtype)
        params = {k: tf.convert_to_tensor(v) for k, v in self.live_params().items()}
        return answer(program, _log_joint, params, x, observed)

    def compute_output_spec(
        self, x: TensorLike, *args: object, **kwargs: object
    ) -> Any:
        """Symbolic output."""
        x, _ = _pair(x, None)
        shape = self.compute_output_shape(x.shape)
        return keras.KerasTensor(shape, dtype=self.program.dtype.name)

    def compute_output_shape(self, input_shape: ShapeLike) -> tuple[int | None, int]:
        """``[batch, num_classes]``."""
        return (input_shape[0], self.program.num_classes)

    def train_step(self, data: object) -> dict[str, Tensor]:
        """Leaves the step to an optimizer that takes it itself, such as online EM."""
        train_circuit = getattr(self.optimizer, "train_circuit", None)
        if train_circuit is None:
            return super().train_step(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y = read_inputs(self, x), given_targets(y)
        self.check_targets(x, y)
        return train_circuit(self, (x, y, sample_weight))

    def compute_loss(
        self,
        x: TensorLike = None,
        y: TensorLike = None,
        y_pred: TensorLike = None,
        sample_weight: TensorLike = None,
        training: bool = True,
    ) -> Tensor:
        """Lets losses that need no target (`NegativeLogLikelihood`) do without.

        Losses that ask for class probabilities are told those of the circuit.
        """
        y = given_targets(y)
        self.check_targets(x, y)
        if y is None:
            y = tf.fill([tf.shape(y_pred)[0]], NO_LABEL)
        given = getattr(getattr(self, "loss", None), "given_classes", None)
        with contextlib.nullcontext() if given is None else given(self._log_prior()):
            return super().compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
            )

    def _log_prior(self) -> Tensor | None:
        """``log p(class) [num_classes]``."""
        return self.program.tables(self.live_params()).log_prior

    def check_targets(self, x: TensorLike, y: TensorLike) -> None:
        """Raises a `ValueError` if targets are something else, as far as one can tell.

        Args:
            x: What the circuit is called with.
            y: The targets, or `None`.
        """

    def export(
        self,
        filepath: object,
        format: str = "tf_saved_model",  # noqa: A002 - as Keras names it
        verbose: object = None,
        input_signature: object = None,
        **kwargs: object,
    ) -> None:
        """Keras' `export`, of a circuit that has never been called, too.

        `tfp_spn.export_saved_model` exports the distribution, with all its queries.

        Args:
            filepath: Argument of `keras.Model.export`.
            format: Argument of `keras.Model.export`.
            verbose: Argument of `keras.Model.export`.
            input_signature: Argument of `keras.Model.export`; by default batches of
                values, without a mask.
            **kwargs: Argument of `keras.Model.export`.
        """
        if input_signature is None:
            program = self.program
            shape = (None, *program.event_shape)
            input_signature = [keras.InputSpec(program.dtype.name, shape, name="x")]
        super().export(filepath, format, verbose, input_signature, **kwargs)

    def checked(
        self, x: TensorLike, observed: TensorLike
    ) -> tuple[Tensor, Tensor | None]:
        """Data and their mask as tensors; what a graph does not know is checked in it.

        A mask of all examples, or of whole steps, is spread.

        Raises:
            TypeError: The mask is not bool.
            ValueError: A shape does not fit.
        """
        x = tf.convert_to_tensor(x)
        self.check_shape(x.shape)
        x = tf.ensure_shape(x, [None, *self.program.event_shape])
        return x, None if observed is None else self._mask(x, observed)

    def _mask(self, x: Tensor, observed: TensorLike) -> Tensor:
        """A mask of each example and variable; see `checked`."""
        observed, owner = tf.convert_to_tensor(observed), type(self).__name__
        shape = (x.shape[0], *self.program.mask_shape)
        own = shape if observed.shape.rank is None else observed.shape.as_list()
        fault = mask_fault(
            observed.dtype.name, own, shape[:1], self.program.mask_shapes
        )
        if fault == "dtype":
            raise TypeError(
                f'{owner} "{self.name}": observed must be a mask, received dtype '
                f"{observed.dtype.name}, expected bool: True where the value counts. "
                "Convert it, for example observed=(mask == 1)."
            )
        if fault == "shape":
            raise ValueError(
                f'{owner} "{self.name}": observed does not fit x, received shape '
                f"{tuple(observed.shape)}, expected {shape}. Pass one flag per example "
                "and variable."
            )
        if observed.shape.rank is not None and observed.shape != shape:
            whole = tf.concat([tf.shape(x)[:1], shape[1:]], 0)
            observed = tf.broadcast_to(observed, whole)
        return tf.ensure_shape(observed, shape)

    def check_shape(self, shape: ShapeLike) -> None:
        """Raises a `ValueError` unless data of this shape fit, as far as known."""
        event_shape = self.program.event_shape
        if tf.TensorShape(shape).rank is None:
            return
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


def _log_joint(
    program: Program,
    certainty: Certainty,
    params: Params,
    x: Tensor,
    observed: Tensor | None,
) -> Tensor:
    """``log p(x, class) [batch, C]``."""
    tables = program.tables(params, certainty)
    evidence = program.evidence(x, observed)
    return tf.transpose(program.log_joint(tables, evidence, is_whole=True))


def _pair(x: TensorLike, observed: TensorLike) -> tuple[Tensor, Tensor | None]:
    """Splits the input of a circuit into values and mask."""
    if observed is not None:
        return x, observed
    if isinstance(x, dict) and ("x" not in x or set(x) - {"x", "observed"}):
        raise ValueError(
            f"Circuit: received a dict with the keys {sorted(x)}, expected x and "
            "perhaps observed, a mask of the values that count. Rename or leave "
            "out the others; labels and weights follow the dict in a tuple."
        )
    if isinstance(x, list | tuple) and len(x) != 2:
        raise ValueError(
            f"Circuit: received {len(x)} inputs, expected x or a pair (x, "
            "observed). Stack the variables to one array x."
        )
    return values_and_mask(x)
