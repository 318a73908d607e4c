"""Categorical leaves."""

from __future__ import annotations

from typing import Unpack

from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import register
from tfp_spn.layers.leaves.finite_leaf import FiniteLeaf
from tfp_spn.layers.leaves.table_leaf import TableLeaf


@register
class CategoricalLeaf(FiniteLeaf, TableLeaf):
    """Categorical components over integers from 0 to ``num_categories - 1``.

        log p(x | k) = log_softmax(logits[:, k])[x]

    Looked up, not multiplied out. Mean and variance are those of the category taken as
    an integer.

    Args:
        num_components: Number of components per leaf slot.
        num_categories: Number of categories.
        logits_initializer: Initializer of logits ``[..., dims, num_categories,
            num_components]``. Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.CategoricalLeaf(num_components=4, num_categories=17)
    """

    looks_up_values = True

    def __init__(
        self,
        num_components: int,
        num_categories: int,
        logits_initializer: InitializerLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            num_components,
            num_categories,
            logits_initializer=logits_initializer,
            **kwargs,
        )
