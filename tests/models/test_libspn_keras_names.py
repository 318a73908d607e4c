"""Names and orders of arguments that programs for LibSPN-Keras use."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn

L = tfp_spn.layers


def test_names() -> None:
    assert issubclass(tfp_spn.SumOpEMBackprop, tfp_spn.sum_ops.SumOpBase)
    assert issubclass(L.NormalLeaf, L.LocationScaleLeafBase)
    assert issubclass(L.IndicatorLeaf, L.BaseLeaf)
    region = tfp_spn.region
    assert region.RegionNode is tfp_spn.RegionNode
    assert region.region_graph_to_dense_spn is tfp_spn.region_graph_to_dense_spn
    leaves = [region.RegionVariable(0), region.RegionVariable(0)]
    with pytest.raises(region.OverlappingScopesException, match="overlap"):
        region.RegionNode(leaves)
    pytest.importorskip("plotly")
    visualize = tfp_spn.visualize.visualize_dense_spn
    assert tfp_spn.visualize_dense_spn is visualize


def test_logspace_initializer() -> None:
    initializer = tfp_spn.logspace_wrapper_initializer(keras.initializers.Constant(2.0))
    assert isinstance(initializer, tfp_spn.initializers.Logspace)
    again = tfp_spn.initializers.Logspace.from_config(initializer.get_config())
    for made in (initializer, again):
        np.testing.assert_allclose(
            made((2, 3)), np.full((2, 3), np.log(2.0)), rtol=1e-6
        )


def test_factors_can_be_set_later() -> None:
    layer = L.PermuteAndPadScopesRandom()
    layer.generate_factors([2, 2])
    assert layer.compute_output_shape((None, 3, 1, 2)) == (None, 4, 1, 2)


def test_positional_orders() -> None:
    loc, scale = keras.initializers.Zeros(), keras.initializers.Constant(2.0)
    counts = keras.initializers.Constant(3.0)
    for leaf in (L.CauchyLeaf, L.LaplaceLeaf):
        made = leaf(2, loc, False, scale, counts, True)
        assert made.use_accumulators
        assert made.accumulator_initializer is counts
        again = leaf.from_config(made.get_config())
        assert again.use_accumulators
        assert not again.location_trainable
        assert list(inspect.signature(leaf).parameters)[6] == "scale_trainable"


def test_sample_prob_as_a_tensor() -> None:
    for rule in (tfp_spn.SumOpHardEMBackprop, tfp_spn.SumOpUnweightedHardEMBackprop):
        assert rule(sample_prob=tf.constant(0.25)).sample_prob == 0.25
        with pytest.raises(ValueError, match="sample_prob"):
            rule(sample_prob=tf.constant(1.5))
