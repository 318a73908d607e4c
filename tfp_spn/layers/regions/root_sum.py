"""The sum at the root."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._arguments import a_flag, reads
from tfp_spn._keras_typing import (
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor, TensorLike
from tfp_spn.config import default_root_initializer
from tfp_spn.layers.regions._layout import from_kernel, to_kernel
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.region_layer import Shape
from tfp_spn.layers.regions.stock_layers import check_has_left_grid
from tfp_spn.ops.weighted_sum import checked_weighted_sum
from tfp_spn.sum_ops import SumRule


@register
class RootSum(BaseSum):
    """One sum over the nodes of all decompositions, or its weighted children.

    With ``return_weighted_child_logits=True`` each child is a class (or a component of
    a mixture) and the output is the log joint probability

        log p(x, i) = log x[i] + log w[i],   sum_i w[i] = 1

    whose gradient reaches the children unchanged; otherwise it is ``log p(x)``, the
    log-sum-exp of those. Nodes are ordered by decomposition. Weights ``[1, 1, decomps *
    nodes, 1]`` are normalised in the forward pass; `DenseSum` tells what else differs
    from LibSPN-Keras, and explains the arguments that it shares.

    Args:
        return_weighted_child_logits: Whether to return the weighted children.
        logspace_accumulators: Whether to store logarithms of weights.
        accumulator_initializer: Initializer of the weights. Default: equal weights, a
            uniform prior of classes, unless another default was set by
            `tfp_spn.set_default_accumulator_initializer`.
        trainable: Whether the weights are learned.
        logspace_accumulator_constraint: Constraint of stored logarithms.
        accumulator_regularizer: Regularizer of what is stored.
        linear_accumulator_constraint: Constraint of stored weights.
        sum_op: Learning rule. Of the weighted children every rule makes the same
            gradient but for the scale of linear counts.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, 1, decomps, nodes]``.

    Output shape:
        ``[batch, decomps * nodes]``, or ``[batch, 1]``.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.RootSum(return_weighted_child_logits=False)
        >>> layer.compute_output_shape((None, 1, 2, 10))
        (None, 1)
    """

    @reads(
        return_weighted_child_logits=a_flag(),
        logspace_accumulators=a_flag(),
        trainable=a_flag(),
    )
    def __init__(
        self,
        return_weighted_child_logits: bool = True,
        logspace_accumulators: bool | None = None,
        accumulator_initializer: InitializerLike = None,
        trainable: bool = True,
        logspace_accumulator_constraint: ConstraintLike = None,
        accumulator_regularizer: RegularizerLike = None,
        linear_accumulator_constraint: ConstraintLike = None,
        sum_op: SumRule | None = None,
        **kwargs: Any,
    ) -> None:
        if accumulator_initializer is None:
            accumulator_initializer = default_root_initializer()
        super().__init__(
            logspace_accumulators=logspace_accumulators,
            accumulator_initializer=accumulator_initializer,
            trainable=trainable,
            logspace_accumulator_constraint=logspace_accumulator_constraint,
            accumulator_regularizer=accumulator_regularizer,
            linear_accumulator_constraint=linear_accumulator_constraint,
            sum_op=sum_op,
            **kwargs,
        )
        self.return_weighted_child_logits = return_weighted_child_logits

    def __call__(self, x: TensorLike, *args: object, **kwargs: object) -> Tensor:
        """Calls the layer; a grid of cells is refused, before `build` counts them."""
        check_has_left_grid(self.label, x)
        return super().__call__(x, *args, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Creates the accumulators."""
        self.add_accumulators((1, 1, self._num_children(input_shape), 1))
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """Weighs the children, and sums them if asked to."""
        num_children = self._num_children(x.shape)
        self.check_children((None, 1, 1, num_children))
        log_w = self.log_weights()
        if self.return_weighted_child_logits:
            return tf.reshape(x, [-1, num_children]) + tf.reshape(log_w, [-1])
        children = to_kernel(tf.reshape(x, [-1, 1, 1, num_children]))
        log_y = from_kernel(checked_weighted_sum(children, log_w, self.sum_op))
        return log_y[:, 0, 0, :]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, decomps * nodes]`` or ``[batch, 1]``."""
        num_children = self._num_children(input_shape)
        outputs = num_children if self.return_weighted_child_logits else 1
        return (input_shape[0], outputs)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "return_weighted_child_logits": self.return_weighted_child_logits,
        }

    def _num_children(self, input_shape: Shape) -> int:
        """Returns the number of children, and checks that one scope is left."""
        scopes, decomps, nodes = self.check_input_shape(tuple(input_shape))
        if scopes != 1:
            raise ValueError(
                f"{self.label}: {scopes} scopes are left at the root. Received input "
                f"shape {tuple(input_shape)}, expected [batch, 1, decomps, nodes]. Add "
                f"product layers below whose num_factors multiply to {scopes}, for "
                f"example ReduceProduct(num_factors={scopes})."
            )
        return decomps * nodes
