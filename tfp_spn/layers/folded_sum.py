"""The sums of one folded step of a compiled region graph, as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn._serialization import initializer_of, register, serialize
from tfp_spn._typing import Tensor
from tfp_spn.config.accumulator_constraints import (
    get_default_linear_accumulators_constraint,
)
from tfp_spn.initializers.dirichlet import Dirichlet
from tfp_spn.initializers.initial_values import initial_weights
from tfp_spn.layers.default_dtype import fill_in_dtype
from tfp_spn.layers.finite_variables import FiniteVariables
from tfp_spn.ops.log_space import safe_log


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
            num_sums]``. Default: `Dirichlet(alpha=0.2)`: sparse, so that the sums of a
            region differ from the start and EM need not tell them apart first.
        logspace_accumulators: Whether the layer stores logarithms of weights, or the
            weights, unnormalised and at least 1e-10.
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
        initializer: Any = None,
        logspace_accumulators: bool = True,
        **kwargs: Any,
    ) -> None:
        fill_in_dtype(kwargs)
        super().__init__(**kwargs)
        self.num_regions = num_regions
        self.num_inputs = num_inputs
        self.num_sums = num_sums
        self.initializer = initializer_of(
            self, "initializer", initializer
        ) or Dirichlet(axis=-2, alpha=0.2)
        self.logspace_accumulators = logspace_accumulators
        self.accumulators = self.add_weight(
            name="accumulators",
            shape=(self.num_regions, self.num_inputs, self.num_sums),
            initializer=self._initial_accumulators,
            constraint=(
                None
                if self.logspace_accumulators
                else get_default_linear_accumulators_constraint()
            ),
            autocast=False,
        )
        self.accumulators.is_log_weight = self.logspace_accumulators
        self.built = True

    def _initial_accumulators(self, shape: Any, dtype: Any = None) -> Tensor:
        label = f'{type(self).__name__} "{self.name}"'
        weights = initial_weights(label, self.initializer, shape, dtype)
        return safe_log(weights) if self.logspace_accumulators else weights

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_regions": self.num_regions,
            "num_inputs": self.num_inputs,
            "num_sums": self.num_sums,
            "initializer": serialize(self.initializer),
            "logspace_accumulators": self.logspace_accumulators,
        }
