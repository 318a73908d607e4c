"""The M-steps of the families of `tfd`."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn.layers.leaves import closed_form_m_steps as closed
from tfp_spn.layers.leaves import newton_m_steps as newton
from tfp_spn.layers.leaves.maximum_likelihood import (
    MaximumLikelihood,
    above_zero,
    rate_of,
    rates,
)

FAMILIES: dict[str, MaximumLikelihood] = {
    "Bernoulli": closed.of_mean(
        closed.probs_of, lambda m, p: closed.from_probs(m, 1 - m)
    ),
    "Beta": newton.beta(),
    "Binomial": closed.of_mean(
        lambda p: p["total_count"] * closed.probs_of(p),
        lambda m, p: closed.from_probs(m, p["total_count"] - m),
        fixed=("total_count",),
    ),
    "Categorical": closed.categorical(),
    "Dirichlet": newton.dirichlet(),
    "Exponential": closed.of_mean(
        lambda p: 1 / rate_of(p), lambda m, p: rates(1 / above_zero(m))
    ),
    "Gamma": newton.gamma(),
    "Geometric": closed.of_mean(
        lambda p: 1 / closed.odds_of(p),
        lambda m, p: closed.from_probs(tf.ones_like(m), m),
    ),
    "HalfNormal": closed.half_normal(),
    "InverseGamma": newton.inverse_gamma(),
    "InverseGaussian": closed.inverse_gaussian(),
    "LogNormal": closed.normal(tf.math.log),
    "LogitNormal": closed.normal(lambda x: tf.math.log(x) - tf.math.log1p(-x)),
    "MultivariateNormalDiag": closed.normal_diag(),
    "MultivariateNormalTriL": closed.normal_tril(),
    "NegativeBinomial": closed.of_mean(
        lambda p: p["total_count"] * closed.odds_of(p),
        lambda m, p: closed.from_probs(m, p["total_count"] + 0 * m),
        fixed=("total_count",),
    ),
    "Normal": closed.normal(),
    "Poisson": closed.of_mean(rate_of, lambda m, p: rates(m)),
    "ProbitBernoulli": closed.of_mean(
        closed.probs_of, lambda m, p: closed.from_probs(m, 1 - m)
    ),
    "StudentT": closed.student_t(),
    "VonMises": newton.von_mises(),
}
"""The families of `tfd` that have an M-step, by name."""
