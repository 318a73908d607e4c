"""The Keras models: labels, weights, evidence, completions, saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import layers, losses, metrics
from tfp_spn.distributions import SumProductNetwork as Distribution
from tfp_spn.learning import OnlineExpectationMaximization
from tfp_spn.models import SequentialSumProductNetwork, SumProductNetwork
from tfp_spn.sum_ops import (
    SumOpEMBackprop,
    SumOpHardEMBackprop,
    SumOpSampleBackprop,
)

RNG = np.random.default_rng(0)
X = RNG.normal(5.0, 2.0, size=(48, 4)).astype("float32")
LABELS = RNG.integers(0, 2, 48)
MASK = RNG.random((48, 4)) < 0.6


def stack(leaf=None, normalize=None, root=False, rule=None, num_variables=4):
    made = [keras.Input((num_variables,))]
    if normalize is not None:
        made.append(layers.NormalizeStandardScore(axes=normalize))
    return [
        *made,
        layers.FlatToRegions(2),
        layers.NormalLeaf(3) if leaf is None else leaf,
        layers.PermuteAndPadScopesRandom(seed=1),
        layers.DenseProduct(2),
        layers.DenseSum(2, sum_op=rule),
        layers.DenseProduct(2),
        layers.DenseSum(2, sum_op=rule),
        layers.RootSum(root, sum_op=rule),
    ]


def sequential(*, infer=False, unsupervised=None, mean=None, **arguments):
    keras.utils.set_random_seed(0)
    model = SequentialSumProductNetwork(stack(**arguments), infer, unsupervised, mean)
    if isinstance(model.layers[0], layers.NormalizeStandardScore):
        if not model.layers[0].is_sample_wise:
            model.layers[0].adapt(X)
    return model


def functional(unsupervised=True, root=False):
    keras.utils.set_random_seed(0)
    made = stack(root=root)
    made[3].factors = [2, 2]
    x = made[0]
    for layer in made[1:]:
        x = layer(x)
    return SumProductNetwork(made[0], x, unsupervised=unsupervised)


MODELS = {"sequential": sequential, "functional": functional}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@each_model
def test_labels_are_labels_and_weights_are_weights(make):
    model = make()
    model.compile("sgd", losses.NegativeLogLikelihood(), metrics=[])
    log_prob = np.asarray(model(X))[:, 0]
    weight = np.linspace(0, 2, 48)
    plain = {"verbose": 0, "batch_size": 48}
    for data in [(X,), (X, LABELS), (X, np.full(48, 3.0))]:
        np.testing.assert_allclose(
            model.evaluate(*data, **plain), -log_prob.mean(), rtol=1e-5
        )
    weighted = model.evaluate(X, LABELS, sample_weight=weight, **plain)
    np.testing.assert_allclose(weighted, -(weight * log_prob).mean(), rtol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(48)
    np.testing.assert_allclose(
        model.evaluate(dataset, verbose=0), -log_prob.mean(), rtol=1e-5
    )


@pytest.mark.parametrize(
    "make", [functional, pytest.param(sequential, marks=pytest.mark.slow)]
)
def test_training_without_labels(make):
    model = make()
    model.compile(
        keras.optimizers.Adam(0.1),
        losses.NegativeLogLikelihood(),
        metrics=[metrics.LogLikelihood()],
        weighted_metrics=[metrics.BitsPerDimension(4)],
    )
    history = model.fit(X, epochs=3, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.5
    assert history["llh"][-1] > history["llh"][0]
    assert "bits_per_dimension" in history


@pytest.mark.parametrize(
    "make", [sequential, pytest.param(functional, marks=pytest.mark.slow)]
)
def test_training_with_labels(make):
    model = make(unsupervised=False, root=True)
    model.compile(
        keras.optimizers.Adam(0.1),
        losses.NegativeLogJoint(),
        metrics=[metrics.LogJoint(), "sparse_categorical_accuracy"],
    )
    joint = np.asarray(model(X))[np.arange(48), LABELS]
    found = model.evaluate(X, LABELS, verbose=0, batch_size=48, return_dict=True)
    np.testing.assert_allclose(found["loss"], -joint.mean(), rtol=1e-5)
    model.fit(X, LABELS, epochs=2, verbose=0)
    with pytest.raises(ValueError, match="data without labels, expected .* supervis"):
        model.evaluate(X, verbose=0)


def test_a_loss_that_needs_labels_is_loud_without_them():
    model = sequential(root=True)
    model.compile("sgd", losses.NegativeLogJoint())
    assert model.evaluate(X, LABELS, verbose=0) == np.inf


@each_model
def test_saving(make, tmp_path):
    model = make(unsupervised=False, root=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.unsupervised is False
    np.testing.assert_array_equal(loaded(X), model(X))
    copy = type(model).from_config(model.get_config())
    assert copy.get_config() == model.get_config()


def test_models_that_complete_data_are_supervised_as_their_loss_needs():
    assert sequential().unsupervised
    model = sequential(infer=True, root=True)
    assert not model.unsupervised
    assert sequential(infer=True, unsupervised=True).unsupervised
    model.compile("sgd", losses.NegativeLogJoint())
    pair = (X, np.ones_like(MASK))
    found = model.evaluate(pair, LABELS, verbose=0, batch_size=48)
    joint = np.asarray(super(type(model), model).call(X))
    want = -joint[np.arange(48), LABELS].mean()
    np.testing.assert_allclose(found, want, rtol=1e-5)
    with pytest.raises(ValueError, match="data without labels, expected .* supervis"):
        model.evaluate(pair, verbose=0)


def test_factors_are_filled_in():
    model = sequential()
    assert model.layers[2].factors == [2, 2]
    bare = SequentialSumProductNetwork()
    assert bare.layers == []
    with pytest.raises(ValueError, match="not enough factors"):
        sequential(num_variables=5)


# --- evidence --------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [None, "variable_wise", "global"])
def test_log_prob_is_a_density_of_the_data(normalize):
    model = sequential(normalize=normalize)
    plain = model.log_prob(X)
    first = model.normalizer
    z = X if first is None else np.asarray(first(X))
    scale = np.ones(4) if first is None else np.broadcast_to(first.stddev, [4])
    spn = Distribution(model if first is None else keras.Sequential(model.layers[1:]))
    want = spn.log_prob(z) - np.log(scale).sum()
    np.testing.assert_allclose(plain, want, rtol=1e-4)
    hidden = np.where(MASK, X, np.nan)
    marginal = model.log_prob(hidden, MASK)
    want = spn.log_prob(z, observed=MASK) - (MASK * np.log(scale)).sum(1)
    np.testing.assert_allclose(marginal, want, rtol=1e-4, atol=1e-4)
    if normalize is None:
        return
    one = sequential(normalize=normalize)
    # Change the unit of the data: densities follow.
    one.normalizer.adapt(X * 10)
    shifted = one.log_prob(X * 10)
    np.testing.assert_allclose(shifted, plain - 4 * np.log(10), rtol=1e-4)


def test_no_density_after_sample_wise_normalization():
    with pytest.raises(NotImplementedError, match="no density of the data"):
        sequential(normalize="sample_wise").log_prob(X)


@pytest.mark.parametrize("normalize", [None, "variable_wise"])
@pytest.mark.parametrize("how", ["mean", "mode", "sample"])
def test_completions_are_those_of_the_distribution(normalize, how):
    rule = SumOpSampleBackprop() if how == "sample" else None
    mean = {"mean": None, "mode": False, "sample": None}[how]
    model = sequential(normalize=normalize, rule=rule, mean=mean)
    hidden = np.where(MASK, X, np.nan)
    completed = np.asarray(model.complete(hidden, MASK, seed=(0, 3)))
    np.testing.assert_array_equal(completed[MASK], X[MASK])
    z = X if normalize is None else np.asarray(model.normalizer(X))
    given = model.distribution().condition(z, MASK)
    want = given.sample(seed=(0, 3)) if how == "sample" else getattr(given, how)()
    if normalize is not None:
        want = model.normalizer.inverse(want)
    np.testing.assert_allclose(completed, np.where(MASK, X, want), rtol=1e-4)


def test_discrete_variables_are_completed_by_integers():
    model = sequential(leaf=layers.CategoricalLeaf(2, num_categories=3), infer=True)
    x = RNG.integers(0, 3, (6, 4)).astype("float32")
    completed = model.predict((x, MASK[:6]), verbose=0)
    assert set(np.unique(completed)) <= {0.0, 1.0, 2.0}


def test_completions_do_not_see_what_is_hidden():
    model = sequential(normalize="sample_wise")
    changed = np.where(MASK, X, X + 100.0)
    np.testing.assert_allclose(
        model.complete(changed, MASK)[~MASK], model.complete(X, MASK)[~MASK], rtol=1e-5
    )


@pytest.mark.parametrize(
    "normalize",
    [
        "variable_wise",
        pytest.param(None, marks=pytest.mark.slow),
        pytest.param("sample_wise", marks=pytest.mark.slow),
    ],
)
def test_evidence_in_training_evaluation_and_prediction(normalize, tmp_path):
    model = sequential(infer=True, normalize=normalize)
    model.compile(keras.optimizers.Adam(0.05), losses.NegativeLogLikelihood())
    hidden = np.where(MASK, X, np.nan)
    first = model.normalizer
    z = X if first is None else np.asarray(first(X, MASK))
    want = -np.mean(model.distribution().log_prob(z, observed=MASK))
    found = model.evaluate((hidden, MASK), verbose=0, batch_size=48)
    np.testing.assert_allclose(found, want, rtol=1e-4)
    loss = model.fit((hidden, MASK), epochs=3, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    predicted = model.predict((hidden, MASK), verbose=0)
    assert np.all(np.isfinite(predicted))
    np.testing.assert_allclose(predicted, model.complete(X, MASK), rtol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded((hidden, MASK)), predicted, rtol=1e-4)


def test_bytes_are_completed_by_numbers():
    x = np.random.default_rng(0).integers(0, 256, X.shape)
    want = sequential().complete(x.astype("float32"), MASK)
    got = sequential().complete(x.astype("uint8"), MASK)
    np.testing.assert_array_equal(got, want)
    assert np.any(got % 1 != 0)
    wide = sequential().complete(x.astype("float64"), MASK)
    assert wide.dtype == tf.float64


def test_one_mask_for_all_or_nothing_observed():
    model = sequential()
    half = np.array([True, False, True, False])
    each = model.complete(X, np.tile(half, [48, 1]))
    np.testing.assert_array_equal(model.complete(X, half), each)
    empty = model.zero_evidence_inference(5)
    np.testing.assert_allclose(empty, np.tile(model.distribution().mean(), [5, 1]))
    sampled = sequential(rule=SumOpSampleBackprop()).zero_evidence_inference(5, seed=1)
    assert len(np.unique(np.asarray(sampled), axis=0)) == 5


def test_nothing_observed_of_an_example_is_completed_by_z_scores():
    model = sequential(normalize="sample_wise")
    want = model.distribution().mean()
    np.testing.assert_allclose(model.zero_evidence_inference(1)[0], want, rtol=1e-5)


def test_online_em_of_a_model_with_accumulators():
    leaf = layers.NormalLeaf(3, scale_trainable=True, use_accumulators=True)
    model = sequential(leaf=leaf, normalize="variable_wise", rule=SumOpEMBackprop())
    model.compile(OnlineExpectationMaximization(0.3), losses.NegativeLogLikelihood())
    loss = model.fit(X, epochs=3, verbose=0).history["loss"]
    assert loss[-1] < loss[0]


WRONG = {
    "no pair": (
        lambda: sequential(infer=True)(X),
        TypeError,
        r"received a single input, expected a pair \(x, observed\)",
    ),
    "mask of numbers": (
        lambda: sequential().complete(X, MASK.astype(float)),
        ValueError,
        r"mask of dtype float64 and shape \(48, 4\) .*expected bool",
    ),
    "no distribution": (
        lambda: SequentialSumProductNetwork(
            [
                keras.Input((4,)),
                layers.FlatToRegions(2),
                layers.NormalLeaf(2),
                layers.PermuteAndPadScopes([[0, 1, 2, 3], [2, 0, 3, 1]]),
                layers.DenseProduct(2),
                layers.Undecompose(),
                layers.DenseSum(2),
                layers.DenseProduct(2),
                layers.RootSum(False),
            ]
        ),
        ValueError,
        r"not smooth. Undecompose .* merges the decompositions 0 and 1 of scope 0",
    ),
    "mask of other variables": (
        lambda: sequential().log_prob(X, MASK[:, :3]),
        ValueError,
        r"shape \(48, 3\) for data of shape \(48, 4\), expected bool",
    ),
    "mask of too many axes": (
        lambda: sequential().log_prob(X, MASK[:, np.newaxis]),
        ValueError,
        r"shape \(48, 1, 4\) for data of shape \(48, 4\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_steps_of_online_em_do_not_depend_on_the_size_of_weights():
    x = RNG.integers(0, 2, (32, 4))
    start = RNG.uniform(0.5, 1.5, (1, 1, 2, 1))
    rules = (SumOpEMBackprop(), SumOpHardEMBackprop())
    for rule in rules:
        found = []
        for size in (1.0, 1e-2, 1e2):
            root = layers.RootSum(
                False,
                sum_op=rule,
                accumulator_initializer=keras.initializers.Constant(size * start),
            )
            keras.utils.set_random_seed(0)
            leaf = layers.BernoulliLeaf(2, trainable=False)
            model = SequentialSumProductNetwork(
                [
                    keras.Input((4,)),
                    layers.FlatToRegions(1),
                    leaf,
                    layers.ReduceProduct(4),
                    root,
                ]
            )
            em = OnlineExpectationMaximization(learning_rate=0.25)
            model.compile(em, losses.NegativeLogLikelihood())
            parts = leaf(tf.reshape(tf.cast(x, "float32"), [-1, 4, 1, 1]))
            child = np.asarray(tf.reduce_sum(parts, 1))[:, 0]  # [32, 2]
            before = start.ravel() / start.sum()
            model.fit(x, batch_size=32, verbose=0)
            after = np.asarray(root.accumulators).ravel()
            found.append(after / after.sum())
        log_joint = child + np.log(before)
        share = np.exp(log_joint - log_joint.max(-1, keepdims=True))
        if rule is not rules[0]:
            share = (share == 1).astype(float)
        share = (share / share.sum(-1, keepdims=True)).mean(0)
        for weights in found:
            np.testing.assert_allclose(weights, 0.75 * before + 0.25 * share, rtol=1e-5)
