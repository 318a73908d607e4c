"""Regions picked and multiplied by static index, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.ops.regions import add_regions, multiply_regions

RNG = np.random.default_rng(0)
VALUE = RNG.uniform(0.1, 1.0, [2, 5, 3, 4])  # [..., R, K, N]
VALUE[0, 1, 2] = 0.0
VALUE[1, 3] = 0.0
# Overlapping windows with padding; regions 0 and 4 are used unequally often.
OVERLAPPING = [np.array(i) for i in ([0, 1, -1, 3], [1, 2, 0, -1], [2, 3, 3, 1])]
SIDE_BY_SIDE = [np.array([0, 2]), np.array([1, 4])]  # nobody uses region 3
INDICES = {"overlapping": OVERLAPPING, "side by side": SIDE_BY_SIDE}
each_index = pytest.mark.parametrize("indices", INDICES.values(), ids=INDICES)


def plain(value, indices, is_log):
    """By gathers that TensorFlow differentiates."""
    blank = tf.zeros_like(value[:, :1]) if is_log else tf.ones_like(value[:, :1])
    padded = tf.concat([value, blank], axis=1)
    factors = [tf.gather(padded, index % 6, axis=1) for index in indices]
    reduce = tf.add_n if is_log else lambda f: tf.reduce_prod(tf.stack(f), axis=0)
    return reduce(factors)


def with_gradient(function, value, flow):
    with tf.GradientTape() as tape:
        tape.watch(value)
        result = function(value)
    return result, tape.gradient(result, value, flow)


@each_index
@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("jit_compile", [None, True])
def test_value_and_gradient(indices, is_log, jit_compile):
    value = tf.constant(np.log(VALUE + 0.1) if is_log else VALUE)
    flow = tf.constant(RNG.normal(size=[2, len(indices[0]), 3, 4]))
    operation = add_regions if is_log else multiply_regions

    @tf.function(jit_compile=jit_compile, autograph=False)
    def compiled(value):
        return with_gradient(lambda v: operation(v, indices), value, flow)

    want = with_gradient(lambda v: plain(v, indices, is_log), value, flow)
    have = compiled(value)
    np.testing.assert_allclose(have[0], want[0], rtol=1e-12)
    gradient = np.asarray(want[1])
    if not is_log:  # what a unit of zero receives ends in a factor of zero
        gradient = np.where(VALUE > 0, gradient, 0)
    np.testing.assert_allclose(have[1], gradient, rtol=1e-12, atol=1e-12)


def test_flow_to_logarithms_is_that_of_gathers():
    """Also where units are zero."""
    flow = tf.ones([2, 4, 3, 4], tf.float64)
    value = tf.constant(VALUE)
    have = with_gradient(lambda v: multiply_regions(v, OVERLAPPING), value, flow)[1]
    want = with_gradient(lambda v: plain(v, OVERLAPPING, False), value, flow)[1]
    np.testing.assert_allclose(have * value, want * value, rtol=1e-12)
    assert np.all(np.isfinite(have))


@pytest.mark.parametrize("in_graph", [False, True])
def test_second_derivatives(in_graph):
    value = tf.constant(VALUE + 0.1)
    weight = tf.constant(RNG.normal(size=[2, 4, 3, 4]))

    def curvature(function):
        with tf.GradientTape() as outer:
            outer.watch(value)
            gradient = with_gradient(function, value, weight)[1]
            total = tf.reduce_sum(gradient * tf.sin(10 * value))
        return outer.gradient(total, value)

    def have():
        return curvature(lambda v: multiply_regions(v, OVERLAPPING))

    if in_graph:
        have = tf.function(have, autograph=False)
    want = curvature(lambda v: plain(v, OVERLAPPING, False))
    np.testing.assert_allclose(have(), want, rtol=1e-9, atol=1e-9)


def test_nan_and_impossible_values_stay_where_they_are():
    value = np.zeros([3, 2, 1])
    value[0], value[1] = np.nan, -np.inf
    product = multiply_regions(tf.constant(value), [np.array([0, 2]), np.array([2, 2])])
    assert np.isnan(product[0]).all()
    assert np.all(np.asarray(product[1]) == 0)
    total = add_regions(tf.constant(value), [np.array([1, 2]), np.array([2, -1])])
    assert np.all(np.asarray(total[0]) == -np.inf)
    assert np.all(np.asarray(total[1]) == 0)
