"""Initializers of weights and leaves against plain NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import initializers, layers

# A seed and no data: what a config holds.
MADE = {
    "Dirichlet": initializers.Dirichlet(seed=3),
    "EpsilonInverseFanIn": initializers.EpsilonInverseFanIn(-1, 0.1),
    "Equidistant": initializers.Equidistant(-2.0, 3.0, axis=0),
    "KMeans": initializers.KMeans(data_fraction=0.5, downsample=2, seed=4),
    "Logspace": initializers.Logspace(initializers.EpsilonInverseFanIn()),
    "PoonDomingosMeanOfQuantileSplit": initializers.PoonDomingosMeanOfQuantileSplit(
        samplewise_normalization=True
    ),
    "PoonDomingosStddevOfQuantileSplit": (
        initializers.PoonDomingosStddevOfQuantileSplit(normalization_epsilon=1.0)
    ),
}


def test_every_initializer_is_tested():
    assert set(MADE) == set(initializers.__all__)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MADE)
def test_config_and_dtype(name, dtype):
    made = MADE[name]
    copy = keras.initializers.deserialize(keras.initializers.serialize(made))
    assert copy.get_config() == made.get_config()
    value = made(shape=(1, 3, 2, 4, 1), dtype=dtype)
    assert value.dtype == dtype
    assert value.shape == (1, 3, 2, 4, 1)
    np.testing.assert_array_equal(copy(shape=(1, 3, 2, 4, 1), dtype=dtype), value)
    assert np.all(np.isfinite(value))


def test_epsilon_inverse_fan_in():
    value = initializers.EpsilonInverseFanIn(epsilon=1e-2)(shape=(2, 5, 3))
    np.testing.assert_allclose(value, np.full([2, 5, 3], 2e-3), rtol=1e-6)


def test_equidistant_runs_over_components():
    leaf = layers.NormalLeaf(4, initializers.Equidistant(-1.5, 1.5))
    leaf.build((None, 3, 2, 1))
    location = leaf.parameters["location"].numpy()
    want = np.broadcast_to([-1.5, -0.5, 0.5, 1.5], [1, 3, 2, 4])
    np.testing.assert_allclose(location[..., 0], want, rtol=1e-6)
    middle = initializers.Equidistant(0.0, 3.0)(shape=(2, 1, 2))
    np.testing.assert_allclose(middle, np.full([2, 1, 2], 1.5))
    last = initializers.Equidistant(0.0, 2.0, axis=-1)(shape=(2, 3))
    np.testing.assert_allclose(last, [[0, 1, 2]] * 2)


def test_rows_of_numbers_are_data():
    x = [[0.0], [0.5], [9.5], [10.0]]
    options = {"samplewise_normalization": False, "data_fraction": 1.0}
    made = initializers.KMeans(x, **options)(shape=(1, 2, 1))
    want = initializers.KMeans(np.array(x), **options)(shape=(1, 2, 1))
    np.testing.assert_array_equal(made, want)


def test_equidistant_names_a_wrong_axis():
    with pytest.raises(ValueError, match=r"shape \(3,\), which has no axis=-2"):
        initializers.Equidistant()(shape=(3,))


def quantile_means(column: np.ndarray, count: int, statistic=np.mean) -> list[float]:
    """One value at a time: part k holds every value of rank below its share."""
    ordered = sorted(column)
    size, extra = divmod(len(ordered), count)
    values, start = [], 0
    for k in range(count):
        stop = start + size + (k < extra)
        values.append(statistic(ordered[start:stop]))
        start = stop
    return values


# Numbers at which LibSPN-Keras makes another number of components among them.
@pytest.mark.parametrize(("count", "k"), [(10, 4), (100, 7), (50, 8), (4, 4), (9, 1)])
def test_poon_domingos_has_exactly_k_components(count, k):
    x = np.random.default_rng(0).normal(size=[count, 3])
    mean = initializers.PoonDomingosMeanOfQuantileSplit(x)(shape=(1, 3, 2, k, 1))
    std = initializers.PoonDomingosStddevOfQuantileSplit(x)(shape=(1, 3, 2, k, 1))
    for v in range(3):
        for d in range(2):
            want = quantile_means(x[:, v], k)
            np.testing.assert_allclose(mean[0, v, d, :, 0], want, rtol=1e-5)
            want = quantile_means(x[:, v], k, np.std)
            np.testing.assert_allclose(std[0, v, d, :, 0], want, rtol=1e-5, atol=1e-7)


def test_poon_domingos_with_few_or_equal_examples():
    x = np.array([[1.0], [2.0], [3.0]])
    few = initializers.PoonDomingosMeanOfQuantileSplit(x)(shape=(1, 5, 1))
    np.testing.assert_allclose(np.ravel(few), [1, 1, 2, 3, 3])
    one = initializers.PoonDomingosMeanOfQuantileSplit(x[:1])(shape=(1, 2, 1))
    np.testing.assert_allclose(np.ravel(one), [1, 1])


IMAGES = np.random.default_rng(1).normal(size=[12, 4, 3, 2])
SPATIAL = (1, 4, 3, 3, 2)


@pytest.mark.parametrize("kind", ["PoonDomingosMeanOfQuantileSplit", "KMeans"])
def test_images_flat_data_vectors_and_datasets(kind):
    arguments = {"samplewise_normalization": False}
    if kind == "KMeans":
        arguments.update(data_fraction=1.0, group_centroids=False)
    make = lambda data: getattr(initializers, kind)(data, **arguments)  # noqa: E731
    spatial = make(IMAGES)(shape=SPATIAL)
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, np.zeros(12))).batch(5)
    np.testing.assert_array_equal(make(dataset)(shape=SPATIAL), spatial)
    column = IMAGES[:, 0, 0, 0]
    for data, shape in [
        (column[:, np.newaxis], (1, 1, 1, 3, 1)),  # flat
        (column[:, np.newaxis, np.newaxis], (1, 1, 1, 3, 1)),  # flat, with dims
        (column[:, np.newaxis, np.newaxis], (1, 3, 1)),  # slots of a region graph
        (column[:, np.newaxis], (1, 3, 1)),
    ]:
        got = np.sort(np.ravel(make(data)(shape=shape)))
        if kind != "KMeans":
            want = quantile_means(column, 3)
            np.testing.assert_allclose(got, want, rtol=1e-5)
        assert column.min() - 1e-5 < got[0] < got[1] < got[2] < column.max() + 1e-5
    vectors = make(IMAGES[:, :, 0])(shape=(1, 4, 5, 3, 2))  # five decompositions
    for d in range(5):
        np.testing.assert_array_equal(vectors[:, :, d], vectors[:, :, 0])


def test_sample_wise_z_scores():
    x = np.random.default_rng(2).normal(5.0, 3.0, size=[20, 4])
    z = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 0.5)
    shape = (1, 4, 1, 2, 1)
    for kind in (
        initializers.PoonDomingosMeanOfQuantileSplit,
        initializers.PoonDomingosStddevOfQuantileSplit,
    ):
        got = kind(x, samplewise_normalization=True, normalization_epsilon=0.5)
        np.testing.assert_allclose(got(shape), kind(z)(shape), rtol=1e-5)


def clusters(count=60, seed=0):
    """Two variables of two dimensions with three far clusters each."""
    rng = np.random.default_rng(seed)
    centers = np.array([[[0, 0], [10, 0], [0, 10]], [[11, 1], [1, 1], [1, 11]]])
    label = rng.integers(0, 3, [count, 2])
    x = centers[np.arange(2), label] + rng.normal(scale=0.1, size=[count, 2, 2])
    return x, centers


def test_k_means_finds_clusters():
    x, centers = clusters()
    arguments = {"samplewise_normalization": False, "data_fraction": 1.0}
    for initialization in ("kmeans++", "random"):
        made = initializers.KMeans(
            x, **arguments, centroid_initialization=initialization
        )
        found = np.asarray(made(shape=(1, 2, 1, 3, 2)))[0, :, 0]
        assert np.all((found > -1) & (found < 12))
        if initialization == "kmeans++":
            for v in range(2):
                distance = np.abs(found[v][:, None] - centers[v]).max(-1)
                assert distance.min(0).max() < 0.2
                assert distance.min(1).max() < 0.2
            # Grouped: cluster k of both variables are the nearest ones.
            assert np.abs(found[0] - found[1]).max() < 1.5


def test_k_means_repeats_and_moves_surplus_components():
    x, _ = clusters()
    made = initializers.KMeans(
        x,
        samplewise_normalization=False,
        data_fraction=0.5,
        max_num_clusters=3,
        jitter_factor=0.25,
    )
    found = np.asarray(made(shape=(1, 2, 1, 7, 2)))[0, :, 0]
    moved = found - found[:, np.arange(7) % 3]
    np.testing.assert_array_equal(moved[:, :3], 0)
    assert 0 < np.abs(moved[:, 3:]).max() <= 0.5


@pytest.mark.parametrize("value", ["constant", "one example"])
def test_k_means_of_poor_data(value):
    x = np.ones([5, 3]) if value == "constant" else np.array([[1.0, 2.0, 3.0]])
    found = initializers.KMeans(x)(shape=(1, 3, 2, 4, 1))
    assert np.all(np.isfinite(found))


def test_k_means_of_smaller_images():
    images = np.zeros([40, 6, 6, 1])
    images[20:] = 4.0  # two clusters everywhere
    images += np.random.default_rng(0).normal(scale=0.1, size=images.shape)
    made = initializers.KMeans(
        images, samplewise_normalization=False, data_fraction=1.0, downsample=2
    )
    found = np.sort(np.asarray(made(shape=(1, 6, 6, 2, 1)))[0, ..., 0], axis=-1)
    np.testing.assert_allclose(found[..., 0], 0, atol=0.1)
    np.testing.assert_allclose(found[..., 1], 4, atol=0.1)


def test_a_model_that_started_from_data_is_saved(tmp_path):
    x = np.random.default_rng(0).normal(size=[30, 4]).astype("float32")
    start = initializers.PoonDomingosMeanOfQuantileSplit(x)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.FlatToRegions(1),
            layers.NormalLeaf(3, location_initializer=start),
            layers.DenseProduct(4),
            layers.RootSum(False),
        ]
    )
    location = model.layers[1].parameters["location"].numpy()
    np.testing.assert_allclose(location[0, ..., 0], start((1, 4, 1, 3, 1))[0, ..., 0])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


X = np.zeros([5, 4])
WRONG = {
    "shape": (
        lambda: initializers.PoonDomingosMeanOfQuantileSplit(X)((1, 3, 1, 2, 1)),
        ValueError,
        r"data of shape \(5, 4\) for a parameter of shape \(1, 3, 1, 2, 1\), expected",
    ),
    "strings": (
        lambda: initializers.KMeans(np.array([["a"]])),
        TypeError,
        "KMeans: data must hold numbers, received dtype <U1, expected .* Encode",
    ),
    "NaN": (
        lambda: initializers.KMeans(np.array([[np.nan]])),
        ValueError,
        "NaN or infinite values, expected finite",
    ),
    "empty": (
        lambda: initializers.PoonDomingosMeanOfQuantileSplit(X[:0]),
        ValueError,
        r"data of shape \(0, 4\), expected \[examples, variables",
    ),
    "no batches": (lambda: initializers.KMeans([]), ValueError, r"data of shape \(0"),
    "fraction": (
        lambda: initializers.KMeans(X, data_fraction=0.0),
        ValueError,
        "number above 0 and of at most 1. Received data_fraction=0.0",
    ),
    "start": (
        lambda: initializers.KMeans(X, centroid_initialization="first"),
        ValueError,
        "one of 'kmeans.*Received centroid_initialization='first'",
    ),
    "groups": (
        lambda: initializers.KMeans(X, use_groups=True),
        ValueError,
        "received use_groups=True, which is not defined, expected False. Use group_",
    ),
    "downsampled vectors": (
        lambda: initializers.KMeans(X, downsample=2)((4, 2, 1)),
        ValueError,
        "received downsample=2 for data of shape .*expected images",
    ),
    "epsilon": (
        lambda: initializers.EpsilonInverseFanIn(epsilon=0),
        ValueError,
        "must be a finite number above 0. Received epsilon=0",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_dirichlet_with_a_concentration_for_each_child():
    alpha = np.array([1.0, 2.0, 5.0])
    draw = initializers.Dirichlet(axis=0, alpha=alpha, seed=1)
    again = initializers.Dirichlet.from_config(draw.get_config())
    weights = draw(shape=(3, 20_000)).numpy()
    np.testing.assert_array_equal(weights, again(shape=(3, 20_000)))
    # Six standard errors of a mean of at most 0.0012: false alarms below 1e-8.
    np.testing.assert_allclose(weights.mean(1), alpha / alpha.sum(), atol=0.0075)
    with pytest.raises(ValueError, match=r"3 numbers as alpha.*expected 4"):
        draw(shape=(4, 2))
