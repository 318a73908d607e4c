"""z-scores against plain NumPy; densities of the data; saving and training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import distributions, layers
from tfp_spn.layers import NormalizeAxes, NormalizeStandardScore
from tfp_spn.learning import NegativeLogLikelihood

X = np.random.default_rng(0).normal([1.0, -5.0, 100.0], [2.0, 0.1, 30.0], (50, 3))
IMAGES = np.random.default_rng(1).uniform(0, 255, (20, 4, 5, 2))


def statistics(x, axes):
    if axes == "sample_wise":
        over = tuple(range(1, x.ndim))
        return x.mean(over, keepdims=True), x.std(over, keepdims=True)
    if axes == "variable_wise":
        return x.mean(0), x.std(0)
    return x.mean(), x.std()


@pytest.mark.parametrize("x", [X, IMAGES], ids=["flat", "images"])
@pytest.mark.parametrize("axes", [each.value for each in NormalizeAxes])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_inverse(x, axes, dtype):
    layer = NormalizeStandardScore(0.5, axes, dtype=dtype)
    if axes != "sample_wise":
        dataset = tf.data.Dataset.from_tensor_slices((x, x[..., 0])).batch(7)
        layer.adapt(dataset)
    mean, std = statistics(x, axes)
    z = layer(x)
    assert z.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    want = (x - mean) / (std + 0.5)
    np.testing.assert_allclose(z, want, rtol=tolerance, atol=10 * tolerance)
    given = {"x": x} if axes == "sample_wise" else {}
    back = layer.inverse(z, **given)
    np.testing.assert_allclose(back, x, rtol=10 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("axes", ["variable_wise", "global"])
def test_one_pass_over_batches_is_one_array(axes):
    x = X + 1e6  # a naive sum of squares would lose all digits
    whole, parts = (NormalizeStandardScore(axes=axes, dtype="float64") for _ in "ab")
    whole.adapt(x)
    parts.adapt([x[:1], x[1:30], x[30:]])
    np.testing.assert_allclose(parts.stddev, whole.stddev, rtol=1e-9)
    np.testing.assert_allclose(whole.stddev, statistics(x, axes)[1], rtol=1e-9)


@pytest.mark.parametrize("axes", ["variable_wise", "global"])
def test_change_of_variables(axes):
    layer = NormalizeStandardScore(0.25, axes)
    layer.adapt(X)
    got = layer.forward_log_det_jacobian(X[:2])
    want = -np.sum(np.log(np.broadcast_to(layer.stddev, [3]) + 0.25))
    np.testing.assert_allclose(got, [want] * 2, rtol=1e-5)
    # By differences: the Jacobian is diagonal.
    step = 1e-2
    moved = np.asarray(layer(X[:2] + step)) - np.asarray(layer(X[:2] - step))
    np.testing.assert_allclose(np.log(moved / (2 * step)).sum(1), got, rtol=1e-2)


def test_the_density_of_the_data_sums_to_one():
    layer = NormalizeStandardScore(axes="variable_wise", dtype="float64")
    layer.adapt(X[:, 2:])  # standard deviation near 30
    x = np.linspace(-500, 700, 20_001)[:, np.newaxis]
    of_z = np.exp(-0.5 * np.square(layer(x)))[:, 0] / np.sqrt(2 * np.pi)
    of_x = of_z * np.exp(layer.forward_log_det_jacobian(x))
    step = x[1, 0] - x[0, 0]
    assert of_x.sum() * step == pytest.approx(1, abs=1e-6)
    assert of_z.sum() * step > 20


def test_hidden_values_do_not_leak():
    observed = np.array([[True, True, False]])
    x = X[:4]
    changed = np.where(observed, x, np.nan)
    layer = NormalizeStandardScore()
    z = layer(x, observed)
    np.testing.assert_array_equal(z[:, :2], layer(changed, observed)[:, :2])
    known = x[:, :2]
    want = (known - known.mean(1, keepdims=True)) / known.std(1, keepdims=True)
    np.testing.assert_allclose(z[:, :2], want, rtol=1e-4)
    none = layer(x, np.zeros([1, 3], bool))
    assert np.all(np.isfinite(none))
    z = np.array([[1.0, -2.0, 3.0]], "float32")
    back = layer.inverse(z, x, np.zeros([1, 3], bool))
    np.testing.assert_array_equal(back, np.tile(z, [len(x), 1]))


@pytest.mark.parametrize("epsilon", [0.0, 1e-8])
def test_constant_data_give_no_nan(epsilon):
    layer = NormalizeStandardScore(epsilon)
    x = tf.constant(np.full([3, 4], 7.0), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = layer(x)
    np.testing.assert_array_equal(z, 0)
    for value in (0.1, 0.7, 123.4):
        image = np.full([1, 28, 28, 1], value, "float32")
        np.testing.assert_array_equal(layer(image), 0)
        seen = np.arange(28)[:, np.newaxis] < 14
        np.testing.assert_array_equal(layer(image, seen)[:, :14], 0)
    assert not np.any(np.isnan(tape.gradient(z, x)))
    layer = NormalizeStandardScore(epsilon, "variable_wise")
    layer.adapt(np.full([1, 4], 7.0))
    np.testing.assert_array_equal(layer(x), 0)


def make_model(axes="sample_wise"):
    first = NormalizeStandardScore(axes=axes, input_shape=(3,))  # as in Keras 2
    return keras.Sequential(
        [
            first,
            layers.FlatToRegions(1),
            layers.NormalLeaf(2, scale_trainable=True),
            layers.DenseProduct(3),
            layers.RootSum(False),
        ]
    )


@pytest.mark.parametrize("axes", [each.value for each in NormalizeAxes])
def test_in_training_and_saving(axes, tmp_path):
    model = make_model(axes)
    x = X.astype("float32")
    if axes != "sample_wise":
        model.layers[0].adapt(x)
    model.compile(keras.optimizers.Adam(0.05), NegativeLogLikelihood())
    loss = model.fit(x, np.zeros(50), epochs=3, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[0].get_config() == model.layers[0].get_config()


def test_names_of_older_versions():
    assert NormalizeStandardScore(sample_wise=True).is_sample_wise
    older = NormalizeStandardScore(1e-8, sample_wise=False)
    assert older.axes is NormalizeAxes.VARIABLE_WISE
    assert NormalizeStandardScore(axes=NormalizeAxes.GLOBAL).axes == "global"


def test_a_circuit_of_z_scores_is_no_distribution_of_the_data():
    with pytest.raises(TypeError, match="distribution of z-scores. Pass the layers"):
        distributions.SumProductNetwork(make_model())


WRONG = {
    "axes": (
        lambda: NormalizeStandardScore(axes="rows"),
        ValueError,
        'received axes=\'rows\', expected one of "sample_wise", "variable_wise", "gl',
    ),
    "epsilon": (
        lambda: NormalizeStandardScore(-1.0),
        ValueError,
        "of at least 0. Received normalization_epsilon=-1.0",
    ),
    "adapt": (
        lambda: NormalizeStandardScore().adapt(X),
        ValueError,
        'statistics of its own. Use axes="variable_wise"',
    ),
    "no data": (
        lambda: NormalizeStandardScore(axes="global").adapt([]),
        ValueError,
        "received no data, expected at least one example",
    ),
    "NaN": (
        lambda: NormalizeStandardScore(axes="global").adapt(X * np.nan),
        ValueError,
        "NaN or infinite values, expected finite",
    ),
    "another shape": (
        lambda: make_model("variable_wise").layers[0].adapt(X[:, :2]),
        ValueError,
        r"data of shape \(2,\) without the batch, expected \(3,\)",
    ),
    "uneven batches": (
        lambda: NormalizeStandardScore(axes="global").adapt([X, X[:, :2]]),
        ValueError,
        r"batch of shape \(50, 2\), expected \[examples, 3\]",
    ),
    "no inverse": (
        lambda: NormalizeStandardScore().inverse(X),
        ValueError,
        "expected the data too, .*Pass x=",
    ),
    "no density": (
        lambda: NormalizeStandardScore().forward_log_det_jacobian(X),
        NotImplementedError,
        "there is no density of the data. Use axes=",
    ),
    "unknown shape": (
        lambda: NormalizeStandardScore().build((None, None)),
        ValueError,
        r"received input shape \(None, None\), expected \[batch, ...\]",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
