"""Variables as coordinates of points: all kinds are about equally far apart."""

import numpy as np
import pytest

from tfp_spn._clustering import points_of

ALL, ONCE = np.ones(400, bool), np.ones(400)


def square_distances(points):
    return np.square(points[:, np.newaxis] - points).sum(-1)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_categories_are_equally_far_from_each_other(count):
    x = np.random.default_rng(0).integers(0, count, [400, 1]) * 3 + 1
    points = points_of(x, ALL, ONCE, True)
    assert points.shape[1] == (1 if count == 2 else count)
    np.testing.assert_allclose(square_distances(points), 2 * (x != x.T), atol=1e-5)


def test_numbers_are_as_far_on_average():
    x = np.random.default_rng(0).normal(50, 7, [400, 2])
    points = points_of(x, ALL, ONCE, False)
    np.testing.assert_allclose(square_distances(points).mean(), 2 * 2, rtol=1e-5)
    constant = points_of(np.full([400, 1], 3.7), ALL, ONCE, False)
    np.testing.assert_allclose(constant, 0, atol=1e-5)


@pytest.mark.parametrize("is_category", [False, True])
def test_missing_values_are_at_the_mean_and_weights_are_repetitions(is_category):
    rng = np.random.default_rng(0)
    x, seen = rng.integers(0, 3, [400, 1]), rng.random(400) < 0.7
    weight = rng.integers(0, 3, 400)
    points = points_of(x, seen, weight.astype(float), is_category)
    np.testing.assert_array_equal(points[~seen], 0)
    np.testing.assert_allclose(weight @ points, 0, atol=1e-3)
    repeated = points_of(
        x.repeat(weight, 0), seen.repeat(weight), np.ones(weight.sum()), is_category
    )
    np.testing.assert_allclose(points.repeat(weight, 0), repeated, atol=1e-5)
    nothing = points_of(x, ~ALL, ONCE, is_category)
    assert not np.any(nothing)
