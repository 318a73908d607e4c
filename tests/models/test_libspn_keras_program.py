"""A program written for LibSPN-Keras, with nothing but the import changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfp_spn as spnk

X = np.random.default_rng(0).normal([3.0, -1.0, 0.0, 8.0, 1.0], 2.0, (120, 5))
X = X.astype("float32")
LABELS = (X[:, 0] > 3).astype("int32")


@pytest.fixture(autouse=True)
def _restored_defaults():
    rule = spnk.get_default_sum_op()
    initializer = spnk.config.get_default_accumulator_initializer()
    yield
    spnk.set_default_sum_op(rule)
    spnk.set_default_accumulator_initializer(initializer)


def program(rule, leaf, **arguments):
    spnk.set_default_sum_op(rule)
    spnk.set_default_accumulator_initializer(
        keras.initializers.TruncatedNormal(stddev=0.5, mean=1.0)
    )
    return spnk.models.SequentialSumProductNetwork(
        [
            spnk.layers.NormalizeStandardScore(
                axes=spnk.layers.NormalizeAxes.SAMPLE_WISE, input_shape=(5,)
            ),
            spnk.layers.FlatToRegions(num_decomps=4),
            leaf,
            spnk.layers.PermuteAndPadScopesRandom(),
            spnk.layers.DenseProduct(num_factors=2),
            spnk.layers.LogDropout(rate=0.1, axis_at_least_one=-1),
            spnk.layers.DenseSum(num_sums=3),
            spnk.layers.ReduceProduct(num_factors=2),
            spnk.layers.DenseSum(num_sums=3),
            spnk.layers.ReduceProduct(num_factors=2),
            spnk.layers.RootSum(**arguments),
        ]
    )


def test_generative_training_by_online_em():
    model = program(
        spnk.SumOpEMBackprop(),
        spnk.layers.NormalLeaf(
            num_components=4,
            location_initializer=spnk.initializers.Equidistant(-1.5, 1.5),
            scale_trainable=True,
            use_accumulators=True,
            scale_constraint=spnk.constraints.Clip(min=0.1),
        ),
        return_weighted_child_logits=False,
    )
    model.compile(
        loss=spnk.losses.NegativeLogLikelihood(),
        metrics=[spnk.metrics.LogLikelihood()],
        optimizer=spnk.optimizers.OnlineExpectationMaximization(learning_rate=0.2),
    )
    history = model.fit(X, epochs=4, batch_size=40, verbose=0).history
    assert history["llh"][-1] > history["llh"][0] + 0.2


def test_discriminative_training_by_adam():
    model = program(
        spnk.SumOpGradBackprop(),
        spnk.layers.CauchyLeaf(
            4,
            location_initializer=spnk.initializers.PoonDomingosMeanOfQuantileSplit(
                data=X, samplewise_normalization=True
            ),
        ),
    )
    model.unsupervised = False
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
        optimizer=keras.optimizers.Adam(0.05),
    )
    history = model.fit(X, LABELS, epochs=5, batch_size=40, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
