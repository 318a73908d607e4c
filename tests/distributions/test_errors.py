"""Every error a user can meet: what was received, what is expected, how to mend it."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, GRAPH, stacked_params
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork

InvalidArgument = tf.errors.InvalidArgumentError
NORMAL, CLASSES = CASES["normal"](), CASES["classes"]()
VECTORS = CASES["vectors"]()
SPN, X = NORMAL.distribution, NORMAL.x
CHECKED = CLASSES.distribution.copy(validate_args=True)
MASK = [True, False, False, True]
NAN = np.array([np.nan, 0.0, 0.0, 1.0], np.float32)
PARAMS = NORMAL.circuit.live_params()


def build(graph=GRAPH, leaf=None, num_sums=2, **arguments):
    leaf = layers.NormalLeaf(2) if leaf is None else leaf
    return circuits.from_region_graph(graph, leaf, num_sums, **arguments)


def without(name):
    return {k: v for k, v in PARAMS.items() if k != name}


def two_batches():
    params = stacked_params(NORMAL.circuit, (2,))
    params["sums_0"] = stacked_params(NORMAL.circuit, (3,))["sums_0"]
    return params


def fit(x):
    circuit = build()
    circuit.compile("sgd", keras.losses.MeanSquaredError())
    circuit.fit(x, np.zeros([len(x), 1]), verbose=0)


# name: (callable, exception, regex)
WRONG = {
    # Values.
    "event of another size": (
        lambda: SPN.log_prob(np.zeros([3, 5])),
        ValueError,
        r"value of shape \(3, 5\), expected \[\.\.\., 4\].*Reshape or transpose",
    ),
    "event of too small rank": (
        lambda: VECTORS.distribution.log_prob(np.zeros([4])),
        ValueError,
        r"value of shape \(4,\), expected \[\.\.\., 4, 2\].*Reshape",
    ),
    "scalar value": (
        lambda: SPN.log_prob(0.0),
        ValueError,
        r"value of shape \(\), expected \[\.\.\., 4\]",
    ),
    "value over all variables in a marginal": (
        lambda: SPN.marginal([0, 1]).log_prob(X),
        ValueError,
        r"value of shape \(4, 4\), expected \[\.\.\., 2\]",
    ),
    "strings": (
        lambda: SPN.log_prob(np.array([["a"] * 4])),
        TypeError,
        r"value must hold numbers, received dtype <U1, expected floats, .*Encode",
    ),
    "string tensor": (
        lambda: SPN.log_prob(tf.constant(["a"] * 4)),
        TypeError,
        r"value of dtype string, expected real numbers or integers. (Cast|Convert)",
    ),
    "complex": (
        lambda: SPN.log_prob(np.zeros([4], complex)),
        TypeError,
        r"received dtype complex128, expected floats",
    ),
    "complex tensor": (
        lambda: SPN.prob(tf.zeros([4], tf.complex64)),
        TypeError,
        r"value of dtype complex64, expected real numbers",
    ),
    "ragged value": (
        lambda: SPN.log_prob([[0.0, 1.0], [0.0]]),
        ValueError,
        r"value that is no array, expected equally many numbers in each example",
    ),
    "samples do not broadcast with the batch": (
        lambda: CASES["batched"]().distribution.log_prob(np.zeros([3, 4], np.float32)),
        ValueError,
        r"leading axes \(3,\), expected.*batch shape \(2,\).*it to \[\.\.\., 1, 4\]",
    ),
    # Masks.
    "mask of another shape": (
        lambda: SPN.log_prob(X, observed=[True, False]),
        ValueError,
        r"observed of shape \(2,\), expected one that broadcasts to \[4, 4\]",
    ),
    "mask of another batch": (
        lambda: SPN.condition(X, np.ones([3, 4], bool)),
        ValueError,
        r"observed of shape \(3, 4\), expected.*\[4, 4\].*mask for all examples",
    ),
    "scalar mask": (
        lambda: SPN.condition(X, True),
        ValueError,
        r"observed of shape \(\), expected one that broadcasts to \[4, 4\]",
    ),
    "mask of numbers": (
        lambda: SPN.log_prob(X, observed=np.ones([4])),
        TypeError,
        r"observed of dtype float64, expected bool.*observed=mask > 0",
    ),
    "mask per dimension": (
        lambda: VECTORS.distribution.log_prob(
            VECTORS.x, observed=np.ones([4, 4, 2], bool)
        ),
        ValueError,
        r"observed of shape \(4, 4, 2\), expected one that broadcasts to \[4, 4\]",
    ),
    "no mask": (
        lambda: SPN.condition(X, None),
        TypeError,
        r"received observed=None, expected a bool mask.*observed=~np.isnan\(x\)",
    ),
    # Values checked at run time.
    "NaN": (
        lambda: SPN.copy(validate_args=True).log_prob(NAN),
        InvalidArgument,
        r"NaN in an observed variable, expected numbers.*observed=~np.isnan\(x\)",
    ),
    "NaN observed": (
        lambda: SPN.condition(NAN, MASK, validate_args=True),
        InvalidArgument,
        r"NaN in an observed variable, expected numbers.*observed=~np.isnan\(x\)",
    ),
    "category too large": (
        lambda: CHECKED.log_prob([0, 1, 3, 0]),
        InvalidArgument,
        r"outside the support of CategoricalLeaf, expected integers from 0 to 2",
    ),
    "negative category": (
        lambda: CHECKED.log_prob([0, 1, -1, 0]),
        InvalidArgument,
        r"outside the support of CategoricalLeaf",
    ),
    "category between integers": (
        lambda: CHECKED.log_prob([0, 0.5, 1, 0]),
        InvalidArgument,
        r"outside the support of CategoricalLeaf",
    ),
    "evidence out of range": (
        lambda: CHECKED.condition([9, 0, 0, 0], MASK),
        InvalidArgument,
        r"outside the support of CategoricalLeaf",
    ),
    "infinite": (
        lambda: SPN.copy(validate_args=True).log_prob([np.inf, 0.0, 0.0, 0.0]),
        InvalidArgument,
        r"outside the support of NormalLeaf, expected finite numbers",
    ),
    # Variables.
    "no variables": (
        lambda: SPN.marginal([]),
        ValueError,
        r"variables=\[\], expected a non-empty list of indices between 0 and 3",
    ),
    "one variable, no list": (
        lambda: SPN.marginal(2),
        ValueError,
        r"variables=2, expected a non-empty list.*such as \[0, 2\]",
    ),
    "repeated variables": (
        lambda: SPN.marginal([1, 2, 1]),
        ValueError,
        r"variables \[1\] more than once, expected distinct.*Drop the repetitions",
    ),
    "variables out of range": (
        lambda: SPN.marginal([0, 4, -1]),
        ValueError,
        r"variables \[4, -1\], expected indices between 0 and 3",
    ),
    "variables of a marginal out of range": (
        lambda: SPN.marginal([3, 1]).marginal([2]),
        ValueError,
        r"variables \[2\], expected indices between 0 and 1",
    ),
    "fractional variables": (
        lambda: SPN.marginal([0.0, 1.0]),
        TypeError,
        r"variables of type float64, expected integers. Convert",
    ),
    "boolean variables": (
        lambda: SPN.marginal(MASK),
        TypeError,
        r"variables of type bool, expected integers.*np.flatnonzero\(mask\)",
    ),
    "constructor's variables out of range": (
        lambda: SumProductNetwork(NORMAL.circuit, variables_of_event=[0, 7]),
        ValueError,
        r"variables \[7\], expected indices between 0 and 3",
    ),
    # Circuit and parameters.
    "not a circuit": (
        lambda: SumProductNetwork("circuit"),
        TypeError,
        r"circuit must be what .*from_region_graph returns.*received str",
    ),
    "region graph for a circuit": (
        lambda: SumProductNetwork(GRAPH),
        TypeError,
        r"circuit must be what .*from_region_graph returns.*received RegionGraph",
    ),
    "missing parameter": (
        lambda: SumProductNetwork(NORMAL.circuit, without("sums_1")),
        ValueError,
        r"missing \['sums_1'\], unknown \[\].*Start from circuit.live_params\(\)",
    ),
    "unknown parameter": (
        lambda: SumProductNetwork(NORMAL.circuit, {**PARAMS, "weights": 0.0}),
        ValueError,
        r"missing \[\], unknown \['weights'\].*Start from circuit.live_params\(\)",
    ),
    "params no dict": (
        lambda: SumProductNetwork(NORMAL.circuit, list(PARAMS.values())),
        TypeError,
        r"received params of type list, expected a dict.*circuit.live_params\(\)",
    ),
    "parameter of too small rank": (
        lambda: SumProductNetwork(NORMAL.circuit, {**PARAMS, "sums_0": tf.zeros([3])}),
        ValueError,
        r"parameter 'sums_0' of shape \(3,\), expected \[\.\.\., .*leading axes",
    ),
    "parameter of another shape": (
        lambda: SumProductNetwork(
            NORMAL.circuit, {**PARAMS, "sums_0": tf.zeros([2, 3, 7])}
        ),
        ValueError,
        r"parameter 'sums_0' of shape \(2, 3, 7\), expected \[\.\.\., .*leading axes",
    ),
    "parameter of another dtype": (
        lambda: SumProductNetwork(
            NORMAL.circuit, {**PARAMS, "sums_0": tf.cast(PARAMS["sums_0"], "float64")}
        ),
        TypeError,
        r"parameter 'sums_0' of dtype float64, expected float32.*Cast",
    ),
    "batches that do not broadcast": (
        lambda: SumProductNetwork(NORMAL.circuit, two_batches()),
        ValueError,
        r"batch shapes.*'leaf_location': \[2\].*'sums_0': \[3\].*expected.*broadcast",
    ),
    # Construction of circuits.
    "nested lists for a graph": (
        lambda: build([[0, 1], [2, 3]]),
        TypeError,
        r"region_graph must be a .*RegionGraph, received list.*from_nested_lists",
    ),
    "leaf class": (
        lambda: build(leaf=layers.NormalLeaf),
        TypeError,
        r"leaf must be a leaf layer, for example .*received type",
    ),
    "leaf of Keras": (
        lambda: build(leaf=keras.layers.Dense(2)),
        TypeError,
        r"leaf must be a leaf layer.*received Dense",
    ),
    "no sums": (
        lambda: build(num_sums=0),
        ValueError,
        r"`num_sums` must be at least 1. Received num_sums=0. Pass a",
    ),
    "fractional sums": (
        lambda: build(num_sums=1.5),
        TypeError,
        r"`num_sums` must be an integer. Received 1.5 of type",
    ),
    "sums no number": (
        lambda: build(num_sums="many"),
        TypeError,
        r"`num_sums` must be an integer. Received 'many' of type",
    ),
    "no classes": (
        lambda: build(num_classes=0),
        ValueError,
        r"`num_classes` must be at least 1. Received num_classes=0. Pass a",
    ),
    "no dimensions": (
        lambda: build(num_dims=0),
        ValueError,
        r"`num_dims` must be at least 1. Received num_dims=0. Pass a",
    ),
    "unknown product": (
        lambda: build(sum_product="foo"),
        ValueError,
        r'sum_product must be "cp", "cp-t" or "tucker", received \'foo\'',
    ),
    "rule no rule": (
        lambda: build(sum_op="em"),
        TypeError,
        r"sum_op must be a learning rule.*SumOpEMBackprop\(\), received",
    ),
    "rule class": (
        lambda: build(sum_op=type(NORMAL.circuit.program.sum_specs[0].rule)),
        TypeError,
        r"sum_op must be a learning rule.*SumOpEMBackprop\(\), received",
    ),
    "leaf used twice": (
        lambda: build(leaf=NORMAL.circuit.leaf),
        ValueError,
        r'leaf layer "normal_leaf.*" already has parameters.*Give each circuit',
    ),
    "unequal widths": (
        lambda: build(
            region_graphs.from_nested_lists([0, [1, 2]]), num_sums=3, leaf_sums=False
        ),
        ValueError,
        r"num_components=2 and num_sums=3. Make them equal, or use leaf_sums=True",
    ),
    "unequal widths, products first": (
        lambda: build(
            region_graphs.from_nested_lists([0, [1, 2]]),
            num_sums=3,
            sum_product="cp-t",
        ),
        ValueError,
        r"or 'cp-t'.*num_components=2 and num_sums=3",
    ),
    "unknown leaf sums": (
        lambda: build(leaf_sums="each"),
        ValueError,
        r"leaf_sums must be True, False, None or \"per-partition\", received 'each'",
    ),
    "sums where there are none": (
        lambda: build(sum_product="cp-t", leaf_sums=True),
        ValueError,
        r"\"cp-t\" has no sums over leaves, received leaf_sums=True",
    ),
    "unknown class prior": (
        lambda: build(class_prior="fixed"),
        ValueError,
        r"class_prior='fixed', expected \"learned\", \"uniform\" or prob",
    ),
    "class prior of other classes": (
        lambda: build(num_classes=3, class_prior=[0.5, 0.5]),
        ValueError,
        r"received shape \(2,\), expected \[3\]. Pass one probability",
    ),
    "class prior that does not add up": (
        lambda: build(num_classes=2, class_prior=[0.5, 0.6]),
        ValueError,
        r"no distribution, received class_prior=\[0.5, 0.6\].*Divide counts",
    ),
    "no components": (
        lambda: layers.NormalLeaf(0),
        ValueError,
        r"`num_components` must be at least 1. Received num_components=0. Pass a",
    ),
    "fractional components": (
        lambda: layers.BernoulliLeaf(2.5),
        TypeError,
        r"`num_components` must be an integer. Received 2.5 of type",
    ),
    "no categories": (
        lambda: layers.CategoricalLeaf(2, num_categories=0),
        ValueError,
        r"`num_categories` must be at least 1. Received num_categories=0. Pass a",
    ),
    "no trials": (
        lambda: layers.BinomialLeaf(2, total_count=0),
        ValueError,
        r"`total_count` must be at least 1. Received total_count=0. Pass a",
    ),
    "negative floor": (
        lambda: layers.NormalLeaf(2, min_scale=-1.0),
        ValueError,
        "NormalLeaf: `min_scale` must be .* at least 0. Received min_scale=-1.0",
    ),
    "integer leaf": (
        lambda: layers.NormalLeaf(2, dtype="int32"),
        ValueError,
        r"NormalLeaf: dtype must be.*float32.*float64.*eceived.*int32",
    ),
    "half precision": (
        lambda: layers.NormalLeaf(2, dtype="float16"),
        ValueError,
        r"NormalLeaf: dtype must be.*float32.*float64.*eceived.*float16",
    ),
    # Data of the Keras model.
    "call with too many columns": (
        lambda: NORMAL.circuit(np.zeros([2, 5], np.float32)),
        ValueError,
        r"received data of shape \(2, 5\), expected \[batch, 4\]. Reshape the data",
    ),
    "call without a batch": (
        lambda: NORMAL.circuit(np.zeros([4], np.float32)),
        ValueError,
        r"received data of shape \(4,\), expected \[batch, 4\]. Reshape the data",
    ),
    "fit with too few columns": (
        lambda: fit(np.zeros([8, 3], np.float32)),
        ValueError,
        r"received data of shape \(.*, 3\), expected \[batch, 4\]. Reshape the data",
    ),
}


@pytest.mark.parametrize(("call", "error", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(call, error, regex):
    with pytest.raises(error) as caught:
        call()
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)


@pytest.mark.parametrize("name", ["category too large", "NaN", "infinite"])
def test_values_are_checked_in_compiled_code_too(name):
    x, spn = {
        "category too large": ([0, 1, 3, 0], CHECKED),
        "NaN": (NAN, SPN.copy(validate_args=True)),
        "infinite": ([0.0, np.inf, 0.0, 0.0], SPN.copy(validate_args=True)),
    }[name]
    _, error, regex = WRONG[name]
    with pytest.raises(error) as caught:
        tf.function(spn.log_prob)(x)
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)


IMPOSSIBLE = {
    "NaN": (SPN, NAN),
    "infinite": (SPN, [np.inf, 0.0, 0.0, 0.0]),
    "category too large": (CLASSES.distribution, [0, 1, 3, 0]),
    "category far too large": (CLASSES.distribution, [0, 1, 10**6, 0]),
    "negative category": (CLASSES.distribution, [0, 1, -1, 0]),
    "between integers": (CLASSES.distribution, [0, 0.5, 1, 0]),
    "NaN category": (CLASSES.distribution, [0, np.nan, 1, 0]),
}


@pytest.mark.parametrize(("spn", "x"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_unchecked_impossible_values_have_probability_zero(spn, x):
    with tf.GradientTape() as tape:
        log_prob = spn.log_prob(x)
    assert log_prob == -np.inf
    for gradient in tape.gradient(log_prob, spn.trainable_variables):
        assert np.all(np.isfinite(gradient))
    wrong = ~np.isin(x, [0.0, 1.0, 2.0])
    assert np.isfinite(spn.log_prob(x, observed=~wrong))
    checked = spn.copy(validate_args=True)
    assert checked.log_prob(x, observed=~wrong) == spn.log_prob(x, observed=~wrong)


def test_a_failed_construction_leaves_the_leaf_usable():
    leaf = layers.NormalLeaf(2)
    for wrong in (
        {"num_sums": 0},
        {"sum_product": "foo"},
        {"leaf_sums": "each"},
        {"num_classes": 2, "class_prior": [0.5]},
        {"num_dims": 0},
        {"sum_op": "em"},
    ):
        with pytest.raises((TypeError, ValueError)):
            build(leaf=leaf, **wrong)
    assert build(leaf=leaf).leaf is leaf
