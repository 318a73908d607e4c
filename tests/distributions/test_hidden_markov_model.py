"""A chain with one sum is `tfd.HiddenMarkovModel`, query by query."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import DynamicSumProductNetwork

tfd = tfp.distributions
S, T, N = 3, 9, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


@functools.cache
def circuit_of(dtype):
    """One Gaussian variable whose roots are single components."""
    template = circuits.from_region_graph(
        region_graphs.fully_factorized(1),
        layers.NormalLeaf(S, dtype=dtype),
        S,
        num_classes=S,
    )
    return circuits.dynamic_from_circuit(template, T)


@functools.cache
def queries(dtype):
    """Both models' answers, each traced once."""
    circuit = circuit_of(dtype)
    live = circuit.live_params()

    def both(initial, transition, location, x, missing, lengths):
        exists = tf.sequence_mask(lengths, T)
        missing = missing | ~exists
        hmm = tfd.HiddenMarkovModel(
            tfd.Categorical(logits=initial),
            tfd.Categorical(logits=transition),
            tfd.Normal(location, tf.ones([], dtype)),
            T,
        )
        theirs = [
            hmm.log_prob(x, mask=missing),
            tf.nn.softmax(hmm.posterior_marginals(x, mask=missing).logits_parameter()),
            tf.nn.softmax(hmm.prior_marginals().logits_parameter()),
            hmm.mean(),
            hmm.variance(),
        ]
        path = hmm.posterior_mode(x, mask=missing)
        params = dict(live)
        params.update(
            circuits.chain_params(
                tf.nn.softmax(initial), tf.nn.softmax(transition), dtype=dtype
            )
        )
        shape = live["leaf_location"].shape
        params["leaf_location"] = tf.reshape(location, shape)
        eye = tf.math.log(tf.eye(S, dtype=dtype))[tf.newaxis]
        params["sums_0"] = eye
        spn = DynamicSumProductNetwork(circuit, params)
        junk = tf.where(missing, tf.constant(np.nan, dtype), x)[..., tf.newaxis]
        mask = {"observed": ~missing[..., tf.newaxis], "lengths": lengths}
        ours = [
            spn.log_prob(junk, **mask),
            spn.posterior_marginals(junk, **mask).probs_parameter(),
            spn.prior_marginals().probs_parameter(),
            spn.mean()[..., 0],
            spn.variance()[..., 0],
        ]
        return ours, theirs, spn.posterior_mode(junk, **mask), path

    return tf.function(both, autograph=False)


@each_dtype
@settings(max_examples=15)
@given(seed=st.integers(0, 2**20))
def test_equals_tfp(dtype, seed):
    rng = np.random.default_rng(seed)
    arguments = [
        *(tf.constant(rng.normal(size=s), dtype) for s in ([S], [S, S])),
        tf.constant(2.0 * rng.normal(size=[S]), dtype),
        tf.constant(2.0 * rng.normal(size=[N, T]), dtype),
        tf.constant(rng.random([N, T]) < 0.3),
        tf.constant(rng.integers(1, T + 1, size=N), tf.int32),
    ]
    ours, theirs, path, their_path = queries(dtype)(*arguments)
    for a, b in zip(ours, theirs, strict=True):
        scale = TOLERANCE[dtype]
        np.testing.assert_allclose(a, b, rtol=scale, atol=scale)
    # Several paths may be best: where nothing is observed they differ by a rotation.
    scores = [path_scores(*arguments, p.numpy()) for p in (path, their_path)]
    np.testing.assert_allclose(*scores, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def path_scores(initial, transition, location, x, missing, lengths, path):
    initial, transition = (tf.nn.log_softmax(v).numpy() for v in (initial, transition))
    seen = ~missing.numpy() & (np.arange(T) < lengths.numpy()[:, np.newaxis])
    density = -0.5 * (x.numpy() - location.numpy()[path]) ** 2
    moves = transition[path[:, :-1], path[:, 1:]]
    return initial[path[:, 0]] + moves.sum(1) + np.where(seen, density, 0.0).sum(1)


def test_samples_are_like_those_of_tfp():
    """Means, variances and products of neighbours; false alarms in 10^6 samples."""
    rng = np.random.default_rng(0)
    initial, transition = rng.dirichlet([1.0] * S), rng.dirichlet([0.5] * S, S)
    location = np.array([-3.0, 0.0, 4.0])
    hmm = tfd.HiddenMarkovModel(
        tfd.Categorical(probs=initial),
        tfd.Categorical(probs=transition),
        tfd.Normal(location, np.float64(1.0)),
        T,
    )
    circuit = circuit_of("float64")
    params = dict(circuit.live_params())
    params.update(circuits.chain_params(initial, transition, dtype="float64"))
    params["leaf_location"] = tf.reshape(
        tf.constant(location), params["leaf_location"].shape
    )
    params["sums_0"] = tf.math.log(tf.eye(S, dtype="float64"))[tf.newaxis]
    spn = DynamicSumProductNetwork(circuit, params)
    count = 40_000
    ours = spn.sample(count, seed=(1, 2)).numpy()[..., 0]
    theirs = hmm.sample(count, seed=(3, 4)).numpy()
    for statistic in (lambda x: x, np.square, lambda x: x[:, 1:] * x[:, :-1]):
        a, b = statistic(ours), statistic(theirs)
        error = np.sqrt((a.var(0) + b.var(0)) / count)
        assert np.all(np.abs(a.mean(0) - b.mean(0)) < 5.5 * error)
