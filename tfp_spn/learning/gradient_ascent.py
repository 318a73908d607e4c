"""Gradient ascent of the log-likelihood with any Keras optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from tfp_spn._arguments import a_flag, reads
from tfp_spn._keras_typing import OptimizerLike, Regularizer
from tfp_spn._typing import Expectations, Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batch_functions import Slopes
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.log_likelihood import mean_of_examples
from tfp_spn.learning.maximization import as_circuit
from tfp_spn.learning.replicas import Replicas


class GradientAscent:
    """One optimizer step per batch on the mean log-likelihood.

    Args:
        circuit: A circuit, or a distribution over one.
        optimizer: A Keras optimizer or its name. Default: ``Adam(1e-2)``.
        jit_compile: Whether XLA compiles the step.
        regularizer: A Keras regularizer; its penalty of all log-weights and logits is
            taken from the mean log-likelihood.

    Raises:
        ValueError: The circuit's learning rule replaces gradients by counts.

    Example:
        >>> import numpy as np, tfp_spn
        >>> from tfp_spn.learning import Batches, Data, GradientAscent
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> ascent = GradientAscent(circuit)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> batches = Batches(circuit.program, Data(x), batch_size=32)
        >>> ascent.epoch(batches()) < ascent.epoch(batches())
        True
    """

    @reads(jit_compile=a_flag())
    def __init__(
        self,
        circuit: object,
        optimizer: OptimizerLike = None,
        jit_compile: bool | None = None,
        regularizer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.circuit = as_circuit(circuit)
        _check_rules(self.circuit)
        self.replicas = Replicas(self.circuit, jit_compile)
        with self.replicas.scope():
            self.optimizer = keras.optimizers.get(optimizer) or (
                keras.optimizers.Adam(1e-2)
            )
            self.replicas.check_optimizer(self.optimizer)
            variables = self.circuit.trainable_variables
            if not self.optimizer.built:
                self.optimizer.build(variables)
        self._slopes = Slopes(_names_of(self.circuit, variables))

        @tf.function(autograph=False)
        def ascend(sums: Expectations) -> None:
            means = [gradient / sums["weight"] for gradient in sums["gradients"]]
            if regularizer is not None:
                means = [
                    mean + _slope(regularizer, variable)
                    for mean, variable in zip(means, variables, strict=True)
                ]
            self.optimizer.apply(means, variables)

        self._ascend = ascend

    @property
    def state(self) -> list[tf.Variable]:
        """The variables that an interrupted fit must keep, besides parameters."""
        return [variable.value for variable in self.optimizer.variables]

    def epoch(self, batches: Iterable[Batch]) -> float:
        """A step for each batch.

        Returns:
            The mean log-likelihood, that of each batch before its step.
        """
        log_likelihood = weight = 0.0
        for batch in self.replicas.in_step(batches):
            if not batch.weights.numpy().any():
                continue
            sums = self.replicas.total(self.replicas.run(self._slopes, batch))
            # Outside of a strategy's scope an assignment is to all copies, and an
            # optimizer does what it does on one device, clipping included.
            self._ascend(sums)
            log_likelihood += float(sums["log_likelihood"])
            weight += float(sums["weight"])
            if math.isnan(log_likelihood):
                break  # parameters are NaN: further steps would mend nothing
        return mean_of_examples(log_likelihood, weight)


def _slope(regularizer: Regularizer, variable: tf.Variable) -> Tensor | None:
    """Gradient of the penalty of a variable, zero of what is no logarithm."""
    value = tf.convert_to_tensor(variable)
    is_logit = getattr(variable, "is_log_weight", False) or variable.name == "logits"
    if not is_logit:
        return tf.zeros_like(value)
    with tf.GradientTape() as tape:
        tape.watch(value)
        penalty = regularizer(value)
    return tape.gradient(penalty, value)


def _names_of(circuit: Circuit, variables: list[keras.Variable]) -> tuple[str, ...]:
    """Names of the parameters that Keras' variables hold, in their order."""
    name_of = {id(value): name for name, value in circuit.live_params().items()}
    return tuple(name_of[id(variable.value)] for variable in variables)


def _check_rules(circuit: Circuit) -> None:
    """Refuses learning rules that replace gradients by counts."""
    for spec in circuit.program.sum_specs:
        rule = spec.rule
        if not rule.is_gradient or rule.hands_back_counts(spec.logspace):
            raise ValueError(
                "GradientAscent: the circuit's learning rule does not compute "
                f"gradients, received {spec.rule!r} in '{spec.parameter}', expected "
                "SumOpGradBackprop. Build the circuit with "
                "sum_op=SumOpGradBackprop(), or fit with method='em'."
            )
