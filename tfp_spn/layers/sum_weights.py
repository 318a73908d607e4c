"""How a sum stores its weights and learns them: the one home of all layers with sums.

Weights are stored unnormalised, as they are or as logarithms. What is stored begins
with an initializer of the *weights*, follows a constraint and a regularizer, and is
normalised in the forward pass, where the learning rule says what it gets back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfp_spn._keras_typing import (
    Constraint,
    ConstraintLike,
    Initializer,
    InitializerLike,
    Regularizer,
    RegularizerLike,
)
from tfp_spn._serialization import (
    constraint_of,
    deserialize,
    initializer_of,
    regularizer_of,
    serialize,
)
from tfp_spn._typing import Config, Tensor
from tfp_spn.config import (
    get_default_accumulator_initializer,
    get_default_linear_accumulators_constraint,
    get_default_logspace_accumulators_constraint,
    get_default_sum_op,
)
from tfp_spn.initializers.dirichlet import Dirichlet
from tfp_spn.initializers.initial_values import initial_weights
from tfp_spn.layers.untouched import note_start
from tfp_spn.ops.log_space import safe_log
from tfp_spn.ops.weights import normalized_log_weights
from tfp_spn.sum_ops import SumOpGradBackprop, SumRule


@dataclasses.dataclass(frozen=True, eq=False)
class SumWeights:
    """How the weights of some sums are stored, begin and are learned.

    Attributes:
        sum_op: The learning rule.
        logspace_accumulators: Whether logarithms of weights are stored.
        accumulator_initializer: Initializer of the weights.
        accumulator_regularizer: Regularizer of what is stored, or `None`.
        logspace_accumulator_constraint: Constraint of stored logarithms, or `None`.
        linear_accumulator_constraint: Constraint of stored weights, or `None`.
    """

    sum_op: SumRule
    logspace_accumulators: bool
    accumulator_initializer: Initializer
    accumulator_regularizer: Regularizer | None = None
    logspace_accumulator_constraint: Constraint | None = None
    linear_accumulator_constraint: Constraint | None = None

    @classmethod
    def of_stack(
        cls,
        layer: keras.layers.Layer,
        label: str,
        sum_op: SumRule | Config | None,
        logspace: bool | None,
        initializer: InitializerLike,
        regularizer: RegularizerLike,
        logspace_constraint: ConstraintLike,
        linear_constraint: ConstraintLike,
    ) -> SumWeights:
        """Reads the arguments of a layer that stands in a stack.

        As in LibSPN-Keras, the rules of EM store weights as they are: what an optimizer
        gets from them are counts.

        Raises:
            TypeError: The rule is not a learning rule.
            ValueError: Logarithms are asked for with a rule of EM.
        """
        rule = deserialize(layer, "sum_op", sum_op, SumRule)
        if rule is None:
            rule = get_default_sum_op()
        if not isinstance(rule, SumRule):
            raise TypeError(
                f"{label}: received sum_op={rule!r}, expected a learning rule. "
                "Pass, for example, sum_op=tfp_spn.SumOpEMBackprop()."
            )
        has_choice = isinstance(rule, SumOpGradBackprop)
        if logspace and not has_choice:
            raise ValueError(
                f"{label}: received logspace_accumulators=True with sum_op="
                f"{rule!r}, expected linear accumulators: this rule's counts "
                "are weights, not logarithms. Leave logspace_accumulators out, or use "
                "SumOpGradBackprop()."
            )
        return cls(
            rule,
            has_choice and _stores_logarithms(rule, logspace),
            initializer_of(layer, "accumulator_initializer", initializer)
            or get_default_accumulator_initializer(),
            regularizer_of(layer, "accumulator_regularizer", regularizer),
            constraint_of(layer, "logspace_accumulator_constraint", logspace_constraint)
            or get_default_logspace_accumulators_constraint(),
            constraint_of(layer, "linear_accumulator_constraint", linear_constraint)
            or get_default_linear_accumulators_constraint(),
        )

    @classmethod
    def of_circuit(
        cls,
        sum_op: SumRule | None,
        initializer: Initializer | None,
        logspace: bool | None = None,
    ) -> SumWeights:
        """Fills in the defaults of a circuit, which stores logarithms if not told.

        EM moves weights by itself there, however they are stored.
        """
        rule = sum_op or get_default_sum_op()
        if initializer is None:
            initializer = get_default_accumulator_initializer()
        return cls(
            rule,
            _stores_logarithms(rule, logspace),
            initializer,
            linear_accumulator_constraint=get_default_linear_accumulators_constraint(),
        )

    def with_initializer(self, initializer: Initializer) -> SumWeights:
        """Returns the same but for the initializer."""
        return dataclasses.replace(self, accumulator_initializer=initializer)

    def of_layer(self, number: int) -> SumWeights:
        """Returns the same with draws of its own for one of several layers.

        One instance of an initializer would draw the same numbers for each of them.
        """
        initializer = self.accumulator_initializer
        if isinstance(initializer, Dirichlet):
            return self.with_initializer(initializer.for_layer(number))
        copy = getattr(initializer, "clone", None)  # functions have none
        return self if copy is None else self.with_initializer(copy())

    def create(
        self,
        layer: keras.layers.Layer,
        label: str,
        shape: Sequence[int],
        *,
        name: str = "accumulators",
        axis: int = -2,
        dtype: str | None = None,
    ) -> keras.Variable:
        """Creates the stored weights of a layer.

        Args:
            layer: The layer that owns the variable.
            label: What messages call the layer.
            shape: Shape of the variable.
            name: Its name.
            axis: The axis of the children.
            dtype: Default: that of the layer.
        """

        def initial(shape: Sequence[int], dtype: str | None = None) -> Tensor:
            return self._initial(label, shape, dtype, axis)

        logspace = self.logspace_accumulators
        stored = layer.add_weight(
            name=name,
            shape=tuple(shape),
            initializer=initial,
            regularizer=self.accumulator_regularizer,
            constraint=(
                self.logspace_accumulator_constraint
                if logspace
                else self.linear_accumulator_constraint
            ),
            dtype=dtype,
            autocast=False,
        )
        # What `FiniteVariables` and `OnlineExpectationMaximization` ask for.
        stored.is_log_weight = logspace
        stored.is_sum_weight = True
        stored.is_em_accumulator = self.sum_op.hands_back_counts(logspace)
        note_start(stored)
        return stored

    def redrawn(self, stored: keras.Variable) -> Tensor:
        """Returns new initial values, with draws of their own if no seed was given."""
        clone = getattr(self.accumulator_initializer, "clone", None)
        weights = self if clone is None else self.with_initializer(clone())
        return weights._initial(stored.path, stored.shape, stored.dtype, axis=-2)

    def _initial(
        self, label: str, shape: Sequence[int], dtype: str | None, axis: int
    ) -> Tensor:
        """Returns initial weights, as they are stored."""
        initializer = self.accumulator_initializer
        weights = initial_weights(label, initializer, shape, dtype, axis)
        return safe_log(weights) if self.logspace_accumulators else weights

    def log_weights(self, stored: keras.Variable) -> Tensor:
        """Returns normalised log-weights, of the shape of what is stored."""
        value = tf.convert_to_tensor(stored.value)
        return normalized_log_weights(value, self.sum_op, self.logspace_accumulators)

    def get_config(self) -> Config:
        """Returns the arguments of a layer in a stack that say the same."""
        return {
            field.name: serialize(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


def _stores_logarithms(rule: SumRule, requested: bool | None) -> bool:
    """Returns what is asked for, else what the rule says, else `True`."""
    if requested is None:
        requested = getattr(rule, "logspace_accumulators", None)
    return True if requested is None else bool(requested)
