"""Initializers of sum weights and leaf parameters, beside those of Keras."""

from tfp_spn.initializers.dirichlet import Dirichlet as Dirichlet

__all__ = ["Dirichlet"]
