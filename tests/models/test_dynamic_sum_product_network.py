"""The dynamic network: one recursion, whatever the padding, the rule and the file."""

from __future__ import annotations

import itertools
import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from tfp_spn import circuits, layers, losses, metrics, region_graphs
from tfp_spn.learning import OnlineExpectationMaximization
from tfp_spn.models import DynamicSumProductNetwork
from tfp_spn.sum_ops import (
    SumOpEMBackprop,
    SumOpHardEMBackprop,
    SumOpSampleBackprop,
    SumOpUnweightedHardEMBackprop,
)

RNG = np.random.default_rng(0)
NUM_STEPS, NUM_VARIABLES = 4, 2
LENGTHS = np.array([4, 1, 3, 2, 4], "int32")
PRE = np.arange(NUM_STEPS) >= NUM_STEPS - LENGTHS[:, np.newaxis]
X = RNG.integers(0, 2, (5, NUM_STEPS, NUM_VARIABLES)).astype("float32")


def template(leaf: Any = None, num_variables: int = NUM_VARIABLES, **arguments):
    dtype = arguments.pop("dtype", "float32")
    leaf = layers.BernoulliLeaf(3, dtype=dtype) if leaf is None else leaf
    return keras.Sequential(
        [
            keras.Input((num_variables,), dtype=dtype),
            layers.FlatToRegions(1),
            leaf,
            layers.DenseProduct(num_variables),
        ],
        **arguments,
    )


def model_of(
    *, rule=None, dtype="float32", widths=(3, 4), classes=2, leaf=None, **arguments
):
    """Interfaces of `widths` nodes, of the steps before and of the current one."""
    keras.utils.set_random_seed(1)
    sums = {"sum_op": rule, "dtype": dtype}
    return DynamicSumProductNetwork(
        arguments.pop("template", None) or template(leaf, dtype=dtype),
        keras.Sequential([layers.DenseSum(widths[1], **sums)]),
        keras.Sequential([layers.DenseSum(widths[0], **sums)]),
        keras.Sequential(
            [layers.DenseSum(classes, **sums), layers.RootSum(classes > 1, **sums)]
        ),
        **arguments,
    )


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def weights_of(layer: Any) -> np.ndarray:
    stored = np.asarray(layer.accumulators, "float64")
    if layer.logspace_accumulators:
        return softmax(stored, -2)
    return stored / stored.sum(-2, keepdims=True)


def reference(model: Any, x: np.ndarray) -> np.ndarray:
    """``log p`` of the sequence and every prefix, in linear space, ``[T, classes]``."""
    leaf = model.template_network.layers[1]
    on = 1 / (1 + np.exp(-np.asarray(leaf.parameters["logits"], "float64")))
    on = on[0, :, 0, :, 0]  # [variables, components]
    current_w = weights_of(model.interface_network_t0.layers[0])[0, 0]
    previous_w = weights_of(model.interface_network_t_minus_1.layers[0])[0, 0]
    class_w = weights_of(model.top_network.layers[0])[0, 0]
    root_w = weights_of(model.top_network.layers[1])[0, 0, :, 0]
    before = np.ones(previous_w.shape[1])
    outputs = []
    for step in x:
        a, b = np.where(step[:, np.newaxis] == 1, on, 1 - on)
        template_values = np.array([p * q for p in a for q in b])
        current = template_values @ current_w
        product = np.array([p * q for p in before for q in current])
        outputs.append(np.log(product @ class_w * root_w))
        before = product @ previous_w
    return np.array(outputs)


MODEL = model_of()
ALL_STEPS = model_of(return_last_step=False)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)]
)
@pytest.mark.parametrize("widths", [(3, 4), (2, 2)])
def test_values_are_those_of_the_recursion(dtype, tolerance, widths):
    last = model_of(dtype=dtype, widths=widths)
    every = model_of(dtype=dtype, widths=widths, return_last_step=False)
    x = X.astype(dtype)
    want = np.stack([reference(last, row) for row in x])
    for data in (x, (x, np.full(5, 4)), (x, np.ones([5, 4], bool))):
        found = last(data)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, want[:, -1], rtol=tolerance)
        np.testing.assert_allclose(every(data), want, rtol=tolerance)
    # With lengths: of the steps that exist only.
    found, prefixes = last((x, LENGTHS)), every((x, LENGTHS))
    for row, length in enumerate(LENGTHS):
        want = reference(last, x[row, NUM_STEPS - length :])
        np.testing.assert_allclose(found[row], want[-1], rtol=tolerance)
        np.testing.assert_allclose(prefixes[row, -length:], want, rtol=tolerance)
        np.testing.assert_array_equal(prefixes[row, :-length], 0)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_probabilities_of_all_sequences_of_a_length_sum_to_one(num_steps):
    states = itertools.product([0.0, 1.0], repeat=num_steps * NUM_VARIABLES)
    x = np.reshape(list(states), [-1, num_steps, NUM_VARIABLES])
    np.testing.assert_allclose(logsumexp(MODEL(x)), 0, atol=2e-6)
    longer = np.pad(x, [(0, 0), (2, 0), (0, 0)], constant_values=np.nan)
    value = MODEL((longer, np.full(len(x), num_steps)))
    np.testing.assert_allclose(logsumexp(value), 0, atol=2e-6)


def test_one_step_is_the_static_network():
    static = keras.Sequential(
        [
            *MODEL.template_network.layers,
            MODEL.interface_network_t0.layers[0],
            layers.DenseSum(2),
            layers.RootSum(),
        ]
    )
    static.build((None, NUM_VARIABLES))
    of_products = weights_of(MODEL.top_network.layers[0])[0, 0].reshape(3, 4, 2)
    static.layers[-2].accumulators.assign(np.log(of_products.sum(0))[None, None])
    static.layers[-1].set_weights(MODEL.top_network.layers[1].get_weights())
    x = X[:, 0]
    np.testing.assert_allclose(MODEL(x[:, np.newaxis]), static(x), rtol=2e-6)


# --- padding ---------------------------------------------------------------------

PADDINGS = [np.nan, -np.inf, np.inf, -1.0, 1e30]


@pytest.mark.parametrize("side", ["pre", "post"])
@pytest.mark.parametrize("model", [MODEL, ALL_STEPS], ids=["last", "all"])
def test_padding_never_changes_a_result(model, side):
    model = DynamicSumProductNetwork.from_config(
        {**model.get_config(), "padding": side}
    )
    model.set_weights((MODEL if model.return_last_step else ALL_STEPS).get_weights())
    is_step = PRE if side == "pre" else PRE[:, ::-1]
    x = np.concatenate(
        [np.where(is_step[..., np.newaxis], X, pad) for pad in PADDINGS]
    ).astype("float32")
    num_copies = len(PADDINGS)
    value = np.asarray(model((x, np.tile(LENGTHS, num_copies))))
    copies = value.reshape(num_copies, 5, *value.shape[1:])
    np.testing.assert_array_equal(copies, np.stack([copies[0]] * num_copies))
    mask = np.tile(is_step, [num_copies, 1])
    np.testing.assert_array_equal(model((x, mask)), value)
    more = np.pad(X, [(0, 0), (1, 1), (0, 0)], constant_values=np.nan)
    with_more = np.asarray(model((more, np.pad(is_step, [(0, 0), (1, 1)]))))
    if not model.return_last_step:
        with_more = with_more[:, 1:-1]
    np.testing.assert_allclose(with_more, value[:5], rtol=2e-6)
    for row in (1, 2):  # without other sequences
        want = model(X[row][np.newaxis, is_step[row]])[0]
        found = value[row] if model.return_last_step else value[row][is_step[row]]
        np.testing.assert_allclose(found, want, rtol=2e-6)


def test_a_masked_step_inside_does_not_exist():
    mask = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], bool)
    x = np.where(mask[..., np.newaxis], X[:2], np.nan)
    found = ALL_STEPS((x, mask))
    for row in range(2):
        want = reference(ALL_STEPS, X[row, mask[row]])
        np.testing.assert_allclose(found[row][mask[row]], want, rtol=2e-6)
        np.testing.assert_array_equal(found[row][~mask[row]], 0)


def test_ragged_data_and_keras_masks():
    steps = np.concatenate([X[row, PRE[row]] for row in range(5)])
    ragged = tf.RaggedTensor.from_row_lengths(steps, LENGTHS)
    want = MODEL((X, LENGTHS))
    np.testing.assert_allclose(MODEL(ragged), want, rtol=2e-6)
    dataset = tf.data.Dataset.from_tensor_slices(ragged).ragged_batch(2)
    np.testing.assert_allclose(MODEL.predict(dataset, verbose=0), want, rtol=2e-6)

    x = keras.Input((NUM_STEPS, NUM_VARIABLES))
    masked = keras.layers.Masking(mask_value=7.0)(x)
    functional = keras.Model(x, MODEL(masked))
    assert functional.output_shape == (None, 2)
    padded = np.where(PRE[..., np.newaxis], X, 7.0)
    np.testing.assert_allclose(functional(padded), want, rtol=2e-6)
    both = np.copy(PRE)
    both[0, 1] = False  # a second mask, of one more step
    want = MODEL((X, both))
    found = MODEL((keras.layers.Masking(7.0)(padded), both))
    np.testing.assert_allclose(found, want, rtol=2e-6)


def test_shapes_known_and_unknown():
    for model, shape in [(MODEL, (None, 2)), (ALL_STEPS, (None, 9, 2))]:
        assert model.compute_output_shape((None, 9, NUM_VARIABLES)) == shape
        pair = [(None, 9, NUM_VARIABLES), (None,)]
        assert model.compute_output_shape(pair) == shape
        inputs = keras.Input((9, NUM_VARIABLES)), keras.Input((), dtype="int32")
        symbolic = model(inputs)
        assert symbolic.shape == shape
        functional = keras.Model(inputs, symbolic)
        x = np.pad(X, [(0, 0), (5, 0), (0, 0)])
        want = model((x, LENGTHS))
        np.testing.assert_allclose(functional([x, LENGTHS]), want, rtol=2e-6)
        assert model(x[:0]).shape[0] == 0


# --- gradients and learning ------------------------------------------------------


def counts_of(model: Any, x: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Expected counts of all weights, the gradients in their logarithms, unrolled."""
    sums = [la for la in model._flatten_layers() if hasattr(la, "accumulators")]
    log_w = {id(la): tf.constant(np.log(weights_of(la))) for la in sums}

    def weigh(layer: Any, value: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(value, [1, 1, -1, 1])
        return tf.reduce_sum(flat * tf.exp(log_w[id(layer)]), 2, keepdims=True)

    inner = [model.interface_network_t0, model.interface_network_t_minus_1]
    current_sum, previous_sum = (network.layers[0] for network in inner)
    class_sum, root = model.top_network.layers
    with tf.GradientTape() as tape:
        tape.watch(list(log_w.values()))
        total = 0.0
        for row, length in zip(x, lengths, strict=True):
            value = tf.ones([previous_sum.num_sums], "float64")
            for step in row[len(row) - length :]:
                here = tf.exp(model.template_network(step[np.newaxis]))
                here = tf.reshape(weigh(current_sum, tf.cast(here, "float64")), [1, -1])
                product = tf.reshape(value, [-1, 1]) * here
                value = weigh(previous_sum, product)
            top = tf.reshape(weigh(class_sum, product), [1, 1, -1, 1])
            total += tf.math.log(tf.reduce_sum(top * tf.exp(log_w[id(root)])))
    return dict(zip(log_w, tape.gradient(total, list(log_w.values())), strict=True))


def gradients_of(model: Any, x: Any, lengths: np.ndarray, compiled: bool) -> list:
    def gradients() -> list:
        with tf.GradientTape() as tape:
            log_prob = tf.reduce_logsumexp(model((x, lengths), training=True), -1)
            loss = -tf.reduce_sum(log_prob)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    return [g.numpy() for g in (tf.function(gradients) if compiled else gradients)()]


@pytest.mark.parametrize("compiled", [True, False], ids=["graph", "eager"])
def test_gradients_are_expected_counts(compiled):
    model = model_of(dtype="float64")
    counts = counts_of(model, X, LENGTHS)
    x = np.where(PRE[..., np.newaxis], X, np.nan).astype("float64")
    found = gradients_of(model, x, LENGTHS, compiled)
    checked = 0
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        for layer in model._flatten_layers():
            if getattr(layer, "accumulators", None) is variable:
                count = counts[id(layer)].numpy()
                total = count.sum(-2, keepdims=True)
                want = -(count - weights_of(layer) * total)
                np.testing.assert_allclose(gradient, want, rtol=1e-9, atol=1e-12)
                checked += 1
    assert checked == 4
    assert all(np.all(np.isfinite(g)) for g in found)


def test_counts_of_em_are_normalised_over_all_steps_together():
    model = model_of(rule=SumOpEMBackprop(), dtype="float64")
    counts = counts_of(model, X, LENGTHS)
    found = gradients_of(model, X.astype("float64"), LENGTHS, True)
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        for layer in model._flatten_layers():
            if getattr(layer, "accumulators", None) is variable:
                count = counts[id(layer)].numpy()
                want = -count / count.sum(-2, keepdims=True)
                np.testing.assert_allclose(gradient, want, rtol=1e-9, atol=1e-12)


def test_online_em_of_full_batches_never_loses_likelihood():
    leaf = layers.IndicatorLeaf(2)
    model = model_of(rule=SumOpEMBackprop(), leaf=leaf, classes=1, padding="post")
    model.compile(OnlineExpectationMaximization(1.0), losses.NegativeLogLikelihood())
    data = (X, LENGTHS)
    history = model.fit(data, batch_size=5, epochs=8, verbose=0).history["loss"]
    assert np.all(np.diff(history) < 1e-5)
    assert history[-1] < history[0] - 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [SumOpHardEMBackprop(), SumOpUnweightedHardEMBackprop(), SumOpSampleBackprop()],
    ids=lambda rule: type(rule).__name__,
)
def test_hard_rules_learn(rule):
    x = RNG.normal(size=(40, NUM_STEPS, NUM_VARIABLES)).astype("float32") + 3
    leaf = layers.NormalLeaf(3, scale_trainable=True, use_accumulators=True)
    model = model_of(rule=rule, leaf=leaf, classes=1)
    model.compile(OnlineExpectationMaximization(0.2), losses.NegativeLogLikelihood())
    data = (np.where(PRE[:1, :, np.newaxis], x, np.nan), np.full(40, 4))
    loss = model.fit(data, batch_size=20, epochs=5, verbose=0).history["loss"]
    assert np.all(np.isfinite(loss))
    assert loss[-1] < loss[0] - 1
    for variable in model.variables:
        assert np.all(np.isfinite(variable))


def test_labels_are_labels_and_weights_are_weights():
    x = np.where(PRE[..., np.newaxis], X, np.nan)
    log_joint = np.asarray(MODEL((X, LENGTHS)))
    labels, weight = np.array([0, 1, 1, 0, 1]), np.linspace(0, 2, 5)
    log_prob = logsumexp(log_joint, -1)
    plain = {"verbose": 0, "batch_size": 5}
    model = DynamicSumProductNetwork.from_config(MODEL.get_config())
    model.set_weights(MODEL.get_weights())
    model.compile("sgd", losses.NegativeLogLikelihood())
    found = model.evaluate((x, LENGTHS), labels, sample_weight=weight, **plain)
    np.testing.assert_allclose(found, -(weight * log_prob).mean(), rtol=1e-5)
    model.unsupervised = False
    model.compile(
        keras.optimizers.Adam(0.05),
        losses.NegativeLogJoint(),
        metrics=["sparse_categorical_accuracy", metrics.LogJoint()],
        run_eagerly=True,
    )
    want = log_joint[np.arange(5), labels]
    found = model.evaluate((x, LENGTHS), labels, return_dict=True, **plain)
    np.testing.assert_allclose(found["loss"], -want.mean(), rtol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices(((x, LENGTHS), labels)).batch(5)
    loss = model.fit(dataset, epochs=4, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    with pytest.raises(ValueError, match="data without labels"):
        model.evaluate((x, LENGTHS), verbose=0)


def test_losses_and_metrics_of_all_steps_leave_padding_out():
    model = DynamicSumProductNetwork.from_config(ALL_STEPS.get_config())
    model.set_weights(ALL_STEPS.get_weights())
    model.compile(
        "sgd",
        losses.NegativeLogLikelihood(),
        metrics=[metrics.LogLikelihood()],
        weighted_metrics=[metrics.LogLikelihood(name="weighted")],
    )
    log_prob = logsumexp(np.asarray(model((X, LENGTHS))), -1)
    plain = {"verbose": 0, "batch_size": 5, "return_dict": True}
    found = model.evaluate((X, LENGTHS), **plain)
    np.testing.assert_allclose(found["loss"], -log_prob[PRE].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["llh"], log_prob[PRE].mean(), rtol=1e-5)
    weight = np.linspace(0, 2, 5)
    found = model.evaluate((X, LENGTHS), sample_weight=weight, **plain)
    each = np.broadcast_to(weight[:, np.newaxis], PRE.shape)[PRE]
    want = np.mean(each * log_prob[PRE])
    np.testing.assert_allclose(found["loss"], -want, rtol=1e-5)
    want = np.average(log_prob[PRE], weights=each)
    np.testing.assert_allclose(found["weighted"], want, rtol=1e-5)


@pytest.mark.slow
def test_compiled_by_xla():
    model = model_of()
    x = np.where(PRE[..., np.newaxis], X, np.nan)
    want = gradients_of(model, x, LENGTHS, True)
    model.compile("sgd", losses.NegativeLogLikelihood(), jit_compile=True)
    before = model.evaluate((x, LENGTHS), verbose=0, batch_size=5)
    np.testing.assert_allclose(
        before, -logsumexp(np.asarray(model((x, LENGTHS))), -1).mean(), rtol=1e-5
    )
    old = model.get_weights()
    model.compile(
        keras.optimizers.SGD(1.0), losses.NegativeLogLikelihood(), jit_compile=True
    )
    model.fit((x, LENGTHS), verbose=0, batch_size=5)
    moved = dict(zip((v.path for v in model.weights), model.get_weights(), strict=True))
    old = dict(zip((v.path for v in model.weights), old, strict=True))
    for variable, gradient in zip(model.trainable_variables, want, strict=True):
        step = old[variable.path] - moved[variable.path]
        np.testing.assert_allclose(step, gradient / 5, rtol=1e-4, atol=1e-6)


# --- numbers -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_steps_in_float32():
    num_steps = 1000
    x = RNG.integers(0, 2, (2, num_steps, NUM_VARIABLES)).astype("float32")
    single, double = model_of(classes=1), model_of(classes=1, dtype="float64")
    double.set_weights([w.astype("float64") for w in single.get_weights()])
    lengths = np.array([num_steps, num_steps - 7])
    want = tf.function(double)((x.astype("float64"), lengths))
    np.testing.assert_allclose(tf.function(single)((x, lengths)), want, rtol=2e-6)
    found = gradients_of(single, x, lengths, True)
    want = gradients_of(double, x.astype("float64"), lengths, True)
    for have, exact in zip(found, want, strict=True):
        scale = np.abs(exact).max()
        np.testing.assert_allclose(have, exact, atol=2e-4 * scale)


def test_impossible_sequences_are_minus_infinity_and_nothing_is_nan():
    model = model_of(leaf=layers.IndicatorLeaf(2), classes=1)
    weights = model.interface_network_t0.layers[0].accumulators
    stored = np.array(weights)
    stored[..., 3, :] = -np.inf  # both variables 1: impossible
    weights.assign(stored)
    x = np.copy(X[:3])
    x[:, :, 0] = 0
    x[0, 2] = 1
    value = np.asarray(model(x))[:, 0]
    assert value[0] == -np.inf
    assert np.all(np.isfinite(value[1:]))
    value = model((x, np.array([4, 4, 1])))
    assert value[0] == -np.inf
    assert np.all(np.isfinite(value[1:]))
    for gradient in gradients_of(model, x, np.full(3, 4), False):
        assert np.all(np.isfinite(gradient))


def test_mixed_precision_around_it_changes_nothing():
    want = MODEL((X, LENGTHS))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        copy = DynamicSumProductNetwork.from_config(MODEL.get_config())
        copy.set_weights(MODEL.get_weights())
        found = copy((X, LENGTHS))
        made = model_of()((X, LENGTHS))
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == made.dtype == "float32"
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(made, model_of()((X, LENGTHS)))


# --- files -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saving(dtype, tmp_path):
    model = model_of(
        dtype=dtype, return_last_step=False, unsupervised=False, padding="post"
    )
    model.compile("adam", losses.NegativeLogJoint())
    x = X.astype(dtype)
    want = model((x, LENGTHS))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is DynamicSumProductNetwork
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    assert (loaded.padding, loaded.unsupervised) == ("post", False)
    assert loaded.return_last_step is False
    np.testing.assert_array_equal(loaded((x, LENGTHS)), want)
    copy = DynamicSumProductNetwork.from_config(model.get_config())
    assert not np.array_equal(copy((x, LENGTHS)), want)
    model.save_weights(tmp_path / "model.weights.h5")
    copy.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(copy((x, LENGTHS)), want)


def test_a_model_that_learns_its_shape_from_data(tmp_path):
    unbuilt = keras.Sequential(
        [layers.FlatToRegions(2), layers.NormalLeaf(2), layers.ReduceProduct(3)]
    )
    model = model_of(template=unbuilt, classes=1)
    assert not model.built
    x = RNG.normal(size=(3, 5, 3)).astype("float32")
    value = model(x)
    assert model.interface_network_t0.output_shape == (None, 1, 2, 4)
    assert model.top_network.input_shape == (None, 1, 2, 12)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), value)


def test_images_as_steps_and_functional_templates():
    image = keras.Input((2, 2, 1))
    y = layers.NormalLeaf(2)(image)
    y = layers.Conv2DProduct(strides=2, dilations=1, kernel_size=2, depthwise=True)(y)
    spatial = keras.Model(image, layers.SpatialToRegions()(y))
    model = model_of(template=spatial, classes=1)
    assert model(np.zeros([2, 3, 2, 2, 1], "float32")).shape == (2, 1)


# --- errors ------------------------------------------------------------------------


def sums(num_sums: int, *shape: int) -> keras.Sequential:
    begin = [keras.Input(shape)] if shape else []
    return keras.Sequential([*begin, layers.DenseSum(num_sums)])


def dynamic(**networks: Any) -> DynamicSumProductNetwork:
    made = {
        "template_network": template(),
        "interface_network_t0": sums(4),
        "interface_network_t_minus_1": sums(3),
        "top_network": keras.Sequential([layers.RootSum(False)]),
    }
    return DynamicSumProductNetwork(**{**made, **networks})


def half_template(permutations: list) -> keras.Sequential:
    stack = [keras.Input((4,)), layers.FlatToRegions(1), layers.NormalLeaf(2)]
    stack += [layers.PermuteAndPadScopes(permutations), layers.ReduceProduct(2)]
    return keras.Sequential(stack)


WRONG = {
    "interface that takes another width": (
        lambda: dynamic(interface_network_t0=sums(4, 1, 1, 7)),
        ValueError,
        r"interface_network_t0 takes \(None, 1, 1, 7\), but template_network returns "
        r"\(None, 1, 1, 9\)",
    ),
    "interfaces that do not match": (
        lambda: dynamic(interface_network_t_minus_1=sums(3, 1, 1, 16)),
        ValueError,
        r"interface_network_t_minus_1 takes \(None, 1, 1, 16\), but the product of the "
        r"3 nodes of interface_network_t_minus_1 and the 4 nodes of "
        r"interface_network_t0 has 12 nodes",
    ),
    "top that takes another width": (
        lambda: dynamic(
            top_network=keras.Sequential(
                [keras.Input((1, 1, 16)), layers.RootSum(False)]
            )
        ),
        ValueError,
        r"top_network takes \(None, 1, 1, 16\), .* has 12 nodes",
    ),
    "interface without a width": (
        lambda: dynamic(
            interface_network_t_minus_1=keras.Sequential([layers.DenseProduct(1)])
        ),
        ValueError,
        "interface_network_t_minus_1 returns 64 nodes for a product of 64, but 16",
    ),
    "top without a root": (
        lambda: dynamic(top_network=sums(2)),
        ValueError,
        r"top_network returns \(None, 1, 1, 2\), expected \[batch, outputs\]",
    ),
    "template with a root": (
        lambda: dynamic(
            template_network=keras.Sequential(
                [keras.Input((2,)), *template().layers, layers.RootSum()]
            )
        ),
        ValueError,
        r"template_network returns \(None, 9\).* Leave its RootSum out",
    ),
    "template of several scopes": (
        lambda: dynamic(template_network=half_template([[0, 1, 2, 3]])),
        ValueError,
        r"template_network: ReduceProduct .* 2 scopes and 1 decompositions, of which 2 "
        r"do not cover all 4 variables of a step: scope 0 .* misses 2 of them \(2, 3\)",
    ),
    "template that leaves variables out": (
        lambda: dynamic(template_network=half_template([[0, 2]])),
        ValueError,
        r"1 scopes .* do not cover all 4 variables .* misses 2 of them \(1, 3\)",
    ),
    "decompositions merged on the way": (
        lambda: dynamic(
            template_network=keras.Sequential(
                [
                    keras.Input((2,)),
                    layers.FlatToRegions(2),
                    layers.NormalLeaf(2),
                    layers.ReduceProduct(2),
                ]
            ),
            interface_network_t0=keras.Sequential([layers.SpatialToRegions()]),
        ),
        ValueError,
        r"interface_network_t0 returns \(None, 1, 1, 4\), 1 scopes and 1 decompositi",
    ),
    "layer in place of a network": (
        lambda: dynamic(top_network=layers.RootSum(False)),
        TypeError,
        "received top_network of type RootSum, expected a keras.Model",
    ),
    "padding": (
        lambda: dynamic().__class__.from_config(
            {**dynamic().get_config(), "padding": "left"}
        ),
        ValueError,
        "padding='left', expected \"pre\"",
    ),
    "data of other variables": (
        lambda: MODEL(np.zeros([2, 4, 3], "float32")),
        ValueError,
        r"shape \(2, 4, 3\), whose steps have shape \(3,\), expected \(2,\)",
    ),
    "data without steps": (
        lambda: MODEL(np.zeros([2, 2], "float32")),
        ValueError,
        r"shape \(2, 2\), expected \[batch, num_steps, num_variables\]",
    ),
    "no steps at all": (
        lambda: MODEL(np.zeros([2, 0, 2], "float32")),
        ValueError,
        r"shape \(2, 0, 2\), with 0 steps, expected at least 1",
    ),
    "lengths beyond the sequence": (
        lambda: MODEL((X, np.array([4, 5, 1, 9, 4]))),
        ValueError,
        r"lengths \[5, 9\] \(sequences \[1, 3\] of the batch\), expected 1 to 4 steps",
    ),
    "length zero": (
        lambda: MODEL((X, np.array([4, 4, 0, 4, 4]))),
        ValueError,
        r"lengths \[0\] \(sequences \[2\] of the batch\), expected 1 to 4",
    ),
    "mask of nothing": (
        lambda: MODEL((X, np.zeros([5, 4], bool))),
        ValueError,
        r"0 steps: the masks leave nothing of the sequences \[0, 1, 2, 3, 4\]",
    ),
    "lengths in graphs": (
        lambda: tf.function(MODEL)((tf.constant(X), tf.constant([4, 5, 1, 0, 4]))),
        tf.errors.InvalidArgumentError,
        "lengths. .0. .to. .5. ..sequences. .3. .and. .1. .*expected 1 to. .4.",
    ),
    "masks in graphs": (
        lambda: tf.function(MODEL)((tf.constant(X), tf.constant(PRE & False))),
        tf.errors.InvalidArgumentError,
        "0 steps: the masks leave nothing of sequence",
    ),
    "real lengths": (
        lambda: MODEL((X, LENGTHS.astype("float32"))),
        TypeError,
        "second input of dtype float32, expected integers",
    ),
    "lengths of others": (
        lambda: MODEL((X, LENGTHS[:3])),
        ValueError,
        r"lengths of shape \(3,\) for data of shape \(5, 4, 2\)",
    ),
    "mask of variables": (
        lambda: MODEL((X, X > 0)),
        ValueError,
        r"shape \(5, 4, 2\) for data of shape \(5, 4, 2\), expected bool and \(5, 4\)",
    ),
    "three inputs": (
        lambda: MODEL((X, LENGTHS, LENGTHS)),
        ValueError,
        "received 3 inputs, expected data, or a pair",
    ),
    "ragged twice": (
        lambda: MODEL(tf.ragged.constant([[[0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]])),
        ValueError,
        "ragged rank 2 .*expected ragged rank 1",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        call()


def test_lengths_are_not_taken_for_labels():
    steps = circuits.from_region_graph(
        region_graphs.fully_factorized(2), layers.BernoulliLeaf(2), 2, num_classes=2
    )
    circuit = circuits.dynamic_from_circuit(steps, NUM_STEPS)
    stack = model_of(classes=1)
    em = OnlineExpectationMaximization()
    column = LENGTHS[:, np.newaxis].astype("int64")
    for model, optimizer in ((stack, "sgd"), (circuit, "sgd"), (circuit, em)):
        model.compile(optimizer, losses.NegativeLogLikelihood())
        for y in (LENGTHS, column, LENGTHS.astype("float32")):
            with pytest.raises(ValueError, match="numbers as targets of sequences"):
                model.fit(X, y, verbose=0)
        data = tf.data.Dataset.from_tensors((X, LENGTHS))
        with pytest.raises(ValueError, match="numbers as targets of sequences"):
            model.evaluate(data, verbose=0)
    stack.evaluate(X, X, verbose=0)  # no lengths
    found = stack.evaluate((X, LENGTHS), LENGTHS, verbose=0)
    np.testing.assert_allclose(found, stack.evaluate((X, LENGTHS), verbose=0))
    with pytest.raises(ValueError, match=r"keys \['lengths', 'x'\], expected x"):
        circuit({"x": X, "lengths": LENGTHS})
    mask = (np.arange(NUM_STEPS) < LENGTHS[:, np.newaxis])[..., np.newaxis]
    assert circuit((X, mask)).shape == (len(X), 1)  # what the message advises
