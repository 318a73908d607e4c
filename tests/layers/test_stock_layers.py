"""What makes a stack no circuit is refused when it is built, with the layer to use."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import tfp_spn

L = tfp_spn.layers
KINDS = (keras.Sequential, tfp_spn.models.SequentialSumProductNetwork)


def _flat(*between: Any) -> list[Any]:
    product, root = L.DenseProduct(4), L.RootSum(False)
    return [L.FlatToRegions(1), L.NormalLeaf(2), *between, product, root]


def _spatial(*below: Any, above: Any = ()) -> list[Any]:
    product = L.Conv2DProduct([2, 2], [1, 1], [2, 2], depthwise=True)
    return [L.NormalLeaf(2), *below, product, *above, L.RootSum(False)]


CASES = {
    "Dropout": (lambda: _flat(keras.layers.Dropout(0.1)), (4,), "InputDropout"),
    "noise": (lambda: _flat(keras.layers.GaussianDropout(0.1)), (4,), "InputDropout"),
    "SpatialDropout": (
        lambda: _spatial(keras.layers.SpatialDropout2D(0.1)),
        (2, 2, 1),
        "InputDropout",
    ),
    "ZeroPadding2D": (
        lambda: _spatial(keras.layers.ZeroPadding2D(1)),
        (2, 2, 1),
        "padding='full'",
    ),
    "normalization": (
        lambda: _flat(keras.layers.BatchNormalization()),
        (4,),
        "take it out",
    ),
    "activation": (lambda: _flat(keras.layers.ReLU()), (4,), "take it out"),
    "dense": (lambda: _flat(keras.layers.Dense(2)), (4,), "take it out"),
    "pooling": (
        lambda: _spatial(keras.layers.AveragePooling2D(1)),
        (2, 2, 1),
        "take it out",
    ),
    "no regions": (_spatial, (2, 2, 1), "SpatialToRegions"),
    "no regions above many cells": (
        lambda: [L.NormalLeaf(2), L.Local2DSum(2), L.RootSum(False)],
        (4, 4, 1),
        "SpatialToRegions",
    ),
    "no regions above sums": (
        lambda: _spatial(above=[L.Local2DSum(2), L.InputDropout(0.1)]),
        (2, 2, 1),
        "SpatialToRegions",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_at_build(case: str) -> None:
    make, shape, remedy = CASES[case]
    for kind in KINDS:
        with pytest.raises(ValueError, match=remedy):
            kind([keras.Input(shape), *make()])
        late = kind(make())
        with pytest.raises(ValueError, match=remedy):
            late(np.zeros([1, *shape], "float32"))


def test_layers_below_the_leaves_are_free() -> None:
    data = [keras.Input((4,)), keras.layers.Dropout(0.1)]
    assert keras.Sequential([*data, *_flat()]).built
    harmless = keras.layers.Identity(), keras.layers.Activation("linear")
    assert keras.Sequential([keras.Input((4,)), *_flat(*harmless)]).built
    one = [L.FlatToRegions(1), L.NormalLeaf(2), L.DenseSum(2), L.RootSum(False)]
    assert keras.Sequential([keras.Input((1,)), *one]).built


def test_dropout_above_the_root_of_our_models():
    layers = [L.FlatToRegions(1), L.BernoulliLeaf(2), L.ReduceProduct(4)]
    layers = [keras.Input((4,)), *layers, L.RootSum(False)]
    stack, softmax = tfp_spn.models.SequentialSumProductNetwork, keras.layers.Softmax()
    with pytest.raises(ValueError, match="through Dropout .*InputDropout"):
        stack([*layers, keras.layers.Dropout(0.1)])
    assert stack([*layers, softmax]).built
    plain = keras.Sequential(layers)
    above = keras.layers.Dropout(0.1)(plain.outputs[0])
    with pytest.raises(ValueError, match="through Dropout .*InputDropout"):
        tfp_spn.models.SumProductNetwork(plain.inputs, above)
