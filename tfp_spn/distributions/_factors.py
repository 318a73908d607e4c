"""What has a closed form only where all variables are independent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Tensor
from tfp_spn.distributions.mixed_univariate import MixedUnivariate

if TYPE_CHECKING:
    from tfp_spn.distributions.sum_product_network import SumProductNetwork


def factors(distribution: SumProductNetwork, query: str) -> tfd.Distribution:
    """The variables of a circuit without mixtures: batch shape ``[..., V]``.

    Raises:
        NotImplementedError: If some sum has several children.
    """
    if not distribution.is_mode_exact():
        raise NotImplementedError(
            f"SumProductNetwork: {query} has a closed form only if no sum has more "
            "than one child. Estimate it from samples and their log_prob."
        )
    variables = distribution.univariate_posteriors()
    if isinstance(variables, MixedUnivariate):
        parts = [_only_component(part) for part in variables.distributions]
        return MixedUnivariate(parts, variables.places)
    return _only_component(variables)


def _only_component(variables: tfd.Distribution) -> tfd.Distribution:
    """Returns the component of a mixture that has only one."""
    if isinstance(variables, tfd.MixtureSameFamily):
        return variables.components_distribution[..., 0]
    return variables


def entropy(distribution: SumProductNetwork) -> Tensor:
    """``-E log p(x)``, of the shape of the batch."""
    return tf.reduce_sum(factors(distribution, "entropy").entropy(), axis=-1)


def kl_divergence(one: SumProductNetwork, other: SumProductNetwork) -> Tensor:
    """``E log p(x) - log q(x)`` under the former, of the shape of the batch."""
    if one.event_shape != other.event_shape:
        raise ValueError(
            "kl_divergence: received SumProductNetworks of event shapes "
            f"{tuple(one.event_shape)} and {tuple(other.event_shape)}, expected equal "
            "ones. Use marginals over the same variables."
        )
    p, q = (factors(d, "kl_divergence") for d in (one, other))
    if isinstance(p, MixedUnivariate) and isinstance(q, MixedUnivariate):
        if p.places != q.places:
            raise NotImplementedError(
                "kl_divergence: received SumProductNetworks whose MixedLeaf has "
                f"families at {p.places} and {q.places}, expected them at the same "
                "variables. Estimate it from samples and their log_prob."
            )
        pairs = zip(p.distributions, q.distributions, strict=True)
        parts = [tf.reduce_sum(tfd.kl_divergence(*pair), axis=-1) for pair in pairs]
        return tf.add_n(parts)
    try:
        return tf.reduce_sum(tfd.kl_divergence(p, q), axis=-1)
    except NotImplementedError:
        leaves = [d.program.leaf.label for d in (one, other)]
        raise NotImplementedError(
            f"kl_divergence: received SumProductNetworks of {leaves[0]} and "
            f"{leaves[1]}, between which no closed form is known. Estimate it from "
            "samples and their log_prob."
        ) from None
