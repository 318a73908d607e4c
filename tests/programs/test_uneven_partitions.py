"""Partitions of very many different numbers of factors, side by side in a step."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfp_spn import layers
from tfp_spn.circuits import from_region_graph
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.programs.steps import _merged_bounds
from tfp_spn.region_graphs import from_nested_lists

NUM_FACTORS = [*range(2, 42), *[2] * 60]


@pytest.fixture(scope="module")
def spn():
    """Independent normal variables, as a tree."""
    number = itertools.count()
    parts = [[next(number) for _ in range(count)] for count in NUM_FACTORS]
    leaf = layers.NormalLeaf(1, dtype="float64")
    return SumProductNetwork(from_region_graph(from_nested_lists(parts), leaf, 1))


def test_little_is_padded(spn):
    [step] = [s for s in spn.program.steps if len(s.factors) == max(NUM_FACTORS)]
    assert step.num_regions == len(NUM_FACTORS)
    assert len(step.segments) == 16
    read = sum(len(gather.index) for factors in step.segments for gather in factors)
    assert sum(NUM_FACTORS) <= read < 1.1 * sum(NUM_FACTORS)


def test_thousands_of_kinds_are_merged_soon():
    counts = np.random.default_rng(0).integers(2, 12, 2_000)
    start = time.process_time()
    bounds = _merged_bounds([*range(2_001)], counts, 16)
    assert time.process_time() - start < 2.0  # each pair anew would take 20 s
    assert (bounds[0], bounds[-1], len(bounds)) == (0, 2_000, 17)


@pytest.mark.compiled
def test_values_and_gradients(spn):
    [location] = [v for v in spn.trainable_variables if "location" in v.name]
    x = np.random.default_rng(0).normal(size=(3, sum(NUM_FACTORS)))
    with tf.GradientTape() as tape:
        log_prob = spn.log_prob(x)
    variables = spn.program.layout.slot_variable
    distance = x[:, variables] - np.reshape(location, [-1])
    expected = scipy.stats.norm.logpdf(distance).sum(-1)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-12)
    got = np.reshape(tape.gradient(log_prob, location), [-1])
    np.testing.assert_allclose(got, distance.sum(0), rtol=1e-10, atol=1e-12)
