"""All evaluations of one example, under one name."""

from .learning import EmCounts, TieError, em_counts, em_step, hard_counts, winners
from .maximum import max_product, max_values
from .moments import covariance, expectation, mean, variance
from .passes import (
    batch,
    gradient,
    log_prob,
    log_sum_exp,
    posterior_marginals,
    sample,
    values,
)

__all__ = [
    "EmCounts",
    "TieError",
    "batch",
    "covariance",
    "em_counts",
    "em_step",
    "expectation",
    "gradient",
    "hard_counts",
    "log_prob",
    "log_sum_exp",
    "max_product",
    "max_values",
    "mean",
    "posterior_marginals",
    "sample",
    "values",
    "variance",
    "winners",
]
