"""Keras layers of circuits."""

from tfp_spn.layers.folded_sum import FoldedSum as FoldedSum
from tfp_spn.layers.input_dropout import InputDropout as InputDropout
from tfp_spn.layers.leaves.base_leaf import BaseLeaf as BaseLeaf
from tfp_spn.layers.leaves.bernoulli_leaf import BernoulliLeaf as BernoulliLeaf
from tfp_spn.layers.leaves.binomial_leaf import BinomialLeaf as BinomialLeaf
from tfp_spn.layers.leaves.categorical_leaf import CategoricalLeaf as CategoricalLeaf
from tfp_spn.layers.leaves.cauchy_leaf import CauchyLeaf as CauchyLeaf
from tfp_spn.layers.leaves.discretized_logistic_leaf import (
    DiscretizedLogisticLeaf as DiscretizedLogisticLeaf,
)
from tfp_spn.layers.leaves.distribution_leaf import DistributionLeaf as DistributionLeaf
from tfp_spn.layers.leaves.histogram_leaf import HistogramLeaf as HistogramLeaf
from tfp_spn.layers.leaves.indicator_leaf import IndicatorLeaf as IndicatorLeaf
from tfp_spn.layers.leaves.laplace_leaf import LaplaceLeaf as LaplaceLeaf
from tfp_spn.layers.leaves.location_scale_leaf import (
    LocationScaleLeaf as LocationScaleLeafBase,
)
from tfp_spn.layers.leaves.mixed_leaf import MixedLeaf as MixedLeaf
from tfp_spn.layers.leaves.normal_leaf import NormalLeaf as NormalLeaf
from tfp_spn.layers.leaves.piecewise_linear_leaf import (
    PiecewiseLinearLeaf as PiecewiseLinearLeaf,
)
from tfp_spn.layers.log_dropout import LogDropout as LogDropout
from tfp_spn.layers.normalize_standard_score import NormalizeAxes as NormalizeAxes
from tfp_spn.layers.normalize_standard_score import (
    NormalizeStandardScore as NormalizeStandardScore,
)
from tfp_spn.layers.regions.dense_product import DenseProduct as DenseProduct
from tfp_spn.layers.regions.dense_sum import DenseSum as DenseSum
from tfp_spn.layers.regions.flat_to_regions import FlatToRegions as FlatToRegions
from tfp_spn.layers.regions.permute_and_pad_scopes import (
    PermuteAndPadScopes as PermuteAndPadScopes,
)
from tfp_spn.layers.regions.permute_and_pad_scopes_random import (
    PermuteAndPadScopesRandom as PermuteAndPadScopesRandom,
)
from tfp_spn.layers.regions.reduce_product import ReduceProduct as ReduceProduct
from tfp_spn.layers.regions.root_sum import RootSum as RootSum
from tfp_spn.layers.regions.temporal_dense_product import (
    TemporalDenseProduct as TemporalDenseProduct,
)
from tfp_spn.layers.regions.undecompose import Undecompose as Undecompose
from tfp_spn.layers.spatial.conv2d_product import Conv2DProduct as Conv2DProduct
from tfp_spn.layers.spatial.conv2d_sum import Conv2DSum as Conv2DSum
from tfp_spn.layers.spatial.local2d_sum import Local2DSum as Local2DSum
from tfp_spn.layers.spatial.spatial_to_regions import (
    SpatialToRegions as SpatialToRegions,
)

__all__ = [
    "BaseLeaf",
    "BernoulliLeaf",
    "BinomialLeaf",
    "CategoricalLeaf",
    "CauchyLeaf",
    "Conv2DProduct",
    "Conv2DSum",
    "DenseProduct",
    "DenseSum",
    "DiscretizedLogisticLeaf",
    "DistributionLeaf",
    "FlatToRegions",
    "FoldedSum",
    "HistogramLeaf",
    "IndicatorLeaf",
    "InputDropout",
    "LaplaceLeaf",
    "Local2DSum",
    "LocationScaleLeafBase",
    "LogDropout",
    "MixedLeaf",
    "NormalLeaf",
    "NormalizeAxes",
    "NormalizeStandardScore",
    "PermuteAndPadScopes",
    "PermuteAndPadScopesRandom",
    "PiecewiseLinearLeaf",
    "ReduceProduct",
    "RootSum",
    "SpatialToRegions",
    "TemporalDenseProduct",
    "Undecompose",
]
