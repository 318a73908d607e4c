"""The sums of one folded step of a compiled region graph, as a Keras layer."""

from __future__ import annotations

from typing import Unpack

import keras

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import deserialize, initializer_of, register, serialize
from tfp_spn._typing import Config
from tfp_spn.layers.default_dtype import fill_in_dtype
from tfp_spn.layers.finite_variables import FiniteVariables
from tfp_spn.layers.sum_weights import SumWeights
from tfp_spn.sum_ops import SumOpGradBackprop, SumRule


@register
class FoldedSum(FiniteVariables, keras.layers.Layer):
    """Owns the weights of the sums of all regions of one level and width.

    Circuits evaluate these through pure functions of the variable; the layer exists so
    that weights are named, saved, summarised and frozen like those of any other layer.

    Args:
        num_regions: Number of regions.
        num_inputs: Units that each region's sums range over.
        num_sums: Sums per region.
        initializer: Initializer of the *weights* ``[num_regions, num_inputs,
            num_sums]``. Default: `tfp_spn.get_default_accumulator_initializer()`.
        logspace_accumulators: Whether the layer stores logarithms of weights, or the
            weights, unnormalised and at least 1e-10.
        sum_op: The learning rule. Default: `SumOpGradBackprop()`.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    @reads(
        num_regions=a_count(),
        num_inputs=a_count(),
        num_sums=a_count(),
        logspace_accumulators=a_flag(),
    )
    def __init__(
        self,
        num_regions: int,
        num_inputs: int,
        num_sums: int,
        initializer: InitializerLike = None,
        logspace_accumulators: bool = True,
        sum_op: SumRule | Config | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        fill_in_dtype(kwargs)
        super().__init__(**kwargs)
        self.num_regions = num_regions
        self.num_inputs = num_inputs
        self.num_sums = num_sums
        rule = deserialize(self, "sum_op", sum_op, SumRule) or SumOpGradBackprop()
        initializer = initializer_of(self, "initializer", initializer)
        self.sum_weights = SumWeights.of_circuit(
            rule, initializer, logspace_accumulators
        )
        label = f'{type(self).__name__} "{self.name}"'
        shape = (self.num_regions, self.num_inputs, self.num_sums)
        self.accumulators = self.sum_weights.create(self, label, shape)
        self.built = True

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_regions": self.num_regions,
            "num_inputs": self.num_inputs,
            "num_sums": self.num_sums,
            "initializer": serialize(self.sum_weights.accumulator_initializer),
            "logspace_accumulators": self.sum_weights.logspace_accumulators,
            "sum_op": serialize(self.sum_weights.sum_op),
        }


def sums_of_model(
    model: keras.Model,
    weights: SumWeights,
    shapes: dict[str, tuple[int, int, int]],
    dtype: str,
) -> list[FoldedSum]:
    """Makes the sums of a circuit, as parts of it.

    Args:
        model: The circuit.
        weights: How all of its weights are stored and learned.
        shapes: ``[regions, I, O]`` by name of the parameter.
        dtype: Dtype of the weights.
    """
    sums = [
        FoldedSum(
            *shape,
            initializer=weights.of_layer(number).accumulator_initializer,
            logspace_accumulators=weights.logspace_accumulators,
            sum_op=weights.sum_op,
            dtype=dtype,
            name=name,
        )
        for number, (name, shape) in enumerate(shapes.items())
    ]
    for layer in sums:  # Keras' lists are invisible to tf.train.Checkpoint
        model._track_trackable(layer, layer.name)  # noqa: SLF001
    return sums
