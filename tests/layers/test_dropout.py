"""Dropout of children and of variables: what, how often, and never too much."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.stacks import binary_states
from tfp_spn import circuits, distributions, layers
from tfp_spn.learning import NegativeLogLikelihood

X = np.random.default_rng(0).normal(size=(200, 5, 2, 6)).astype("float32")
WRAPS = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def dropped(layer, x=X, wrap=lambda f: f):
    return np.asarray(wrap(lambda x: layer(x, training=True))(tf.constant(x)))


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_log_dropout_drops_at_its_rate_and_never_all(wrap):
    y = dropped(layers.LogDropout(0.4, seed=1), wrap=wrap)
    kept = np.isfinite(y)
    np.testing.assert_array_equal(y[kept], X[kept])
    assert np.all(np.isneginf(y[~kept]))
    assert np.all(kept.any(-1))
    # Six children: all would be dropped with probability 0.4^6; then one is kept.
    expected, count = 0.6 + 0.4**6 / 6, kept.size
    spread = np.sqrt(0.24 / count)
    assert abs(kept.mean() - expected) < 6 * spread  # false alarm 1e-8


@pytest.mark.parametrize("axis", [1, 2, 3, -1, None])
def test_one_is_kept_along_the_axis(axis):
    layer = layers.LogDropout(0.95, axis_at_least_one=axis, seed=2)
    kept = np.isfinite(dropped(layer))
    assert np.all(kept.any(-1 if axis is None else axis))
    assert kept.mean() < 0.6


def test_the_kept_child_is_a_possible_one():
    x = np.full([500, 1, 1, 4], -np.inf, "float32")
    x[..., 2] = -1.0
    y = dropped(layers.LogDropout(0.9, seed=0), x)
    np.testing.assert_array_equal(y, x)
    x[:] = -np.inf
    np.testing.assert_array_equal(dropped(layers.LogDropout(0.9, seed=0), x), x)


def test_noise_shape_shares_draws():
    layer = layers.LogDropout(0.5, noise_shape=[1, None, 6], seed=3)
    kept = np.isfinite(dropped(layer))
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 5, axis=1))
    assert not np.array_equal(kept[:, :, :1], kept[:, :, 1:])


def test_shared_draws_drop_too():
    layer = layers.LogDropout(0.9, noise_shape=[None, None, 1], seed=3)
    kept = np.isfinite(dropped(layer))
    np.testing.assert_array_equal(kept, np.repeat(kept[..., :1], 6, axis=-1))
    assert np.all(kept.any(axis=2))  # the last axis with draws of its own
    assert kept.mean() < 0.7


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_input_dropout_integrates_whole_variables_out(wrap):
    y = dropped(layers.InputDropout(0.3, seed=1), wrap=wrap)
    gone = np.all(y == 0, axis=(2, 3))
    expected = np.where(gone[:, :, np.newaxis, np.newaxis], 0, X)
    np.testing.assert_array_equal(y, expected)  # and nothing is rescaled
    assert abs(gone.mean() - 0.3) < 6 * np.sqrt(0.21 / gone.size)


def test_input_dropout_of_pixels():
    y = dropped(layers.InputDropout(0.3, seed=1, variable_axes=[1, 2]))
    gone = np.all(y == 0, axis=3)
    np.testing.assert_array_equal(y, np.where(gone[..., np.newaxis], 0, X))
    assert (gone[:, :, 0] != gone[:, :, 1]).any()


@pytest.mark.parametrize("kind", [layers.LogDropout, layers.InputDropout])
def test_nothing_happens_outside_of_training_or_at_rate_zero(kind):
    assert kind(0.5)(X) is not None
    np.testing.assert_array_equal(kind(0.5)(X), X)
    np.testing.assert_array_equal(kind(0.5)(X, training=False), X)
    np.testing.assert_array_equal(dropped(kind(0.0)), X)
    assert kind(0.0).weights == []


@pytest.mark.parametrize("kind", [layers.LogDropout, layers.InputDropout])
def test_draws_change_and_seeds_repeat_them(kind):
    layer = kind(0.5, seed=7)
    first, second = dropped(layer), dropped(layer)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(dropped(kind(0.5, seed=7)), first)


def stack(*, log_rate=0.3, input_rate=0.3, leaf=layers.BernoulliLeaf):
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.FlatToRegions(2),
            leaf(2),
            layers.InputDropout(input_rate, seed=1),
            layers.PermuteAndPadScopesRandom([2, 2], seed=3),
            layers.DenseProduct(2),
            layers.LogDropout(log_rate, seed=2),
            layers.DenseSum(3),
            layers.ReduceProduct(2),
            layers.RootSum(False),
        ]
    )


def test_input_dropout_gives_marginals():
    """Each value of a training pass is the marginal of some set of variables."""
    model = stack(log_rate=0.0, input_rate=0.5)
    states = np.repeat(binary_states(4), 20, axis=0)
    y = np.asarray(model(states, training=True))[:, 0]
    spn = distributions.SumProductNetwork(circuits.from_layers(model))
    masks = binary_states(4).astype(bool)
    marginals = np.stack([spn.log_prob(states, observed=mask) for mask in masks])
    distance = np.abs(marginals - y)
    assert distance.min(0).max() < 1e-5
    assert len(set(distance.argmin(0))) > 8


def test_in_training_saving_and_as_a_distribution(tmp_path):
    model = stack(leaf=layers.NormalLeaf)
    x = np.random.default_rng(0).normal(1.0, 1.0, size=(64, 4)).astype("float32")
    model.compile(keras.optimizers.Adam(0.05), NegativeLogLikelihood())
    losses = model.fit(x, np.zeros(64), epochs=4, batch_size=16, verbose=0).history
    assert np.all(np.isfinite(losses["loss"]))
    assert losses["loss"][-1] < losses["loss"][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    for have, want in zip(loaded.layers, model.layers, strict=True):
        assert have.get_config() == want.get_config()
    spn = distributions.SumProductNetwork(model)
    np.testing.assert_allclose(spn.log_prob(x), model(x)[:, 0], rtol=1e-5)
    assert spn.sample(3, seed=1).shape == (3, 4)
    assert circuits.from_layers(model) is circuits.from_layers(model)


def test_impossible_children_do_not_make_nan():
    model = stack(log_rate=0.9, leaf=layers.BernoulliLeaf)
    with tf.GradientTape() as tape:
        y = model(binary_states(4), training=True)
    assert not np.any(np.isnan(y))
    for gradient in tape.gradient(y, model.trainable_variables):
        assert np.all(np.isfinite(gradient))


WRONG = {
    "rate": (
        lambda: layers.LogDropout(1.0),
        "of at least 0 and below 1. Received rate=1.0",
    ),
    "negative rate": (
        lambda: layers.InputDropout(-0.1),
        "must be .* Received rate=-0.1",
    ),
    "noise": (
        lambda: layers.LogDropout(0.5, noise_shape=[5, 3, 6])(X),
        r"noise_shape=\[5, 3, 6\] for an input of shape \(200, 5, 2, 6\), expected \[5",
    ),
    "axis": (
        lambda: layers.LogDropout(0.5, axis_at_least_one=0)(X),
        "axis_at_least_one=0 for an input .*other than the batch. Use -1",
    ),
    "all or nothing": (
        lambda: layers.LogDropout(0.5, [None, None, 1], axis_at_least_one=-1)(X),
        r"noise_shape=\[None, None, 1\] and axis_at_least_one=-1 for .*keep all",
    ),
    "variables": (
        lambda: layers.InputDropout(0.5, variable_axes=[3]),
        r"variable_axes=\[3\], expected \[1\] for flat data",
    ),
    "rank": (lambda: layers.InputDropout(0.5)(X[0]), r"expected \[batch, scopes"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
