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
    assert L.PermuteAndPadScopesRandom.set_factors is type(layer).generate_factors
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


def test_order_of_arguments_of_version_0_5():
    em = tfp_spn.optimizers.OnlineExpectationMaximization(0.05, False)
    assert (em.gliding_average, em.accumulate_batches) == (False, 1)
    em = tfp_spn.optimizers.OnlineExpectationMaximization(0.05, 4)
    assert (em.gliding_average, em.accumulate_batches) == (True, 4)
    assert not tfp_spn.layers.NormalizeStandardScore(1e-8, False).is_sample_wise
    assert tfp_spn.layers.NormalizeStandardScore(1e-8, True).is_sample_wise


def test_counts_are_clipped_in_stacks_only():
    layers = tfp_spn.layers
    stack = [
        keras.Input([2]),
        layers.FlatToRegions(1),
        layers.IndicatorLeaf(2),
        layers.DenseSum(1, sum_op=tfp_spn.SumOpEMBackprop()),
        layers.DenseProduct(2),
        layers.RootSum(False, sum_op=tfp_spn.SumOpEMBackprop()),
    ]
    model = tfp_spn.models.SequentialSumProductNetwork(stack)
    weights = model.layers[2].accumulators
    weights.assign(np.full(weights.shape, 0.5))
    em = tfp_spn.optimizers.OnlineExpectationMaximization(0.5, clipnorm=0.1)
    assert type(em).from_config(em.get_config()).clipnorm == 0.1
    model.compile(em, tfp_spn.losses.NegativeLogLikelihood())
    model.fit(np.zeros([4, 2]), verbose=0)
    # Counts of norm sqrt(2), on the first of two children each, become 0.1 / sqrt(2).
    want = [0.25 + 0.05 / np.sqrt(2), 0.25]
    np.testing.assert_allclose(weights.numpy()[0, 0, :, 0], want, rtol=1e-5)
    circuit = tfp_spn.circuits.from_layers(model)
    circuit.compile(tfp_spn.optimizers.OnlineExpectationMaximization(clipnorm=0.1))
    with pytest.raises(ValueError, match="clipnorm.*no gradients"):
        circuit.fit(np.zeros([4, 2]), verbose=0)


def test_fit_says_that_all_is_frozen():
    graph = tfp_spn.region_graphs.fully_factorized(2)
    circuit = tfp_spn.circuits.from_region_graph(
        graph, tfp_spn.layers.BernoulliLeaf(2), 1
    )
    circuit.trainable = False
    with pytest.warns(UserWarning, match="all of whose parameters are frozen") as found:
        tfp_spn.learning.fit(circuit, np.zeros([4, 2]), epochs=0, verbose=False)
    assert found[0].filename == __file__


def test_a_list_of_weights_passes_over_sums_of_one_child():
    circuit = tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(2),
        tfp_spn.layers.BernoulliLeaf(3),
        num_sums=1,
        accumulator_initializer=keras.initializers.Constant([0.2, 0.3, 0.5]),
    )
    weights = np.exp(circuit.live_params()["sums_0"])[0, :, 0]
    np.testing.assert_allclose(weights / weights.sum(), [0.2, 0.3, 0.5], rtol=1e-5)
