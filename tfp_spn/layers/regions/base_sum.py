"""The base class of sum layers: it owns accumulators and reads them normalised."""

from __future__ import annotations

from typing import Any, Unpack

from tfp_spn._keras_typing import (
    Constraint,
    ConstraintLike,
    Initializer,
    InitializerLike,
    LayerOptions,
    Regularizer,
    RegularizerLike,
)
from tfp_spn._typing import Config, Tensor
from tfp_spn.layers.regions.held_weights import held_log_weights
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape
from tfp_spn.layers.sum_weights import SumWeights
from tfp_spn.sum_ops import SumRule


class BaseSum(RegionLayer):
    """Base class of layers with weighted sums.

    Subclasses call `add_accumulators` in `build` and read `log_weights`, which are
    normalised, in `call`. `DenseSum` explains the arguments. What is `None` is taken
    from `tfp_spn.config` when the layer is constructed.

    Args:
        logspace_accumulators: Whether logarithms of weights are stored.
        accumulator_initializer: Initializer of the weights.
        sum_op: The learning rule.
        accumulator_regularizer: Regularizer of what is stored.
        logspace_accumulator_constraint: Constraint of stored logarithms.
        linear_accumulator_constraint: Constraint of stored weights.
        **kwargs: Passed on to `keras.layers.Layer`.

    Attributes:
        sum_weights: How the weights are stored and learned.
        accumulators: The stored weights, or `None` before `build`.
    """

    keeps_input_dtype = False

    def __init__(
        self,
        *,
        logspace_accumulators: bool | None = None,
        accumulator_initializer: InitializerLike = None,
        sum_op: SumRule | Config | None = None,
        accumulator_regularizer: RegularizerLike = None,
        logspace_accumulator_constraint: ConstraintLike = None,
        linear_accumulator_constraint: ConstraintLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.sum_weights = SumWeights.of_stack(
            self,
            self.label,
            sum_op,
            logspace_accumulators,
            accumulator_initializer,
            accumulator_regularizer,
            logspace_accumulator_constraint,
            linear_accumulator_constraint,
        )
        self.accumulators: Any = None

    @property
    def sum_op(self) -> SumRule:
        """The learning rule."""
        return self.sum_weights.sum_op

    @property
    def logspace_accumulators(self) -> bool:
        """Whether logarithms of weights are stored."""
        return self.sum_weights.logspace_accumulators

    @property
    def accumulator_initializer(self) -> Initializer:
        """Initializer of the weights."""
        return self.sum_weights.accumulator_initializer

    @property
    def accumulator_regularizer(self) -> Regularizer | None:
        """Regularizer of what is stored."""
        return self.sum_weights.accumulator_regularizer

    @property
    def logspace_accumulator_constraint(self) -> Constraint | None:
        """Constraint of stored logarithms."""
        return self.sum_weights.logspace_accumulator_constraint

    @property
    def linear_accumulator_constraint(self) -> Constraint | None:
        """Constraint of stored weights."""
        return self.sum_weights.linear_accumulator_constraint

    def add_accumulators(self, shape: tuple[int, ...]) -> None:
        """Creates the stored weights; axis -2 of `shape` is that of the children."""
        self.accumulators = self.sum_weights.create(self, self.label, shape)

    def check_children(self, input_shape: Shape, num_axes: int = 3) -> None:
        """Checks that a call's input is one that the layer was built for.

        Args:
            input_shape: Shape of the input.
            num_axes: How many of its last axes the weights tell apart.

        Raises:
            ValueError: If they have other lengths.
        """
        if self.accumulators is None:
            return
        received = tuple(input_shape)[-num_axes:]
        built_for = tuple(self.accumulators.shape)[:-1][-num_axes:]
        if None not in received and received != built_for:
            lengths = ["..."] * (3 - num_axes) + [str(length) for length in built_for]
            raise ValueError(
                f"{self.label}: received an input of shape {tuple(input_shape)}, "
                f"expected [batch, {', '.join(lengths)}], for which the layer was "
                "built. Use another layer for inputs of another shape."
            )

    def log_weights(self) -> Tensor:
        """Normalised log-weights, of the shape of the accumulators."""
        if self.accumulators is None:
            raise ValueError(
                f"{self.label}: has no weights yet. Received a call before build(); "
                "expected a built layer. Call it on data, or build(input_shape)."
            )
        held = held_log_weights(self)
        if held is not None:
            return held
        return self.sum_weights.log_weights(self.accumulators)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), **self.sum_weights.get_config()}
