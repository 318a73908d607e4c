"""Sums of many terms keep their digits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.ops.long_sums import MAX_TERMS, add_pairwise, in_parts, long_sum

SIZES = [1, 2, 3, MAX_TERMS, MAX_TERMS + 1, 2 * MAX_TERMS + 1, 30_000]


def terms(size):
    """Of one sign and not representable: sums are biased if each term is rounded."""
    values = np.float32(-0.1 - np.random.default_rng(0).random([2, size, 3]))
    return values, values.astype(np.float64).sum(1)


@pytest.mark.parametrize("size", SIZES)
def test_long_sum(size):
    values, want = terms(size)
    for options in ({}, {"dtype": tf.float64}):
        got = long_sum(tf.constant(values), -2, **options)
        assert got.dtype == options.get("dtype", tf.float32)
        np.testing.assert_allclose(got, want, rtol=5e-7)


@pytest.mark.parametrize("size", SIZES)
def test_add_pairwise(size):
    values, want = terms(size)
    got = add_pairwise(list(np.moveaxis(values, 1, 0)))
    np.testing.assert_allclose(got, want, rtol=5e-7)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_unknown_sizes_of_other_axes_and_gradients(jit_compile):
    values, want = terms(1_000)

    @tf.function(jit_compile=jit_compile, input_signature=[tf.TensorSpec([None] * 3)])
    def compute(values):
        values = tf.ensure_shape(values, [None, 1_000, 3])
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = long_sum(values, -2)
        assert total.shape.as_list() == [None, 3]
        return total, tape.gradient(total, values)

    total, gradient = compute(values)
    np.testing.assert_allclose(total, want, rtol=5e-7)
    np.testing.assert_array_equal(gradient, np.ones_like(values))


def test_parts_are_filled_up_with_zeros():
    values = tf.range(1.0, 2 * MAX_TERMS + 2)
    parts = in_parts(values[:, tf.newaxis], -2)[..., 0]
    assert parts.shape == [3, -(-(2 * MAX_TERMS + 1) // 3)]
    np.testing.assert_array_equal(tf.reshape(parts, [-1])[: len(values)], values)
    assert parts[-1, -1] == 0


def test_impossible_terms():
    values = np.zeros([1, 600, 1], np.float32)
    values[0, 550] = -np.inf
    assert long_sum(tf.constant(values), -2).numpy() == -np.inf
