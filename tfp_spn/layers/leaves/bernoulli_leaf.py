"""Bernoulli leaves."""

from __future__ import annotations

from typing import Unpack

import tensorflow as tf

from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.count_leaf import CountLeaf


@register
class BernoulliLeaf(CountLeaf):
    """Bernoulli components over binary variables, 0 or 1.

        log p(x | k) = x * logits[k] - softplus(logits[k])

    Args:
        num_components: Number of components per leaf slot.
        logits_initializer: Initializer of log-odds ``[..., num_components, dims]``.
            Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.BernoulliLeaf(num_components=4)
    """

    is_binary = True

    def __init__(
        self,
        num_components: int,
        logits_initializer: InitializerLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, 1, logits_initializer, **kwargs)

    def log_binomial(self, x: Tensor) -> Tensor:
        """Zero."""
        return tf.zeros_like(x[..., 0, :])

    def value_probs(self, params: Params) -> Tensor:
        """Returns the probabilities of 0 and 1."""
        logits = params["logits"]
        return tf.stack([tf.math.sigmoid(-logits), tf.math.sigmoid(logits)], axis=-1)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["total_count"]
        return config
