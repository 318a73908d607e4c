"""Shapes, configs, values and errors of the layers over regions."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.stacks import RULES
from tfp_spn import constraints, layers, sum_ops

# name: (layer, input shape, output shape)
CASES = {
    "flat": (lambda: layers.FlatToRegions(3), (5, 4), (5, 4, 3, 1)),
    "flat of vectors": (lambda: layers.FlatToRegions(2), (5, 4, 2), (5, 4, 2, 2)),
    "permute": (
        lambda: layers.PermuteAndPadScopes([[1, 0, 2, -1], [-1, 2, 1, 0]]),
        (5, 3, 2, 2),
        (5, 4, 2, 2),
    ),
    "permute fewer": (
        lambda: layers.PermuteAndPadScopes([[1, 0]]),
        (5, 3, 1, 2),
        (5, 2, 1, 2),
    ),
    "permute randomly": (
        lambda: layers.PermuteAndPadScopesRandom([2, 3], seed=1),
        (5, 5, 2, 2),
        (5, 6, 2, 2),
    ),
    "dense product": (lambda: layers.DenseProduct(3), (5, 6, 2, 2), (5, 2, 2, 8)),
    "product of one": (lambda: layers.DenseProduct(1), (5, 6, 2, 2), (5, 6, 2, 2)),
    "reduce product": (lambda: layers.ReduceProduct(3), (5, 6, 2, 2), (5, 2, 2, 2)),
    "dense sum": (lambda: layers.DenseSum(4), (5, 6, 2, 3), (5, 6, 2, 4)),
    "dense sum by em": (
        lambda: layers.DenseSum(
            4,
            accumulator_initializer=keras.initializers.RandomUniform(0.5, 1),
            sum_op=sum_ops.SumOpHardEMBackprop(seed=5),
            accumulator_regularizer=keras.regularizers.L2(0.1),
            linear_accumulator_constraint=constraints.GreaterEqualEpsilon(1e-3),
        ),
        (5, 6, 2, 3),
        (5, 6, 2, 4),
    ),
    "undecompose": (lambda: layers.Undecompose(2), (5, 6, 4, 3), (5, 6, 2, 6)),
    "root logits": (lambda: layers.RootSum(), (5, 1, 2, 3), (5, 6)),
    "root": (
        lambda: layers.RootSum(False, sum_op=sum_ops.SumOpEMBackprop()),
        (5, 1, 2, 3),
        (5, 1),
    ),
    "frozen root": (
        lambda: layers.RootSum(
            False,
            trainable=False,
            logspace_accumulators=True,
            logspace_accumulator_constraint=keras.constraints.MaxNorm(1.0),
        ),
        (5, 1, 1, 3),
        (5, 1),
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@each_case
@pytest.mark.parametrize("batch", [5, 0])
def test_output_has_the_computed_shape(case, batch):
    make, shape, expected = case
    layer = make()
    symbolic = layer(keras.Input(shape[1:]))
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *expected[1:])
    assert symbolic.shape == (None, *expected[1:])
    assert layer(tf.zeros([batch, *shape[1:]])).shape == (batch, *expected[1:])


@each_case
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dtype_is_the_layers_own_in_mixed_precision_too(case, dtype):
    make, shape, _ = case
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = make()
        config = {**layer.get_config(), "dtype": dtype}
        layer = type(layer).from_config(config)
        value = layer(tf.ones(shape, dtype))
        symbolic = layer(keras.Input(shape[1:], dtype=dtype))
    finally:
        keras.config.set_dtype_policy("float32")
    assert value.dtype == dtype
    assert symbolic.dtype == dtype
    assert make().compute_dtype == "float32"


@each_case
def test_config_round_trip(case):
    make, shape, _ = case
    layer = make()
    config = layer.get_config()
    loaded = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert loaded.get_config() == config
    x = tf.random.normal(shape)
    layer(x)
    loaded(x)
    loaded.set_weights(layer.get_weights())
    np.testing.assert_array_equal(loaded(x), layer(x))
    assert loaded.trainable == layer.trainable


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rules_are_registered(rule):
    described = keras.saving.serialize_keras_object(rule)
    assert described["registered_name"] == f"tfp_spn>{type(rule).__name__}"
    assert keras.saving.deserialize_keras_object(described) == rule


def test_flat_to_regions_keeps_integers_and_float64():
    layer = layers.FlatToRegions(2)
    assert layer(np.zeros([1, 3], np.int32)).dtype == tf.int32
    value = 1 + 1e-12
    assert (
        layer(np.array([[value]], np.float64)).numpy().ravel().tolist() == [value] * 2
    )


def test_padding_is_one_and_decompositions_stay_apart():
    x = np.arange(6.0).reshape(1, 3, 2, 1) + 1  # scope 0: 1, 2; scope 1: 3, 4; ...
    layer = layers.PermuteAndPadScopes([[2, -1, 0, 1], [0, 1, -1, 2]])
    y = layer(x).numpy()[0, :, :, 0]
    assert y.T.tolist() == [[5, 0, 1, 3], [2, 4, 0, 6]]
    assert layer.table.tolist() == layer.permutations


def test_padding_has_no_gradient_even_at_impossible_values():
    x = tf.constant([[[[-np.inf]], [[0.0]]]])
    layer = layers.PermuteAndPadScopes([[-1, 1]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    np.testing.assert_array_equal(tf.squeeze(y), [0, 0])
    np.testing.assert_array_equal(tf.squeeze(tape.gradient(y, x)), [0, 1])


def test_first_factor_of_a_dense_product_is_the_slowest_digit():
    x = np.array([[10.0, 20.0], [1.0, 2.0], [50.0, 60.0], [5.0, 6.0]])
    y = layers.DenseProduct(2)(x.reshape(1, 4, 1, 2)).numpy()[0, :, 0]
    assert y.tolist() == [[11, 12, 21, 22], [55, 56, 65, 66]]


def test_reduce_product_groups_adjacent_scopes():
    x = np.array([[10.0, 20.0], [1.0, 2.0], [50.0, 60.0], [5.0, 6.0]])
    y = layers.ReduceProduct(2)(x.reshape(1, 4, 1, 2)).numpy()[0, :, 0]
    assert y.tolist() == [[11, 22], [55, 66]]


def test_root_logits_sum_to_the_root():
    logits, root = layers.RootSum(), layers.RootSum(False)
    x = tf.random.normal([5, 1, 2, 3])
    logits(x), root(x)
    root.set_weights(logits.get_weights())
    expected = tf.reduce_logsumexp(logits(x), -1, keepdims=True)
    np.testing.assert_allclose(root(x), expected, rtol=1e-6, atol=1e-6)
    assert logits.accumulators.shape == (1, 1, 6, 1)


def test_constraint_keeps_linear_accumulators_positive():
    layer = layers.DenseSum(2, sum_op=sum_ops.SumOpEMBackprop())
    layer.build((None, 1, 1, 3))
    optimizer = keras.optimizers.SGD(100.0)
    optimizer.apply([tf.ones([1, 1, 3, 2])], layer.trainable_variables)
    np.testing.assert_allclose(layer.accumulators, 1e-10)


def test_logspace_is_taken_from_the_rule():
    grad = sum_ops.SumOpGradBackprop
    assert layers.DenseSum(2).logspace_accumulators
    assert layers.RootSum(sum_op=grad(True)).logspace_accumulators
    assert not layers.DenseSum(2, sum_op=grad(False)).logspace_accumulators
    assert not layers.DenseSum(2, False).logspace_accumulators
    assert layers.DenseSum(2, True, sum_op=grad(False)).logspace_accumulators
    assert not layers.DenseSum(2, sum_op=RULES["em"]).logspace_accumulators


def test_permutations_given_later():
    layer = layers.PermuteAndPadScopes()
    layer.permutations = [[1, 0]]
    assert layer(tf.reshape([1.0, 2.0], [1, 2, 1, 1])).numpy().ravel().tolist() == [
        2,
        1,
    ]
    with pytest.raises(ValueError, match=r"after the layer was built.*Make a new"):
        layer.permutations = [[0, 1]]


# name: (what fails, error, regex)
WRONG = {
    "num_factors": (
        lambda: layers.DenseProduct(0),
        ValueError,
        "DenseProduct: `num_factors` must be at least 1. Received num_factors=0",
    ),
    "num_sums": (
        lambda: layers.DenseSum(2.5),
        TypeError,
        "`num_sums`.* 2.5 of",
    ),
    "num_decomps": (
        lambda: layers.FlatToRegions(True),
        TypeError,
        "`num_decomps`.*bool",
    ),
    "flat rank": (
        lambda: layers.FlatToRegions(1).build((None, 28, 28, 1)),
        ValueError,
        r"received input shape \(None, 28, 28, 1\), expected \[batch, num_var.*Reshape",
    ),
    "rank": (
        lambda: layers.DenseSum(2).build((None, 4, 2)),
        ValueError,
        r"received input shape \(None, 4, 2\), expected \[batch, scopes.*FlatToRegions",
    ),
    "unknown scopes": (
        lambda: layers.ReduceProduct(2).build((None, None, 1, 2)),
        ValueError,
        r"expected .* with known scopes",
    ),
    "group": (
        lambda: layers.DenseProduct(4, name="p1").build((None, 6, 1, 8)),
        ValueError,
        r'DenseProduct "p1": 6 scopes cannot be grouped by num_factors=4. Received '
        r"input shape \(None, 6, 1, 8\), expected a multiple of 4.*=2 or 3 or 6",
    ),
    "group of one": (
        lambda: layers.ReduceProduct(2).build((None, 1, 1, 8)),
        ValueError,
        r"1 scopes cannot be grouped.*remove this layer",
    ),
    "scopes at root": (
        lambda: layers.RootSum(name="r").build((None, 3, 1, 8)),
        ValueError,
        r'RootSum "r": 3 scopes are left at the root.*expected \[batch, 1,.*Add prod',
    ),
    "log em": (
        lambda: layers.DenseSum(2, True, sum_op=sum_ops.SumOpEMBackprop()),
        ValueError,
        r"logspace_accumulators=True with sum_op=SumOpEMBackprop\(\), expected linear",
    ),
    "log em at root": (
        lambda: layers.RootSum(True, True, sum_op=sum_ops.SumOpHardEMBackprop()),
        ValueError,
        r"expected linear accumulators",
    ),
    "rule": (
        lambda: layers.DenseSum(2, sum_op="em"),
        TypeError,
        r"received sum_op='em', expected a learning rule. Pass, for example",
    ),
    "epsilon": (
        lambda: constraints.GreaterEqualEpsilon(0),
        ValueError,
        "must be a finite number above 0. Received epsilon=0",
    ),
    "no permutations": (
        lambda: layers.PermuteAndPadScopes().build((None, 4, 1, 2)),
        ValueError,
        r"received no permutations, expected.*Pass permutations=.*or set",
    ),
    "permutation rank": (
        lambda: layers.PermuteAndPadScopes([0, 1]),
        ValueError,
        r"shape \(2,\) and dtype int64, expected integers \[decomps, scopes_out\]",
    ),
    "repeated scope": (
        lambda: layers.PermuteAndPadScopes([[0, 1], [1, 1]]),
        ValueError,
        r"decomposition 1 holds the scopes \[1\] more than once.*Remove",
    ),
    "permutation range": (
        lambda: layers.PermuteAndPadScopes([[0, 4]]).build((None, 4, 1, 2)),
        ValueError,
        r"entries from 0 to 4 for an input of 4 scopes; expected entries from -1",
    ),
    "permutation decomps": (
        lambda: layers.PermuteAndPadScopes([[0, 1]]).build((None, 2, 3, 2)),
        ValueError,
        r"permutations of 1 decompositions for an input of 3.*num_decomps=1",
    ),
    "no factors": (
        lambda: layers.PermuteAndPadScopesRandom().build((None, 4, 1, 2)),
        ValueError,
        r"received no factors, expected.*Pass factors=\[2, 2, ...\] or set",
    ),
    "not enough factors": (
        lambda: layers.PermuteAndPadScopesRandom([2, 3]).build((None, 7, 1, 2)),
        ValueError,
        r"not enough factors. Received factors=\[2, 3\], whose product is 6, for 7 sco",
    ),
    "too many factors": (
        lambda: layers.PermuteAndPadScopesRandom([2, 4, 2]).build((None, 7, 1, 2)),
        ValueError,
        r"too many factors. Received factors=\[2, 4, 2\], of which \[2, 4\] already mul"
        r"tiply to 8, for 7 scopes",
    ),
    "bad factor": (
        lambda: layers.PermuteAndPadScopesRandom([2, 0]),
        ValueError,
        r"`factors\[1\]` must be at least 1",
    ),
}


@pytest.mark.parametrize(("call", "error", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(call, error, regex):
    with pytest.raises(error) as caught:
        call()
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)
