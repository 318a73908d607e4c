"""Models that are built know shapes that their data have lost."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn

L = tfp_spn.layers
RNG = np.random.default_rng(0)


def _flat(kind: Any) -> Any:
    layers = [
        keras.Input((4,)),
        L.NormalizeStandardScore(),
        L.FlatToRegions(num_decomps=2),
        L.NormalLeaf(2),
        L.PermuteAndPadScopesRandom(factors=[2, 2]),
        L.DenseProduct(2),
        L.DenseSum(3),
        L.ReduceProduct(2),
        L.RootSum(False),
    ]
    return kind(layers)


def _spatial(kind: Any) -> Any:
    layers = [
        keras.Input((2, 2, 1)),
        L.NormalLeaf(2),
        L.Conv2DProduct([2, 2], [1, 1], [2, 2], depthwise=True),
        L.Local2DSum(3),
        L.SpatialToRegions(),
        L.RootSum(False),
    ]
    return kind(layers)


def _dynamic(_: Any) -> Any:
    def net(*layers: Any) -> Any:
        return keras.Sequential(list(layers))

    return tfp_spn.models.DynamicSumProductNetwork(
        net(keras.Input((2,)), L.FlatToRegions(1), L.NormalLeaf(2), L.DenseProduct(2)),
        net(L.DenseSum(2)),
        net(L.DenseSum(2)),
        net(L.RootSum(False)),
    )


def _circuit(_: Any) -> Any:
    return tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(4), L.NormalLeaf(2), num_sums=2
    )


OURS = tfp_spn.models.SequentialSumProductNetwork
CASES = {
    "sequential": (_flat, keras.Sequential, (5, 4), [(None, None)]),
    "spatial": (_spatial, keras.Sequential, (5, 2, 2, 1), [(None, None, None, 1)]),
    "ours": (_flat, OURS, (5, 4), [(None, None), None]),
    "ours, spatial": (_spatial, OURS, (5, 2, 2, 1), [(None,) * 4, None]),
    "dynamic": (_dynamic, None, (5, 3, 2), [(None, None, None), None]),
    "circuit": (_circuit, None, (5, 4), [(None, None), None]),
}

shape_lost = tf.compat.v1.placeholder_with_default


@pytest.mark.parametrize("case", CASES)
def test_unknown_shapes(case: str) -> None:
    make, kind, shape, specs = CASES[case]
    model, x = make(kind), RNG.normal(size=shape).astype("float32")
    want = model(x)
    for spec in specs:
        call = tf.function(model, [tf.TensorSpec(spec, tf.float32)])
        np.testing.assert_allclose(call(x), want, rtol=1e-5)
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            call(np.concatenate([x, x], axis=-2 if case == "spatial" else -1))
    data = tf.data.Dataset.from_tensors((x, np.zeros(5, "float32"))).map(
        lambda x, y: (shape_lost(x, specs[-1]), shape_lost(y, None))
    )
    assert data.element_spec[0] == tf.TensorSpec(specs[-1], tf.float32)
    model.compile("sgd", tfp_spn.losses.NegativeLogLikelihood())
    found = model.evaluate(data, verbose=0)
    np.testing.assert_allclose(found, -np.mean(want), rtol=1e-5)
    model.fit(data, verbose=0)
