"""Keras layers of circuits."""

from tfp_spn.layers.folded_sum import FoldedSum as FoldedSum
from tfp_spn.layers.leaves.bernoulli_leaf import BernoulliLeaf as BernoulliLeaf
from tfp_spn.layers.leaves.binomial_leaf import BinomialLeaf as BinomialLeaf
from tfp_spn.layers.leaves.categorical_leaf import CategoricalLeaf as CategoricalLeaf
from tfp_spn.layers.leaves.cauchy_leaf import CauchyLeaf as CauchyLeaf
from tfp_spn.layers.leaves.indicator_leaf import IndicatorLeaf as IndicatorLeaf
from tfp_spn.layers.leaves.laplace_leaf import LaplaceLeaf as LaplaceLeaf
from tfp_spn.layers.leaves.normal_leaf import NormalLeaf as NormalLeaf

__all__ = [
    "BernoulliLeaf",
    "BinomialLeaf",
    "CategoricalLeaf",
    "CauchyLeaf",
    "FoldedSum",
    "IndicatorLeaf",
    "LaplaceLeaf",
    "NormalLeaf",
]
