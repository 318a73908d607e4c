"""What the sum layers share: accumulators, their normalisation, the learning rule."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._serialization import (
    constraint_of,
    deserialize,
    initializer_of,
    regularizer_of,
    serialize,
)
from tfp_spn._typing import Tensor
from tfp_spn.config.accumulator_constraints import (
    get_default_linear_accumulators_constraint,
    get_default_logspace_accumulators_constraint,
)
from tfp_spn.config.accumulator_initializer import get_default_accumulator_initializer
from tfp_spn.config.sum_op import get_default_sum_op
from tfp_spn.initializers.initial_values import initial_weights
from tfp_spn.layers.regions.held_weights import held_log_weights
from tfp_spn.layers.regions.region_layer import RegionLayer
from tfp_spn.ops.log_space import safe_log
from tfp_spn.ops.weights import normalized_log_weights
from tfp_spn.sum_ops import SumOpGradBackprop, SumRule


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
        accumulators: The stored weights, or `None` before `build`.
    """

    keeps_input_dtype = False

    def __init__(
        self,
        *,
        logspace_accumulators: bool | None = None,
        accumulator_initializer: Any = None,
        sum_op: SumRule | dict | None = None,
        accumulator_regularizer: Any = None,
        logspace_accumulator_constraint: Any = None,
        linear_accumulator_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sum_op = self._checked_rule(deserialize(self, "sum_op", sum_op, SumRule))
        self.logspace_accumulators = self._resolved_logspace(logspace_accumulators)
        self.accumulator_initializer = (
            initializer_of(self, "accumulator_initializer", accumulator_initializer)
            or get_default_accumulator_initializer()
        )
        self.accumulator_regularizer = regularizer_of(
            self, "accumulator_regularizer", accumulator_regularizer
        )
        self.logspace_accumulator_constraint = (
            constraint_of(
                self, "logspace_accumulator_constraint", logspace_accumulator_constraint
            )
            or get_default_logspace_accumulators_constraint()
        )
        self.linear_accumulator_constraint = (
            constraint_of(
                self, "linear_accumulator_constraint", linear_accumulator_constraint
            )
            or get_default_linear_accumulators_constraint()
        )
        self.accumulators: Any = None

    def add_accumulators(self, shape: tuple[int, ...]) -> None:
        """Creates the stored weights; axis -2 of `shape` is that of the children."""
        self.accumulators = self.add_weight(
            name="accumulators",
            shape=shape,
            initializer=self._initial_accumulators,
            regularizer=self.accumulator_regularizer,
            constraint=(
                self.logspace_accumulator_constraint
                if self.logspace_accumulators
                else self.linear_accumulator_constraint
            ),
            autocast=False,
        )
        self.accumulators.is_log_weight = self.logspace_accumulators
        self.accumulators.is_sum_weight = True
        gradients = self.sum_op.is_gradient and not self.sum_op.normalizes_counts
        # For `OnlineExpectationMaximization`: its "gradients" are counts.
        self.accumulators.is_em_accumulator = not (
            self.logspace_accumulators or gradients
        )

    def check_children(self, input_shape: Any, num_axes: int = 3) -> None:
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
        return normalized_log_weights(
            tf.convert_to_tensor(self.accumulators.value),
            self.sum_op,
            self.logspace_accumulators,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {
            **super().get_config(),
            "logspace_accumulators": self.logspace_accumulators,
        }
        for argument in (
            "accumulator_initializer",
            "sum_op",
            "accumulator_regularizer",
            "logspace_accumulator_constraint",
            "linear_accumulator_constraint",
        ):
            config[argument] = serialize(getattr(self, argument))
        return config

    def _initial_accumulators(self, shape: Any, dtype: Any = None) -> Tensor:
        weights = initial_weights(
            self.label, self.accumulator_initializer, shape, dtype
        )
        return safe_log(weights) if self.logspace_accumulators else weights

    def _checked_rule(self, rule: Any) -> SumRule:
        if rule is None:
            return get_default_sum_op()
        if not isinstance(rule, SumRule):
            raise TypeError(
                f"{self.label}: received sum_op={rule!r}, expected a learning rule. "
                "Pass, for example, sum_op=tfp_spn.SumOpEMBackprop()."
            )
        return rule

    def _resolved_logspace(self, requested: bool | None) -> bool:
        if isinstance(self.sum_op, SumOpGradBackprop):
            if requested is None:
                requested = self.sum_op.logspace_accumulators
            return True if requested is None else bool(requested)
        if requested:
            raise ValueError(
                f"{self.label}: received logspace_accumulators=True with sum_op="
                f"{self.sum_op!r}, expected linear accumulators: this rule's counts "
                "are weights, not logarithms. Leave logspace_accumulators out, or use "
                "SumOpGradBackprop()."
            )
        return False
