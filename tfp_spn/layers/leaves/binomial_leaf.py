"""Binomial leaves."""

from __future__ import annotations

from tfp_spn._keras_bridge import Distribution, family_named
from tfp_spn._serialization import register
from tfp_spn._typing import Params
from tfp_spn.layers.leaves.count_leaf import CountLeaf


@register
class BinomialLeaf(CountLeaf):
    """Binomial components over counts from 0 to `total_count`.

        log p(x | k) = log C(n, x) + x * logits[k] - n * softplus(logits[k])

    With `total_count=255` it is a common choice for grey values.

    Args:
        num_components: Number of components per leaf slot.
        total_count: Number of trials ``n``.
        logits_initializer: Initializer of log-odds ``[..., num_components, dims]``.
            Default: normal of standard deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, dims]``.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import tfp_spn
        >>> leaf = tfp_spn.layers.BinomialLeaf(num_components=4, total_count=16)
    """

    def component_distribution(self, rows: Params) -> Distribution:
        """Returns components as a batch of `tfd.Binomial`."""
        logits = rows["logits"][..., 0]
        return family_named("Binomial")(float(self.total_count), logits=logits)
