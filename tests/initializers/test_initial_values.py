"""Variables have their declared shape, and sums are distributions from the start."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn
from tfp_spn.initializers.initial_values import initial_values, initial_weights

L = tfp_spn.layers
C = keras.initializers.Constant
STATES = (np.arange(16)[:, None] >> np.arange(4)) & 1


def test_constants_take_the_declared_shape() -> None:
    def values(array: object, shape: tuple[int, ...], axis: int) -> list:
        constant = C(np.array(array))
        return initial_values("x", "y", constant, shape, "float32", axis).numpy()

    np.testing.assert_array_equal(values([0, 3], (1, 2, 1), -2), [[[0], [3]]])
    np.testing.assert_array_equal(values([0, 3, 4], (2, 3), -2), [[0, 3, 4]] * 2)
    np.testing.assert_array_equal(
        values(np.arange(6), (1, 2, 3), -2), np.arange(6).reshape(1, 2, 3)
    )
    np.testing.assert_array_equal(
        values([[1], [2]], (3, 2, 2), -2)[2], [[1] * 2, [2] * 2]
    )
    with pytest.raises(
        ValueError, match=r"y.*shape \(3,\), expected shape \(1, 2, 1\)"
    ):
        values([1, 2, 3], (1, 2, 1), -2)
    with pytest.raises(ValueError, match="NaN"):
        values([1, np.nan], (1, 2, 1), -2)


def test_a_list_of_weights_lies_along_the_children() -> None:
    weights = initial_weights("x", C([0.2, 0.3, 0.5]), (2, 3, 3), "float32")
    np.testing.assert_allclose(weights[1, :, 2], [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match="infinite"):
        initial_weights("x", C([0.2, np.inf, 0.5]), (2, 3, 3), "float32")


def test_negative_weights_are_small_and_hopeless_sums_uniform() -> None:
    array = np.array([[-1.0, -1, 0, 0], [-1, 2, 0, 3]])
    weights = initial_weights("x", C(array), (2, 4), "float32").numpy()
    np.testing.assert_allclose(
        weights, [[1e-10, 1e-10, 1, 0], [1e-10, 2, 1, 3]], rtol=1e-6
    )


def test_weights_of_a_root_in_a_list() -> None:
    root = L.RootSum(False, accumulator_initializer=C([0.25, 0.15, 0.35, 0.25]))
    log_p = root(tf.math.log([[[[0.1, 0.2, 0.3, 0.4]]]]))
    assert root.accumulators.shape == (1, 1, 4, 1)
    np.testing.assert_allclose(np.exp(log_p), [[0.26]], rtol=1e-5)


@pytest.mark.parametrize(
    "leaf",
    [
        lambda c: L.NormalLeaf(2, location_initializer=c),
        lambda c: L.NormalLeaf(2, scale_initializer=c, scale_trainable=True),
        lambda c: L.NormalLeaf(2, location_initializer=c, use_accumulators=True),
        lambda c: L.BinomialLeaf(2, total_count=3, logits_initializer=c),
        lambda c: L.DistributionLeaf("Gamma", 2, initializers={"concentration": c}),
    ],
)
def test_leaves_take_a_value_for_each_component(leaf: object) -> None:
    built = leaf(C([1.0, 3.0]))  # type: ignore[operator]
    built.build((None, 3, 1, 1))
    for variable in built.weights:
        assert variable.shape == np.shape(variable.value) == (1, 3, 1, 2, 1)
    by_component = [
        np.unique(np.asarray(v)[..., k, :]) for v in built.weights for k in (0, 1)
    ]
    assert any(
        len(a) == len(b) == 1 and a != b
        for a, b in zip(by_component[::2], by_component[1::2], strict=True)
    )
    with pytest.raises(ValueError, match="do not fit the variable"):
        leaf(C([1.0, 3.0, 5.0])).build((None, 3, 1, 1))  # type: ignore[operator]


@pytest.mark.parametrize(
    "rule", [tfp_spn.SumOpGradBackprop(), tfp_spn.SumOpEMBackprop()]
)
def test_circuits_are_normalised_whatever_the_initializer(rule: object) -> None:
    for initializer in ("random_normal", "zeros", C(-1.0), "random_uniform"):
        keras.utils.set_random_seed(1)
        circuit = tfp_spn.circuits.from_region_graph(
            tfp_spn.region_graphs.random_binary_trees(4, 2, 2, seed=0),
            L.BernoulliLeaf(2),
            num_sums=2,
            sum_op=rule,
            accumulator_initializer=initializer,
        )
        stack = keras.Sequential(
            [
                keras.Input((4,)),
                L.FlatToRegions(1),
                L.BernoulliLeaf(2),
                L.DenseProduct(4),
                L.DenseSum(2, sum_op=rule, accumulator_initializer=initializer),
                L.RootSum(False, sum_op=rule, accumulator_initializer=initializer),
            ]
        )
        for model in (circuit, stack):
            log_p = np.asarray(model(STATES), np.float64)
            np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-5)


def test_variables_larger_than_memory_are_refused():
    layer = tfp_spn.layers.DenseSum(2**31 - 1)
    with pytest.raises(ValueError, match="does not fit into memory.*GiB of this mach"):
        layer.build((None, 2**10, 1, 2**10))


def test_weights_too_large_to_be_added_keep_their_proportions() -> None:
    weights = initial_weights("x", C([[3e38], [1.5e38]]), (2, 2), "float32").numpy()
    np.testing.assert_allclose(weights, [[1, 1], [0.5, 0.5]])
