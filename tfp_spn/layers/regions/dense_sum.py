"""Weighted sums over the nodes of each region."""

from __future__ import annotations

from typing import Unpack

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn._keras_typing import (
    ConstraintLike,
    InitializerLike,
    LayerOptions,
    RegularizerLike,
)
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor
from tfp_spn.layers.regions._layout import from_kernel, to_kernel
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.region_layer import Shape
from tfp_spn.ops.weighted_sum import checked_weighted_sum
from tfp_spn.sum_ops import SumRule


@register
class DenseSum(BaseSum):
    """`num_sums` weighted sums (mixtures) over all nodes of each region.

        log y[o] = log sum_i exp(log x[i] + log w[i, o]),   sum_i w[i, o] = 1

    Weights ``[scopes, decomps, nodes, num_sums]`` are stored as unnormalised
    *accumulators*. In contrast to LibSPN-Keras they are normalised in the forward pass
    rather than projected after each step, the gradient of linear accumulators under
    `SumOpGradBackprop` is the true one, impossible regions (all children ``-inf``)
    never give NaN, float64 works, and configs hold every argument.

    Args:
        num_sums: Number of sums per region.
        logspace_accumulators: Whether to store logarithms of weights. Default: what
            `sum_op` says, which is `True` for `SumOpGradBackprop` and `False`, the
            only possibility, for the rules of EM.
        accumulator_initializer: Initializer of the *weights* (their logarithms are
            taken if need be). Default: `tfp_spn.get_default_accumulator_initializer()`,
            which is `Dirichlet(alpha=0.2)` unless another was set.
        sum_op: Learning rule. Default: `tfp_spn.get_default_sum_op()`, which is
            `SumOpGradBackprop()` unless another was set.
        accumulator_regularizer: Regularizer of what is stored.
        logspace_accumulator_constraint: Constraint of stored logarithms.
        linear_accumulator_constraint: Constraint of stored weights. Default: at least
            1e-10, so that no weight is lost for ever.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]``.

    Output shape:
        ``[batch, scopes, decomps, num_sums]``.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.DenseSum(num_sums=4)
        >>> layer.compute_output_shape((None, 8, 1, 16))
        (None, 8, 1, 4)
    """

    keeps_scopes = True  # of cells, where it stands among spatial layers

    @reads(num_sums=a_count(), logspace_accumulators=a_flag())
    def __init__(
        self,
        num_sums: int,
        logspace_accumulators: bool | None = None,
        accumulator_initializer: InitializerLike = None,
        sum_op: SumRule | None = None,
        accumulator_regularizer: RegularizerLike = None,
        logspace_accumulator_constraint: ConstraintLike = None,
        linear_accumulator_constraint: ConstraintLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            logspace_accumulators=logspace_accumulators,
            accumulator_initializer=accumulator_initializer,
            sum_op=sum_op,
            accumulator_regularizer=accumulator_regularizer,
            logspace_accumulator_constraint=logspace_accumulator_constraint,
            linear_accumulator_constraint=linear_accumulator_constraint,
            **kwargs,
        )
        self.num_sums = num_sums

    def build(self, input_shape: Shape) -> None:
        """Creates the accumulators."""
        shape = self.check_input_shape(input_shape)
        self.add_accumulators((*shape, self.num_sums))
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """Sums."""
        self.check_children(x.shape)
        log_y = checked_weighted_sum(to_kernel(x), self.log_weights(), self.sum_op)
        return from_kernel(log_y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, scopes, decomps, num_sums]``."""
        scopes, decomps, _ = self.check_input_shape(input_shape)
        return (input_shape[0], scopes, decomps, self.num_sums)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_sums": self.num_sums}
