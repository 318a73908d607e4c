"""Region trees as stacks: the scopes of every region, and the distribution."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfp_spn
from tests.layers.stacks import binary_states
from tfp_spn import RegionNode, RegionVariable, layers, region_graph_to_dense_spn
from tfp_spn.circuits import from_layers
from tfp_spn.distributions import SumProductNetwork

V = [RegionVariable(i) for i in range(7)]
TREES = {
    "two": RegionNode(V[:2]),
    "chain": RegionNode([V[0], RegionNode([V[1], RegionNode([V[2], V[3]])])]),
    "balanced": RegionNode([RegionNode([V[2], V[0]]), RegionNode([V[1], V[3]])]),
    "uneven": RegionNode(
        [RegionNode([V[4], V[1], V[2]]), V[0], RegionNode([RegionNode([V[3]]), V[5]])]
    ),
}


def build(tree, leaf=layers.BernoulliLeaf, num_sums=(3, 2, 2), **arguments):
    arguments.setdefault("return_weighted_child_logits", False)
    return region_graph_to_dense_spn(tree, leaf(2), num_sums, **arguments)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
@pytest.mark.parametrize("product_first", [True, False])
def test_sums_to_one_over_all_states(tree, product_first):
    model = build(tree, product_first=product_first)
    states = binary_states(len(tree.scope))
    assert np.exp(model(states)).sum() == pytest.approx(1, abs=1e-5)
    first = model.layers[3]
    assert isinstance(first, layers.DenseProduct) == product_first


def scopes_of_regions(tree):
    yield tree.scope
    for child in tree.children:
        yield from scopes_of_regions(child)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_regions_are_those_of_the_tree(tree):
    """Follows the scopes through permutation and products, layer by layer."""
    model = build(tree)
    table = model.layers[2].table[0]
    regions = [frozenset([v]) if v >= 0 else frozenset() for v in table]
    seen = set(regions)
    for layer in model.layers[3:]:
        if isinstance(layer, layers.DenseProduct):
            count = layer.num_factors
            regions = [
                frozenset().union(*regions[i : i + count])
                for i in range(0, len(regions), count)
            ]
            seen |= set(regions)
    assert regions == [tree.scope]
    assert seen - {frozenset()} == set(scopes_of_regions(tree))


def test_layers_of_the_tutorial_tree():
    model = build(TREES["uneven"], num_classes=4, return_weighted_child_logits=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "FlatToRegions",
        "BernoulliLeaf",
        "PermuteAndPadScopes",
        "DenseProduct",
        "DenseSum",
        "DenseProduct",
        "DenseSum",
        "DenseProduct",
        "DenseSum",
        "RootSum",
    ]
    assert [layer.num_factors for layer in model.layers[3:9:2]] == [1, 3, 3]
    assert model.output_shape == (None, 4)
    assert SumProductNetwork(model).num_classes == 4


def test_arguments_reach_every_sum():
    model = build(
        TREES["balanced"],
        sum_op=tfp_spn.SumOpEMBackprop(),
        accumulator_initializer="ones",
        linear_accumulator_constraint=tfp_spn.constraints.Clip(0.5),
        logspace_accumulators=False,
    )
    sums = [layer for layer in model.layers if hasattr(layer, "sum_op")]
    assert len(sums) == 2
    for layer in sums:
        assert layer.sum_op == tfp_spn.SumOpEMBackprop()
        assert layer.linear_accumulator_constraint.min == 0.5
        np.testing.assert_array_equal(layer.accumulators, 1)
    bare = build(TREES["balanced"], with_root=False)
    assert not isinstance(bare.layers[-1], layers.RootSum)


def test_vectors_float64_and_saving(tmp_path):
    leaf = layers.NormalLeaf(2, dtype="float64")
    model = region_graph_to_dense_spn(TREES["chain"], leaf, [2, 2], False, num_dims=3)
    x = np.random.default_rng(0).normal(size=(5, 4, 3))
    assert model(x).dtype == "float64"
    np.testing.assert_allclose(from_layers(model)(x), model(x), rtol=1e-9)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


WRONG = {
    "variable": (lambda: build(V[0]), TypeError, "root of type RegionVariable, expec"),
    "graph": (
        lambda: build(TREES["two"].to_region_graph()),
        TypeError,
        "root of type RegionGraph, .*use tfp_spn.circuits.from_region_graph",
    ),
    "too few sums": (
        lambda: build(TREES["chain"], num_sums=[2]),
        ValueError,
        r"too few num_sums_iterable, expected 2 numbers.*\[8, 8\]",
    ),
    "gap": (lambda: build(RegionNode([V[0], V[2]])), ValueError, "variable"),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
