"""The DGC-SPN of LibSPN-Keras' README, with the import changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn as spnk
from tfp_spn.learning import NegativeLogLikelihood, OnlineExpectationMaximization

PRINTED = [
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


class Standardize(keras.layers.Layer):
    """Stands in for the normalisation layer."""

    def call(self, x):
        mean = tf.reduce_mean(x, [1, 2, 3], keepdims=True)
        return (x - mean) / (tf.math.reduce_std(x, [1, 2, 3], keepdims=True) + 1e-8)


def readme_layers(sum_op=None):
    """All layers of the program but the normalisation."""
    weights = {
        "accumulator_initializer": keras.initializers.TruncatedNormal(
            stddev=0.5, mean=1.0
        ),
        "sum_op": sum_op or spnk.SumOpGradBackprop(),
    }
    return [
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
    return keras.Sequential(
        [keras.Input((28, 28, 1)), Standardize(), *readme_layers(sum_op)]
    )


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
        for la in model.layers[1:]
    ]
    assert counted == PRINTED
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == 1_201_930


@pytest.mark.slow
def test_it_trains_with_adam():
    model = readme_model()
    model.compile(
        keras.optimizers.Adam(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(*data(), epochs=10, batch_size=8, verbose=2).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(spnk.SumOpEMBackprop, marks=pytest.mark.slow),
        pytest.param(spnk.SumOpHardEMBackprop, marks=pytest.mark.slow),
        spnk.SumOpUnweightedHardEMBackprop,
    ],
)
def test_it_trains_with_each_rule_of_em(rule):
    model = readme_model(rule())
    model.layers[1].trainable = False  # the rule of weights, not of leaves
    model.compile(OnlineExpectationMaximization(0.2), NegativeLogLikelihood())
    history = model.fit(*data(), epochs=3, batch_size=12, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0] - 1.0


@pytest.mark.slow
def test_its_circuit_trains_leaves_too():
    """Batch EM of the compiled circuit, from images with hidden pixels."""
    x, _ = data()
    circuit = spnk.circuits.from_layers(
        keras.Sequential([keras.Input((28, 28, 1)), *readme_layers()])
    )
    assert circuit.program.num_classes == 10
    observed = np.random.default_rng(1).random(x.shape[:3]) < 0.7
    circuit.compile(OnlineExpectationMaximization(0.3))
    data_set = tf.data.Dataset.from_tensor_slices(((x, observed),)).batch(12)
    history = circuit.fit(data_set, epochs=3, verbose=0).history
    assert history["log_likelihood"][-1] > history["log_likelihood"][0] + 10
    spn = spnk.distributions.SumProductNetwork(circuit)
    filled = spn.condition(x[:2], observed[:2]).mode()
    assert filled.shape == (2, 28, 28, 1)
    assert spn.sample(2, seed=0).shape == (2, 28, 28, 1)
