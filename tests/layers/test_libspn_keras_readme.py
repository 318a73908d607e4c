"""The DGC-SPN of LibSPN-Keras' README, with the import changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn as spnk
from tfp_spn.learning import NegativeLogLikelihood, OnlineExpectationMaximization

PRINTED = [
    (
        "normalize_standard_score",
        "NormalizeStandardScore",
        (28, 28, 1),
        0,
    ),
    ("normal_leaf", "NormalLeaf", (28, 28, 16), 25088),
    ("conv2d_product", "Conv2DProduct", (14, 14, 16), 0),
    ("local2d_sum", "Local2DSum", (14, 14, 16), 50176),
    ("conv2d_product_1", "Conv2DProduct", (7, 7, 16), 0),
    ("local2d_sum_1", "Local2DSum", (7, 7, 32), 25088),
    ("conv2d_product_2", "Conv2DProduct", (8, 8, 32), 0),
    ("local2d_sum_2", "Local2DSum", (8, 8, 32), 65536),
    ("conv2d_product_3", "Conv2DProduct", (10, 10, 32), 0),
    ("local2d_sum_3", "Local2DSum", (10, 10, 64), 204800),
    ("conv2d_product_4", "Conv2DProduct", (14, 14, 64), 0),
    ("local2d_sum_4", "Local2DSum", (14, 14, 64), 802816),
    ("conv2d_product_5", "Conv2DProduct", (8, 8, 64), 0),
    ("spatial_to_regions", "SpatialToRegions", (1, 1, 4096), 0),
    ("dense_sum", "DenseSum", (1, 1, 10), 40960),
    ("root_sum", "RootSum", (10,), 10),
]


def readme_layers(sum_op=None):
    """All layers of the program."""
    weights = {
        "accumulator_initializer": keras.initializers.TruncatedNormal(
            stddev=0.5, mean=1.0
        ),
        "sum_op": sum_op or spnk.SumOpGradBackprop(),
    }
    return [
        spnk.layers.NormalizeStandardScore(input_shape=(28, 28, 1)),
        spnk.layers.NormalLeaf(
            num_components=16,
            location_trainable=True,
            location_initializer=keras.initializers.TruncatedNormal(
                stddev=1.0, mean=0.0
            ),
        ),
        # Non-overlapping products
        spnk.layers.Conv2DProduct(
            depthwise=True,
            strides=[2, 2],
            dilations=[1, 1],
            kernel_size=[2, 2],
            padding="valid",
        ),
        spnk.layers.Local2DSum(num_sums=16, **weights),
        # Non-overlapping products
        spnk.layers.Conv2DProduct(
            depthwise=True,
            strides=[2, 2],
            dilations=[1, 1],
            kernel_size=[2, 2],
            padding="valid",
        ),
        spnk.layers.Local2DSum(num_sums=32, **weights),
        # Overlapping products, starting at dilations [1, 1]
        spnk.layers.Conv2DProduct(
            depthwise=True,
            strides=[1, 1],
            dilations=[1, 1],
            kernel_size=[2, 2],
            padding="full",
        ),
        spnk.layers.Local2DSum(num_sums=32, **weights),
        # Overlapping products, with dilations [2, 2] and full padding
        spnk.layers.Conv2DProduct(
            depthwise=True,
            strides=[1, 1],
            dilations=[2, 2],
            kernel_size=[2, 2],
            padding="full",
        ),
        spnk.layers.Local2DSum(num_sums=64, **weights),
        # Overlapping products, with dilations [4, 4] and full padding
        spnk.layers.Conv2DProduct(
            depthwise=True,
            strides=[1, 1],
            dilations=[4, 4],
            kernel_size=[2, 2],
            padding="full",
        ),
        spnk.layers.Local2DSum(num_sums=64, **weights),
        # Overlapping products, with dilations [8, 8] and 'final' padding to combine
        # all scopes
        spnk.layers.Conv2DProduct(
            depthwise=True,
            strides=[1, 1],
            dilations=[8, 8],
            kernel_size=[2, 2],
            padding="final",
        ),
        spnk.layers.SpatialToRegions(),
        # Class roots
        spnk.layers.DenseSum(num_sums=10, **weights),
        spnk.layers.RootSum(return_weighted_child_logits=True, **weights),
    ]


def readme_model(sum_op=None):
    return keras.Sequential(readme_layers(sum_op))


def readme_circuit(sum_op=None):
    """Compiled, and a function from images to what it is about."""
    normalize, *layers = readme_model(sum_op).layers
    return spnk.circuits.from_layers(layers), normalize


def data(count=24):
    """Two kinds of images and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    ramp = np.linspace(-1, 1, 28)
    images = np.where(labels[:, None, None], ramp[:, None], ramp[None, :])
    images = images + 0.3 * rng.normal(size=(count, 28, 28))
    return images[..., None].astype("float32"), labels


def test_shapes_and_parameters_are_those_printed():
    keras.backend.clear_session()  # names count from the start
    model = readme_model()
    counted = [
        (la.name, type(la).__name__, la.output.shape[1:], la.count_params())
        for la in model.layers
    ]
    assert counted == PRINTED
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == 1_201_930


EACH_RULE = {
    "em": spnk.SumOpEMBackprop,
    "hard_em": spnk.SumOpHardEMBackprop,
    "unweighted_hard_em": spnk.SumOpUnweightedHardEMBackprop,
    "sample": spnk.SumOpSampleBackprop,
}


def rules(*fast):
    """All rules of EM; those not named are slow."""
    return pytest.mark.parametrize(
        "rule",
        [
            pytest.param(name, marks=() if name in fast else pytest.mark.slow)
            for name in EACH_RULE
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["stack", "circuit"])
def test_it_trains_with_adam(compiled):
    model = readme_model()
    if compiled:
        circuit, normalize = readme_circuit()
        model = keras.Sequential([keras.Input((28, 28, 1)), normalize, circuit])
    model.compile(
        keras.optimizers.Adam(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(*data(), epochs=10, batch_size=8, verbose=2).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > 0.9


@rules("unweighted_hard_em")
def test_the_stack_trains_with_each_rule_of_em(rule):
    model = readme_model(EACH_RULE[rule]())
    model.layers[1].trainable = False  # the rule of weights, not of leaves
    model.compile(OnlineExpectationMaximization(0.2), NegativeLogLikelihood())
    history = model.fit(*data(), epochs=3, batch_size=12, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0] - 1.0


@rules()
def test_the_circuit_trains_with_each_rule_of_em(rule):
    """Leaves too."""
    circuit, normalize = readme_circuit(EACH_RULE[rule]())
    circuit.compile(OnlineExpectationMaximization(0.3))
    z = normalize(data()[0])
    history = circuit.fit(z, epochs=3, batch_size=12, verbose=0).history
    log_likelihood = history["log_likelihood"]
    assert np.all(np.isfinite(log_likelihood))
    assert log_likelihood[-1] > log_likelihood[0] + 10


@pytest.mark.slow
def test_hidden_pixels_and_queries():
    """Online EM of the circuit from images with hidden pixels."""
    circuit, normalize = readme_circuit()
    assert circuit.program.num_classes == 10
    x, _ = data()
    observed = np.random.default_rng(1).random(x.shape[:3]) < 0.7
    z = normalize(x, observed[..., np.newaxis])
    circuit.compile(OnlineExpectationMaximization(0.3))
    data_set = tf.data.Dataset.from_tensor_slices(((z, observed),)).batch(12)
    history = circuit.fit(data_set, epochs=3, verbose=0).history
    assert history["log_likelihood"][-1] > history["log_likelihood"][0] + 10
    spn = spnk.distributions.SumProductNetwork(circuit)
    filled = spn.condition(z[:2], observed[:2]).mode()
    assert filled.shape == (2, 28, 28, 1)
    assert spn.sample(2, seed=0).shape == (2, 28, 28, 1)
