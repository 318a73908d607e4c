"""Gradients of densities when the number of examples is known, unknown or varies."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES


def sources(case):
    """The circuit's variables, and what the distribution has in their place."""
    params = getattr(case.distribution, "params", {})
    values = [variable.value for variable in case.circuit.trainable_variables]
    known = {id(value) for value in values}
    return values + [v for v in tf.nest.flatten(params) if id(v) not in known]


def value_and_gradients(case, x):
    """The sum of log_prob, and its gradients by the parameters."""
    with tf.GradientTape() as tape:
        values = sources(case)
        tape.watch(values)
        total = tf.reduce_sum(case.distribution.log_prob(x))
    return [total, *tape.gradient(total, values, unconnected_gradients="zero")]


def added(results):
    return [sum(np.asarray(v) for v in values) for values in zip(*results, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_examples_add_up(name):
    """Three examples and one, in every way to pass them, are the four at once."""
    case = CASES[name]()
    x = tf.constant(case.batched_x)
    at_once = value_and_gradients(case, x)  # the first call: examples are counted
    varying = added(
        [value_and_gradients(case, x[:3]), value_and_gradients(case, x[3:])]
    )

    @tf.function
    def loop(batches):
        totals = tuple(tf.zeros_like(value) for value in at_once)
        for batch in batches:
            results = value_and_gradients(case, batch)
            totals = tuple(map(tf.add, totals, results))
        return totals

    unknown = loop(tf.data.Dataset.from_tensor_slices(x).batch(3))
    for want, *others in zip(at_once, varying, unknown, strict=True):
        assert np.all(np.isfinite(want))
        for got in others:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
