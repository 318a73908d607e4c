"""Every public callable with arguments that are right, all of them tiny."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

import tfp_spn
from tests.cases import CASES, GRAPH
from tfp_spn import (
    circuits,
    constraints,
    distributions,
    initializers,
    layers,
    learning,
    metrics,
    models,
    region_graphs,
    structure,
    sum_ops,
    testing,
    visualization,
)

SHAPE = (4, 4)


class Entry(NamedTuple):
    """A callable, and arguments that it needs."""

    function: Callable[..., Any]
    arguments: dict[str, Any]


@functools.cache
def circuit() -> Any:
    return CASES["normal"]().circuit


@functools.cache
def classes() -> Any:
    return CASES["classes"]()


def entries() -> dict[str, Entry]:
    """By name."""
    x = np.zeros([6, 4], np.float32)
    images = np.zeros([2, 4, 4], np.float32)
    tree = tfp_spn.RegionNode([tfp_spn.RegionVariable(n) for n in range(2)])
    leaf = functools.partial(layers.NormalLeaf, 2)
    stack = keras.Sequential([keras.Input([4]), layers.FlatToRegions(1), leaf()])
    spatial = keras.Sequential(
        [keras.Input([*SHAPE, 1]), leaf(), layers.Conv2DProduct(2, 1, 2)]
    )
    networks = {
        name: stack
        for name in (
            "template_network",
            "interface_network_t0",
            "interface_network_t_minus_1",
            "top_network",
        )
    }
    pairs: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (
            circuits.from_region_graph,
            {"region_graph": GRAPH, "leaf": leaf(), "num_sums": 2},
        ),
        (
            circuits.RegionGraphCircuit,
            {"region_graph": GRAPH, "leaf": leaf(), "num_sums": 2},
        ),
        (circuits.LayeredCircuit, {"stack": stack.layers}),
        (circuits.dynamic_from_circuit, {"template": circuit(), "num_steps": 3}),
        (circuits.DynamicCircuit, {"template": circuit(), "num_steps": 3}),
        (
            circuits.image_circuit,
            {"shape": (2, 2), "num_leaf_units": 2, "num_sum_units": 2},
        ),
        (circuits.chain_params, {"initial": [0.5, 0.5], "transition": np.eye(2)}),
        (constraints.Clip, {"min": 0.0}),
        (constraints.GreaterEqualEpsilon, {}),
        (constraints.GreaterEqualEpsilonNormalized, {}),
        (constraints.LogNormalized, {}),
        (distributions.DistributionLayer, {"make_distribution": leaf}),
        (initializers.Dirichlet, {}),
        (initializers.EpsilonInverseFanIn, {}),
        (initializers.Equidistant, {}),
        (initializers.KMeans, {}),
        (initializers.PoonDomingosMeanOfQuantileSplit, {}),
        (initializers.PoonDomingosStddevOfQuantileSplit, {}),
        (layers.BaseLeaf, {"num_components": 2}),
        (layers.BernoulliLeaf, {"num_components": 2}),
        (layers.BinomialLeaf, {"num_components": 2, "total_count": 2}),
        (layers.CategoricalLeaf, {"num_components": 2, "num_categories": 2}),
        (layers.CauchyLeaf, {"num_components": 2}),
        (layers.Conv2DProduct, {"strides": 2, "dilations": 1, "kernel_size": 2}),
        (layers.Conv2DSum, {"num_sums": 2}),
        (layers.DenseProduct, {"num_factors": 2}),
        (layers.DenseSum, {"num_sums": 2}),
        (
            layers.DiscretizedLogisticLeaf,
            {"num_components": 2, "num_categories": 2},
        ),
        (layers.DistributionLeaf, {"make_distribution": "Normal", "num_components": 2}),
        (layers.FlatToRegions, {"num_decomps": 2}),
        (layers.FoldedSum, {"num_regions": 1, "num_inputs": 2, "num_sums": 1}),
        (layers.HistogramLeaf, {"num_components": 2, "edges": [0.0, 1.0]}),
        (layers.IndicatorLeaf, {"num_components": 2}),
        (layers.InputDropout, {"rate": 0.5}),
        (layers.LaplaceLeaf, {"num_components": 2}),
        (layers.Local2DSum, {"num_sums": 2}),
        (layers.LocationScaleLeafBase, {"num_components": 2}),
        (layers.LogDropout, {"rate": 0.5}),
        (layers.NormalLeaf, {"num_components": 2}),
        (layers.NormalizeStandardScore, {}),
        (layers.PermuteAndPadScopesRandom, {}),
        (layers.PiecewiseLinearLeaf, {"num_components": 2, "knots": [0.0, 1.0]}),
        (layers.ReduceProduct, {"num_factors": 2}),
        (layers.RootSum, {}),
        (layers.Undecompose, {}),
        (learning.AcceleratedExpectationMaximization, {}),
        (learning.AnemoneExpectationMaximization, {}),
        (learning.AnnealedExpectationMaximization, {}),
        (learning.AveragedParameters, {}),
        (
            learning.Batches,
            {"program": circuit().program, "data": learning.Data(x), "batch_size": 2},
        ),
        (learning.DataSoftening, {}),
        (learning.ExpectationMaximization, {"circuit": circuit()}),
        (learning.ExpectedCounts, {}),
        (learning.GradientAscent, {"circuit": circuit()}),
        (learning.HybridGenerativeDiscriminative, {"generative_term": "joint"}),
        (learning.InputDropout, {}),
        (learning.LogLikelihood, {"circuit": circuit()}),
        (learning.MinibatchExpectationMaximization, {"circuit": circuit()}),
        (learning.Momentum, {}),
        (learning.OnlineExpectationMaximization, {}),
        (learning.SharpnessAwareExpectationMaximization, {}),
        (learning.SumDropout, {}),
        (learning.SumEntropy, {}),
        (learning.fit, {"spn": circuit(), "x": x, "verbose": False}),
        (learning.grow, {"circuit": circuit()}),
        (learning.prune, {"circuit": circuit(), "x": x, "fraction": 0.5}),
        (learning.initialize_leaves, {"spn": circuit(), "x": x}),
        (learning.distill, {"spn": circuit(), "x": x}),
        (metrics.BitsPerDimension, {"num_dimensions": 2}),
        (models.DynamicSumProductNetwork, networks),
        (models.SequentialSumProductNetwork, {}),
        (models.SumProductNetwork, {}),
        (
            models.region_graph_to_dense_spn,
            {
                "region_graph_root": tree,
                "leaf_node": leaf(),
                "num_sums_iterable": [],
                "return_weighted_child_logits": False,
            },
        ),
        (region_graphs.RegionVariable, {"index": 0}),
        (GRAPH.parents, {"region": 0}),
        (region_graphs.chow_liu_tree, {"data": x}),
        (region_graphs.fully_factorized, {"num_variables": 4}),
        (region_graphs.hidden_chow_liu_tree, {"data": x}),
        (region_graphs.linear_tree, {"num_variables": 4}),
        (region_graphs.mixture_of_hidden_chow_liu_trees, {"data": x}),
        (region_graphs.mutual_information, {"data": x}),
        (region_graphs.poon_domingos, {"shape": SHAPE, "delta": 2}),
        (region_graphs.quad_graph, {"shape": SHAPE}),
        (region_graphs.quad_tree, {"shape": SHAPE}),
        (
            region_graphs.random_binary_trees,
            {"num_variables": 4, "depth": 1, "num_repetitions": 1},
        ),
        (region_graphs.random_quad_tree, {"shape": SHAPE}),
        (structure.chow_liu_trees, {"x": x}),
        (structure.continuous_mixture, {"x": x}),
        (structure.cutset_network, {"x": x}),
        (structure.learn, {"x": x}),
        (structure.learn_spn, {"x": x}),
        (structure.random_partition_circuit, {"x": x}),
        (structure.split_table, {"x": x}),
        (sum_ops.SumOpGradBackprop, {}),
        (sum_ops.SumOpHardEMBackprop, {}),
        (sum_ops.SumOpSampleBackprop, {}),
        (sum_ops.SumOpUnweightedHardEMBackprop, {}),
        (
            tfp_spn.export_saved_model,
            {
                "distribution": CASES["normal"]().distribution,
                "path": tempfile.gettempdir(),
            },
        ),
        (testing.check_leaf, {"leaf": leaf()}),
        (visualization.plot_circuit, {"circuit": circuit()}),
        (
            visualization.plot_class_posteriors,
            {"images": images, "probs": np.ones([2, 1])},
        ),
        (visualization.plot_completions, {"original": images, "observed": images == 0}),
        (visualization.plot_images, {"images": images}),
        (visualization.plot_learning_curve, {"history": learning.History([1.0])}),
        (visualization.plot_region_graph, {"region_graph": GRAPH}),
        (visualization.plot_spatial_scopes, {"model": spatial}),
        (tfp_spn.visualize_dense_spn, {"dense_spn": circuit()}),
    ]
    # By module, too: layers and perturbations are both called InputDropout.
    return {f"{f.__module__}.{f.__name__}": Entry(f, given) for f, given in pairs}
