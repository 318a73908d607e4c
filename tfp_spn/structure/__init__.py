"""Structures learned from data: whole circuits with their parameters."""

from tfp_spn.structure.continuous_mixture import ContinuousMixture as ContinuousMixture
from tfp_spn.structure.continuous_mixture import (
    continuous_mixture as continuous_mixture,
)
from tfp_spn.structure.learn_spn import learn_spn as learn_spn

__all__ = [
    "ContinuousMixture",
    "continuous_mixture",
    "learn_spn",
]
