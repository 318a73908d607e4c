"""Initializers of sum weights and leaf parameters, beside those of Keras."""

from tfp_spn.initializers.dirichlet import Dirichlet as Dirichlet
from tfp_spn.initializers.epsilon_inverse_fan_in import (
    EpsilonInverseFanIn as EpsilonInverseFanIn,
)
from tfp_spn.initializers.equidistant import Equidistant as Equidistant
from tfp_spn.initializers.k_means import KMeans as KMeans
from tfp_spn.initializers.logspace import Logspace as Logspace
from tfp_spn.initializers.poon_domingos import (
    PoonDomingosMeanOfQuantileSplit as PoonDomingosMeanOfQuantileSplit,
)
from tfp_spn.initializers.poon_domingos import (
    PoonDomingosStddevOfQuantileSplit as PoonDomingosStddevOfQuantileSplit,
)

__all__ = [
    "Dirichlet",
    "EpsilonInverseFanIn",
    "Equidistant",
    "KMeans",
    "Logspace",
    "PoonDomingosMeanOfQuantileSplit",
    "PoonDomingosStddevOfQuantileSplit",
]
