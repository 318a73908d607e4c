"""Draws by weight."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfp_spn.ops.choice import cumulative_weights, index_of_quantile, sample_index

WEIGHTS = np.array([0.0, 3.0, 0.0, 1e-30, 1.0, 0.0, 2.0, 0.0])
NUM_DRAWS = 20_000


def draw(axis: int, weights: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    weights = tf.constant(weights, tf.float32)
    if axis == -1:
        rows = tf.tile(weights[tf.newaxis], [NUM_DRAWS, 1])
    else:
        rows = tf.tile(weights[:, tf.newaxis], [1, NUM_DRAWS])
    return index_of_quantile(cumulative_weights(rows, axis), seed, axis).numpy()


@pytest.mark.statistical
@pytest.mark.parametrize("axis", [-1, -2])
def test_frequencies(axis):
    """False-alarm rate 1e-6."""
    counts = np.bincount(draw(axis, WEIGHTS, (1, 2)), minlength=8)
    likely = WEIGHTS > 0.1
    assert counts[~likely].sum() == 0
    expected = WEIGHTS[likely] / WEIGHTS[likely].sum() * NUM_DRAWS
    assert stats.chisquare(counts[likely], expected).pvalue > 1e-6


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("size", [3, 40, 300])
def test_weight_zero_is_never_drawn(axis, size):
    rng = np.random.default_rng(size)
    weights = np.exp(rng.normal(scale=8, size=size)) * (rng.random(size) < 0.5)
    weights[size // 2] = 1.0
    for seed in range(5):
        assert np.all(weights[draw(axis, weights, (seed, 0))] > 0)


@pytest.mark.parametrize("axis", [-1, -2])
def test_all_zero_gives_the_last(axis):
    assert np.all(draw(axis, np.zeros(4), (0, 0)) == 3)


def test_log_weights_of_any_size():
    log_weights = tf.constant([[-np.inf, -1e5, -np.inf, -1e5 - 200]], tf.float32)
    for seed in range(5):
        assert sample_index(log_weights, (seed, 1)).numpy() == 1
