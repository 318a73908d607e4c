"""Old weights mean what they meant: all values are computed as LibSPN-Keras does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import tfp_spn

L = tfp_spn.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=[5, 3]).astype("float32")
SHAPE = (1, 3, 1, 2, 1)
LOCATION = RNG.normal(size=SHAPE)
SCALE = RNG.uniform(0.5, 2, SHAPE)
WEIGHTS = np.array([0.3, 0.7]).reshape(1, 1, 2, 1)
FAMILIES = {
    L.NormalLeaf: stats.norm,
    L.CauchyLeaf: stats.cauchy,
    L.LaplaceLeaf: stats.laplace,
}


def convert(model: Any, old: list[np.ndarray]) -> None:
    model.set_weights(tfp_spn.from_libspn_keras_weights(model, old))


def right(leaf: type, location: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Log-density of a mixture of two components with the given parameters."""
    location, scale = location[:, :, 0, :, 0], scale[:, :, 0, :, 0]
    parts = FAMILIES[leaf](location, scale).logpdf(X[:, :, np.newaxis]).sum(1)
    return logsumexp(parts + np.log(WEIGHTS.ravel()), axis=-1)


def mixture(leaf: Any, **arguments: Any) -> Any:
    root = L.RootSum(False, **arguments)
    layers = [L.FlatToRegions(1), leaf, L.ReduceProduct(3), root]
    return keras.Sequential([keras.Input((3,)), *layers])


@pytest.mark.parametrize("leaf", FAMILIES)
def test_scales(leaf: Any) -> None:
    for trainable, stored in ((False, SCALE), (True, np.log(np.expm1(SCALE)))):
        model = mixture(leaf(2, scale_trainable=trainable))
        convert(model, [LOCATION, stored, np.log(WEIGHTS)])
        found = model(X)[:, 0]
        np.testing.assert_allclose(found, right(leaf, LOCATION, SCALE), rtol=1e-5)


@pytest.mark.parametrize("leaf", FAMILIES)
def test_accumulated_moments_are_of_a_normal(leaf: Any) -> None:
    em = {"sum_op": tfp_spn.SumOpEMBackprop()}
    first, second = RNG.uniform(1, 3, SHAPE), RNG.uniform(1, 3, SHAPE)
    model = mixture(leaf(2, use_accumulators=True, scale_trainable=True), **em)
    moments = [first, LOCATION * first, second, (SCALE**2 + LOCATION**2) * second]
    convert(model, [*moments, 5 * WEIGHTS])
    found = model(X)[:, 0]
    np.testing.assert_allclose(found, right(leaf, LOCATION, SCALE), rtol=1e-5)
    model = mixture(leaf(2, use_accumulators=True), **em)
    convert(model, [first, LOCATION * first, SCALE, WEIGHTS])
    found = model(X)[:, 0]
    np.testing.assert_allclose(found, right(leaf, LOCATION, SCALE), rtol=1e-5)


def test_what_is_trained_comes_first() -> None:
    leaf = L.NormalLeaf(2, location_trainable=False, scale_trainable=True)
    model = mixture(leaf)
    convert(model, [np.log(np.expm1(SCALE)), LOCATION, np.log(WEIGHTS)])
    want = right(L.NormalLeaf, LOCATION, SCALE)
    np.testing.assert_allclose(model(X)[:, 0], want, rtol=1e-5)
    leaf.trainable = False  # then they stand in the order of their creation
    convert(model, [LOCATION, np.log(np.expm1(SCALE)), np.log(WEIGHTS)])
    np.testing.assert_allclose(model(X)[:, 0], want, rtol=1e-5)


def test_permutations_and_normalisation() -> None:
    layers = [
        L.NormalizeStandardScore(axes="variable_wise"),
        L.FlatToRegions(1),
        L.NormalLeaf(2),
        L.PermuteAndPadScopesRandom(factors=[2, 2]),
        L.ReduceProduct(2),
        L.DenseSum(1),
        L.ReduceProduct(2),
        L.RootSum(False),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    mean, stddev = RNG.normal(size=3), RNG.uniform(1, 2, 3)
    pairs = np.log(np.array([[0.2, 0.8], [0.6, 0.4]])).reshape(2, 1, 2, 1)
    table = np.array([[2, 0, -1, 1]])
    root = np.zeros([1, 1, 1, 1])
    convert(model, [mean, stddev, LOCATION, SCALE, table, pairs, root])
    z = (X - mean) / (stddev + 1e-8)
    location, scale = LOCATION[0, :, 0, :, 0], SCALE[0, :, 0, :, 0]
    leaves = stats.norm(location, scale).logpdf(z[:, :, np.newaxis])
    first = logsumexp(leaves[:, 2] + leaves[:, 0] + pairs[0, 0, :, 0], axis=-1)
    second = logsumexp(leaves[:, 1] + pairs[1, 0, :, 0], axis=-1)
    np.testing.assert_allclose(model(X)[:, 0], first + second, rtol=1e-5)


def test_spatial_layers() -> None:
    layers = [
        L.NormalLeaf(2),
        L.Conv2DProduct([1, 1], [1, 1], [1, 2], num_channels=3),
        L.Local2DSum(2),
        L.Conv2DProduct([1, 1], [1, 1], [2, 1], depthwise=True),
        L.Conv2DSum(2),
        L.SpatialToRegions(),
        L.RootSum(False),
    ]
    model = keras.Sequential([keras.Input((2, 2, 1)), *layers])
    x = RNG.normal(size=[4, 2, 2, 1]).astype("float32")
    location, scale = RNG.normal(size=[1, 2, 2, 2, 1]), np.ones([1, 2, 2, 2, 1])
    chosen = np.array([[0, 1, 1], [1, 0, 1]])  # channels of both cells
    kernel = np.zeros([1, 2, 2, 3])
    for cell in range(2):
        kernel[0, cell, chosen[cell], np.arange(3)] = 1
    local = np.log(RNG.dirichlet(np.ones(3), [2, 1, 2])).swapaxes(-1, -2)
    shared = np.log(RNG.dirichlet(np.ones(2), [1, 1, 2])).swapaxes(-1, -2)
    root = np.log([0.4, 0.6]).reshape(1, 1, 2, 1)
    old = [location, scale, kernel, local, np.ones([2, 1, 1, 1]), shared, root]
    convert(model, old)
    leaves = stats.norm(location[..., 0]).logpdf(x)  # [4, 2, 2, 2]
    rows = leaves[:, :, 0, chosen[0]] + leaves[:, :, 1, chosen[1]]
    rows = logsumexp(rows[..., np.newaxis] + local[:, 0], axis=-2)
    both = rows.sum(1)
    sums = logsumexp(both[..., np.newaxis] + shared[0, 0], axis=-2)
    want = logsumexp(sums + root.ravel(), axis=-1)
    np.testing.assert_allclose(model(x)[:, 0], want, rtol=1e-5)


def test_networks_of_a_dynamic_model() -> None:
    def net(*layers: Any) -> Any:
        return keras.Sequential(list(layers))

    model = tfp_spn.models.DynamicSumProductNetwork(
        net(keras.Input((1,)), L.FlatToRegions(1), L.NormalLeaf(2)),
        net(L.DenseSum(2)),
        net(L.DenseSum(2)),
        net(L.RootSum(False)),
    )

    def weights(*shape: int) -> np.ndarray:
        return np.log(RNG.dirichlet(np.ones(shape[0]), shape[1])).T.reshape(
            1, 1, *shape
        )

    location = np.array([-1.0, 2.0])
    leaf = [location.reshape(1, 1, 1, 2, 1), np.ones([1, 1, 1, 2, 1])]
    top, current, before = weights(4, 1), weights(2, 2), weights(4, 2)
    convert(model, [*leaf, top, current, before])  # in the order of LibSPN-Keras
    x = RNG.normal(size=[3, 2, 1]).astype("float32")
    log_i = np.zeros([3, 2])
    for t in range(2):
        template = stats.norm(location).logpdf(x[:, t])
        c = logsumexp(template[:, :, np.newaxis] + current[0, 0], axis=1)
        product = (log_i[:, :, np.newaxis] + c[:, np.newaxis]).reshape(3, 4)
        log_i = logsumexp(product[:, :, np.newaxis] + before[0, 0], axis=1)
    want = logsumexp(product + top.ravel(), axis=-1)
    np.testing.assert_allclose(model(x)[:, 0], want, rtol=1e-5)


def test_weights_of_another_model_are_refused() -> None:
    model = mixture(L.NormalLeaf(2))
    old = [LOCATION, SCALE, np.log(WEIGHTS)]
    em = mixture(L.NormalLeaf(2), sum_op=tfp_spn.SumOpEMBackprop())
    for made, given, message in (
        (model, old[:2], r"RootSum .* needs an array for 'accumulators'.*none"),
        (model, [*old, WEIGHTS], r"1 arrays are left over, received 4"),
        (model, [LOCATION[:, :2], *old[1:]], r"shape \(1, 2, 1, 2, 1\), expected"),
        (model, [LOCATION, 1e-4 * SCALE, old[2]], "smaller min_scale"),
        (em, old, "received logarithms"),
    ):
        with pytest.raises(ValueError, match=message):
            tfp_spn.from_libspn_keras_weights(made, given)


def test_numbers_that_mean_nothing_are_refused() -> None:
    model = mixture(L.NormalLeaf(2))
    old = [LOCATION, SCALE, np.log(WEIGHTS)]
    wanted = tfp_spn.from_libspn_keras_weights(model, old)
    named = {f"arr_{n}": value for n, value in enumerate(old)}  # as np.load reads them
    for found in (tfp_spn.from_libspn_keras_weights(model, named), wanted):
        np.testing.assert_array_equal(found[0], wanted[0])
    order = L.PermuteAndPadScopesRandom([2, 2])
    layers = [L.FlatToRegions(1), L.NormalLeaf(2), order, L.ReduceProduct(2)]
    permuted = keras.Sequential([keras.Input((3,)), *layers])
    image = keras.Sequential([keras.Input((2, 2, 1)), L.NormalLeaf(2)])
    image.add(L.Conv2DProduct([1, 1], [1, 1], [2, 2], num_channels=3))
    ones = np.ones([1, 2, 2, 2, 1])
    unbuilt = keras.Sequential([L.RootSum()])
    cases: list[Any] = [
        (model, [np.nan * LOCATION, *old[1:]], ValueError, "'location'.*NaN"),
        (model, [*old[:2], np.nan * WEIGHTS], ValueError, "'accumulators'.*NaN"),
        (model, [*old[:2], WEIGHTS], ValueError, "received numbers that sum to one"),
        (model, "old.npz", TypeError, "arrays of numbers, received 'old.npz'"),
        (model, None, TypeError, "arrays of numbers, received None"),
        (model, [LOCATION.astype(str), *old[1:]], TypeError, "arrays of numbers"),
        (unbuilt, old, TypeError, "built keras.Model.*keras.Input"),
        (3, old, TypeError, "built keras.Model, received int"),
        (image, [ones, ones, np.ones([2, 2, 2, 3])], ValueError, "one channel of each"),
    ]
    for table in ([-1, 0, 0, 2], [-1, 0, 1, 7], [-1, 0, 1.5, 2]):
        given = [LOCATION, SCALE, np.array([table])]
        cases.append((permuted, given, ValueError, "each scope from 0 to 2 once"))
    for made, given, error, message in cases:
        with pytest.raises(error, match=message):
            tfp_spn.from_libspn_keras_weights(made, given)
