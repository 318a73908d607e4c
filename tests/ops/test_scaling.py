"""Power-of-two scaling is exact."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.ops.scaling import rescaled


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled_units_times_scale_are_the_units(dtype):
    rng = np.random.default_rng(0)
    exponents = rng.integers(-60, 4, [5, 1, 7])
    units = (rng.random([5, 3, 7]) * 2.0**exponents).astype(dtype)
    scaled, log_scale = rescaled(tf.constant(units))
    largest = scaled.numpy().max(axis=-2)
    assert np.all((largest >= 0.5) & (largest < 1))
    power = np.round(log_scale.numpy() / np.log(2))
    np.testing.assert_array_equal(scaled.numpy() * 2.0**power, units)
    assert log_scale.dtype == tf.float64


def test_zero_stays_zero_and_the_scale_is_a_constant():
    units = tf.Variable([[[0.0, 3.0], [0.0, 1.0]]])
    with tf.GradientTape() as tape:
        scaled, log_scale = rescaled(units)
    np.testing.assert_array_equal(scaled[0, :, 0], [0, 0])
    assert np.all(np.isfinite(log_scale))
    gradient = tape.gradient(scaled, units)
    np.testing.assert_array_equal(gradient[0, :, 1], [0.25, 0.25])
