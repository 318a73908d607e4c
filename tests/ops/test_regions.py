"""Regions picked by static index, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.ops.regions import (
    gather_blank,
    places_of,
    sum_over_uses,
    take_regions,
)

RNG = np.random.default_rng(0)
VALUE = RNG.normal(size=[2, 5, 3, 4])  # [..., R, K, N]
INDICES = {
    "overlapping": [0, 1, -1, 3, 1, 2, 0, -1, 3, 3],  # nobody uses region 4
    "permutation": [3, 0, 4, 1, 2],
    "range": [1, 2, 3],
    "all": [0, 1, 2, 3, 4],
    "nothing": [-1],
}
each_index = pytest.mark.parametrize(
    "index", [np.array(index) for index in INDICES.values()], ids=INDICES
)


def plain(value, index):
    """By a gather that TensorFlow differentiates."""
    padded = tf.concat([value, tf.zeros_like(value[:, :1])], axis=1)
    return tf.gather(padded, index % 6, axis=1)


def with_gradient(function, value, flow):
    with tf.GradientTape() as tape:
        tape.watch(value)
        result = function(value)
    return result, tape.gradient(result, value, flow)


@each_index
@pytest.mark.parametrize("jit_compile", [None, True])
def test_value_and_gradient(index, jit_compile):
    value = tf.constant(VALUE)
    flow = tf.constant(RNG.normal(size=[2, len(index), 3, 4]))

    @tf.function(jit_compile=jit_compile, autograph=False)
    def compiled(value):
        return with_gradient(lambda v: take_regions(v, index), value, flow)

    want = with_gradient(lambda v: plain(v, index), value, flow)
    for got, expected in zip(compiled(value), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@each_index
def test_second_derivatives(index):
    value = tf.constant(VALUE)
    weight = tf.constant(RNG.normal(size=[2, len(index), 3, 4]))

    def curvature(function):
        with tf.GradientTape() as outer:
            outer.watch(value)
            gradient = with_gradient(
                lambda v: tf.sin(function(v)), value, weight * value[:, :1]
            )[1]
        return outer.gradient(gradient, value)

    want = curvature(lambda v: plain(v, index))
    have = curvature(lambda v: take_regions(v, index))
    np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


@each_index
@pytest.mark.parametrize("axis", [-3, -2])
def test_the_sum_over_uses_is_the_adjoint(index, axis):
    value = tf.constant(VALUE if axis == -3 else np.swapaxes(VALUE, 1, 2))
    taken = gather_blank(value, index, axis)
    flow = tf.constant(RNG.normal(size=taken.shape))
    back = sum_over_uses(flow, places_of(index, 5), axis)
    assert back.shape == value.shape
    np.testing.assert_allclose(tf.reduce_sum(taken * flow), tf.reduce_sum(value * back))


def test_what_is_not_there_is_blank():
    taken = gather_blank(tf.constant(VALUE), np.array([1, -1]), -3, blank=-np.inf)
    np.testing.assert_array_equal(taken[:, 0], VALUE[:, 1])
    assert np.all(np.asarray(taken[:, 1]) == -np.inf)


def test_nan_and_impossible_values_stay_where_they_are():
    value = np.zeros([3, 2, 1])
    value[0], value[1] = np.nan, -np.inf
    taken = take_regions(tf.constant(value), np.array([2, 1, -1, 0]))
    assert np.isnan(taken[3]).all()
    assert np.all(np.asarray(taken[1]) == -np.inf)
    assert np.all(np.asarray(taken)[[0, 2]] == 0)
