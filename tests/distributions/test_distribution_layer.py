"""Layers of Keras 3 that return distributions."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_spn import circuits, layers, losses, region_graphs
from tfp_spn.distributions import (
    ConditionalSumProductNetwork,
    DistributionLayer,
    SumProductNetwork,
)

tfd = tfp.distributions
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5]).astype(np.float32) + 1


@keras.saving.register_keras_serializable("tests")
def normal(h):
    return tfd.Normal(h[..., 0], tf.math.softplus(h[..., 1]))


@keras.saving.register_keras_serializable("tests")
def normal_of_two(location, scale):
    return tfd.Normal(location, tf.math.softplus(scale))


@keras.saving.register_keras_serializable("tests")
def upper_quartile(distribution):
    return distribution.quantile(0.75)


def functional(layer):
    inputs = keras.Input((3,))
    return keras.Model(inputs, layer(keras.layers.Dense(2)(inputs)))


def sequential(layer):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), layer])


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.dense = layer, keras.layers.Dense(2)

    def call(self, x):
        return self.layer(self.dense(x))


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("make_model", [functional, sequential, Subclassed])
def test_regression_learns_the_distribution(make_model, jit_compile):
    keras.utils.set_random_seed(0)
    model = make_model(DistributionLayer(normal))
    model.compile(
        keras.optimizers.Adam(0.1),
        losses.NegativeLogLikelihood(),
        jit_compile=jit_compile,
    )
    before = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=30, batch_size=20, verbose=0)
    d = model(X)
    assert isinstance(d, tfd.Normal)
    after = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(after, -np.mean(d.log_prob(Y)), rtol=1e-5)
    assert after < 2.0 < before  # better than Y without X: 2.25 nats


def test_saving(tmp_path):
    model = sequential(DistributionLayer(normal))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X).log_prob(Y), model(X).log_prob(Y))
    layer = DistributionLayer(normal, output=upper_quartile, seed=3, name="quartile")
    config = layer.get_config()
    again = DistributionLayer.from_config(config)
    assert again.get_config() == config
    assert (again.make_distribution, again.output_of) == (normal, upper_quartile)


STATISTICS = {
    "mean": tfd.Distribution.mean,
    "mode": tfd.Distribution.mode,
    "stddev": tfd.Distribution.stddev,
    "variance": tfd.Distribution.variance,
    "function": upper_quartile,
}


@pytest.mark.parametrize("output", STATISTICS)
def test_statistics_flow_on(output):
    chosen = upper_quartile if output == "function" else output
    inputs = keras.Input((2,))
    outputs = DistributionLayer(normal, chosen)(inputs)
    assert outputs.shape == (None,)
    doubled = keras.ops.multiply(outputs, 2.0)
    h = X[:, :2]
    got = keras.Model(inputs, doubled).predict(h, verbose=0)
    np.testing.assert_allclose(got, 2 * STATISTICS[output](normal(h)), rtol=1e-6)


def test_samples_flow_on():
    inputs = keras.Input((2,))
    sample = DistributionLayer(normal, "sample", seed=1)(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((1,))(sample))
    h = np.tile([[3.0, 0.0]], [4000, 1]).astype(np.float32)
    first, second = model(h), model(h)
    assert first.shape == (4000, 1)
    assert not np.any(first == second)
    scale = np.log(2.0)
    # Further off once in 10^6 tests.
    assert abs(np.mean(first) - 3) < 4.9 * scale / 4000**0.5
    again = DistributionLayer(normal, "sample", seed=1)
    np.testing.assert_array_equal(again(h), first[:, 0])


def test_several_inputs():
    one, two = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([one, two], DistributionLayer(normal_of_two)([one, two]))
    location, scale = RNG.normal(size=[2, 5, 4]).astype(np.float32)
    d = model([location, scale])
    assert d.batch_shape == (5, 4)
    np.testing.assert_allclose(d.mean(), location)


def test_joint_distribution():
    def make(h):
        parts = {"a": normal(h), "b": lambda a: tfd.Normal(a[..., None], h)}
        return tfd.JointDistributionNamed(parts)

    inputs = keras.Input((2,))
    outputs = DistributionLayer(make)(inputs)
    assert {k: v.shape for k, v in outputs.items()} == {"a": (None,), "b": (None, 2)}


def circuit():
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=1)
    return circuits.from_region_graph(graph, layers.NormalLeaf(2), 2)


def test_around_a_circuit():
    """Weights of a layer in the place of a function are the model's."""
    layer = ConditionalSumProductNetwork(circuit(), "leaves")
    outer = DistributionLayer(layer, "mean")
    model = keras.Sequential([keras.Input((3,)), outer])
    assert len(model.trainable_variables) == len(layer.trainable_variables) > 2
    got = model.predict(X, verbose=0)
    np.testing.assert_allclose(got, layer(X).mean(), rtol=1e-5)


@pytest.mark.slow
def test_of_a_closed_circuit():
    """A function may use a circuit that the model keeps."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.circuit, self.dense = circuit(), keras.layers.Dense(4)
            self.distribution = DistributionLayer(self.shifted)

        def shifted(self, shift):
            spn = SumProductNetwork(self.circuit)
            return tfp.bijectors.Shift(shift)(spn)

        def call(self, x):
            return self.distribution(self.dense(x))

    model = Model()
    y = RNG.normal(size=(40, 4)).astype(np.float32)
    model.compile(keras.optimizers.Adam(0.05), losses.NegativeLogLikelihood())
    history = model.fit(X, y + 3, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    want = SumProductNetwork(model.circuit).log_prob(y - model.dense(X))
    np.testing.assert_allclose(model(X).log_prob(y), want, rtol=1e-5)


def test_methods_of_a_user_that_are_named_so_are_left_alone():
    class Model(keras.Sequential):
        def predict(self, x):
            return self(x).mean()

    model = Model([keras.Input((3,)), keras.layers.Dense(4), DistributionLayer(normal)])
    assert (
        model.predict(X).shape == sequential(DistributionLayer(normal))(X).mean().shape
    )


def test_methods_that_take_tensors_say_what_to_do(tmp_path):
    h = keras.Input((3,))
    inner = functional(DistributionLayer(normal, name="head"))
    heads = (
        inner,
        sequential(DistributionLayer(normal, name="head")),
        keras.Model(h, inner(h)),
        keras.Model(h, [ConditionalSumProductNetwork(circuit(), name="head")(h), h]),
    )
    words = r'received a distribution from the layer "head".*output="mean"'
    for model in heads:
        for call in (model.predict, model.predict_on_batch):
            with pytest.raises(ValueError, match=r"predict\w* takes tensors.*" + words):
                call(X)
        with pytest.raises(ValueError, match="export takes tensors.*" + words):
            model.export(tmp_path / "model", verbose=False)
        assert not (tmp_path / "model").exists()
    mean = keras.Sequential([keras.Input((2,)), DistributionLayer(normal, "mean")])
    mean.export(tmp_path / "mean", verbose=False)

    class WithMean(Subclassed):
        def call(self, x):
            return super().call(x).mean()

    model = WithMean(DistributionLayer(normal))
    np.testing.assert_allclose(
        model.predict(X, verbose=0), normal(model.dense(X)).mean(), rtol=1e-5
    )


WRONG = {
    "no function": (
        lambda: DistributionLayer(tfd.Normal(0.0, 1.0).sample()),
        TypeError,
        r"make_distribution must map tensors to a tfd.Distribution, received",
    ),
    "unknown output": (
        lambda: DistributionLayer(normal, "median"),
        ValueError,
        r"output='median', expected one of \['distribution', 'sample', .* or a func",
    ),
    "no distribution": (
        lambda: DistributionLayer(lambda h: h, name="wrong")(X),
        TypeError,
        r'"wrong": make_distribution returned EagerTensor, expected a tfd.Distr',
    ),
    "lambda saved": (
        lambda: DistributionLayer(lambda h: tfd.Normal(h, 1.0)).get_config(),
        ValueError,
        r"cannot be saved, received .*lambda.*expected a registered function. Dec",
    ),
    "output saved": (
        lambda: DistributionLayer(normal, output=lambda d: d.mean()).get_config(),
        ValueError,
        r"cannot be saved, received .*lambda.*expected a registered function",
    ),
}


@pytest.mark.parametrize(("call", "error", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(call, error, regex):
    with pytest.raises(error) as caught:
        call()
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)


def test_models_with_two_outputs() -> None:
    def circuit():
        graph = region_graphs.fully_factorized(1)
        return circuits.from_region_graph(graph, layers.NormalLeaf(2), num_sums=2)

    def head(h):
        return ConditionalSumProductNetwork(circuit())(h)

    def normal_of(h):
        layer = DistributionLayer(lambda t: tfd.Independent(tfd.Normal(t, 1.0), 1))
        return layer(keras.layers.Dense(1)(h))

    loss = losses.NegativeLogLikelihood
    z, y = np.ones([8, 3], "float32"), np.zeros([8, 1], "float32")
    h = keras.Input((3,))
    two = [head(h), head(h)]
    for outputs, of_outputs in (
        (two, [loss(), loss()]),
        ([normal_of(h), keras.layers.Dense(1)(h)], [loss(), "mse"]),
    ):
        model = keras.Model(h, outputs)
        model.compile("sgd", of_outputs)
        first, second = model(z)
        want = -np.mean(first.log_prob(y))
        want += -np.mean(second.log_prob(y)) if outputs is two else np.mean(second**2)
        found = model.evaluate(z, [y, y], verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], want, rtol=1e-5)
        model.fit(z, [y, y], verbose=0)
