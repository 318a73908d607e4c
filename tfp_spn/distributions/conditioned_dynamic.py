"""The conditional distribution of sequences given evidence, each example its own."""

from __future__ import annotations

from typing import Any

from tfp_spn.distributions.conditioned import ConditionedSumProductNetwork


class ConditionedDynamicSumProductNetwork(ConditionedSumProductNetwork):
    """A distribution over sequences given some of the values.

        p(x | evidence) = p(x) / p(evidence)   if x agrees with the evidence, else 0

    A forecast, if the evidence is the past; an imputation, if it is what is known.
    Events keep their shape: samples, modes and means repeat the observed values.
    Densities are those of the unobserved coordinates, cdfs those of all: 0 below an
    observed value. Usually made by `DynamicSumProductNetwork.condition`.

    Args:
        distribution: A `DynamicSumProductNetwork`.
        value: Evidence, ``[..., *event_shape]``; unobserved values may be anything.
        observed: bool ``[..., num_steps, num_variables]`` or ``[..., num_steps, 1]``,
            True where `value` counts.
        validate_args: Whether to check at run time that observed values lie in the
            support and are not NaN.
        allow_nan_stats: Whether undefined statistics are NaN; else they raise.
        name: Name of the distribution.

    Evidence of probability zero leaves nothing to condition on: `log_prob` is ``-inf``,
    samples and moments follow the unconditional choices where the evidence says
    nothing.

    Example:
        >>> import numpy as np, tfp_spn
        >>> template = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.fully_factorized(2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2,
        ...     num_classes=3)
        >>> circuit = tfp_spn.circuits.dynamic_from_circuit(template, num_steps=4)
        >>> spn = tfp_spn.distributions.DynamicSumProductNetwork(circuit)
        >>> past = np.array([[True], [True], [False], [False]])
        >>> forecast = spn.condition(np.ones([4, 2], int), observed=past)
        >>> forecast.sample(5, seed=1).shape
        TensorShape([5, 4, 2])
    """

    def posterior_marginals(self) -> Any:
        """`DynamicSumProductNetwork.posterior_marginals` given the evidence."""
        return self._distribution.posterior_marginals(self._value, self._observed)

    def univariate_posteriors(self) -> Any:
        """Not defined for sequences: there are mean, variance and samples."""
        raise NotImplementedError(
            "ConditionedDynamicSumProductNetwork: univariate_posteriors is not there "
            "for sequences. Use mean and variance, or samples."
        )
