"""Which TFP families the components of leaf layers are of."""

from __future__ import annotations

import functools
from typing import Any

from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params
from tfp_spn.layers.leaves.binomial_leaf import BinomialLeaf
from tfp_spn.layers.leaves.cauchy_leaf import CauchyLeaf
from tfp_spn.layers.leaves.distribution_leaf import DistributionLeaf
from tfp_spn.layers.leaves.laplace_leaf import LaplaceLeaf
from tfp_spn.layers.leaves.normal_leaf import NormalLeaf


@functools.singledispatch
def component_distribution(leaf: Any, rows: Params) -> tfd.Distribution:
    """Components as a batch ``[...]`` of a TFP family.

    For cdfs and for posteriors of single variables. Register a function for a leaf
    layer of your own, unless it has `value_probs`.

    Args:
        leaf: The leaf layer.
        rows: ``[..., T]`` each: of its `component_tables`.
    """
    raise NotImplementedError(
        f"component_distribution: received a leaf layer {leaf.label}, of which no TFP "
        "family is known. Register one, with "
        "tfp_spn.distributions.leaf_families.component_distribution.register."
    )


@component_distribution.register
def _(leaf: NormalLeaf, rows: Params) -> tfd.Distribution:
    return tfd.Normal(rows["location"][..., 0], rows["scale"][..., 0])


@component_distribution.register
def _(leaf: LaplaceLeaf, rows: Params) -> tfd.Distribution:
    return tfd.Laplace(rows["location"][..., 0], rows["scale"][..., 0])


@component_distribution.register
def _(leaf: CauchyLeaf, rows: Params) -> tfd.Distribution:
    return tfd.Cauchy(rows["location"][..., 0], rows["scale"][..., 0])


@component_distribution.register
def _(leaf: BinomialLeaf, rows: Params) -> tfd.Distribution:
    return tfd.Binomial(float(leaf.total_count), logits=rows["logits"][..., 0])


@component_distribution.register
def _(leaf: DistributionLeaf, rows: Params) -> tfd.Distribution:
    return leaf.distribution_of_rows(rows)
