"""Chains: scaled, parallel and log-space evaluation agree, whatever underflows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn.ops import chain as chain_module
from tfp_spn.ops.chain import Chain, log_chain
from tfp_spn.ops.log_chain import exact_log_chain


def random_chain(
    num_steps, num_states=3, num_units=None, count=4, dtype="float64", spread=1.0, **how
):
    rng = np.random.default_rng(num_steps)
    batch = how.get("batch", ())
    varying = num_steps - 1 if how.get("varying") else 1

    def log_weights(*shape):
        draws = rng.gamma(0.7, size=shape)
        return tf.constant(np.log(draws / draws.sum(-2, keepdims=True)), dtype)

    emission = spread * rng.normal(size=(num_steps, *batch, num_states, count))
    exists = None
    if how.get("lengths"):
        lengths = rng.integers(1, num_steps + 1, size=(*batch, count))
        exists = np.arange(num_steps).reshape(-1, *[1] * lengths.ndim) < lengths
        exists = tf.constant(exists[..., np.newaxis, :])
        emission = np.where(exists, emission, 0.0)
    units = num_units or num_states
    return Chain(
        tf.constant(emission, dtype),
        log_weights(*batch, num_states, 1)[..., 0],
        log_weights(varying, *batch, num_states, units),
        log_weights(varying, *batch, units, num_states) if num_units else None,
        exists,
    )


def value_and_gradients(function, chain):
    with tf.GradientTape() as tape:
        tape.watch(chain.sources)
        log_z = function(chain)
    gradients = tape.gradient(log_z, chain.sources, unconnected_gradients="zero")
    return [log_z, *gradients]


def compiled_value_and_gradients(chain, **how):
    """In a function: a loop of a thousand steps is one operation."""

    def compute():
        return value_and_gradients(lambda c: log_chain(c, **how), chain)

    return tf.function(compute, autograph=False)()


def exact(chain):
    return exact_log_chain(*chain)


def assert_same(chain, tolerance, **how):
    want = value_and_gradients(exact, chain)
    got = value_and_gradients(lambda c: log_chain(c, **how), chain)
    for a, b in zip(got, want, strict=True):
        assert not np.any(np.isnan(a))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(
    "num_steps", [2, 13, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 8))]
)
def test_all_ways_agree(num_steps, parallel):
    assert_same(random_chain(num_steps), 1e-10, parallel=parallel)
    assert_same(
        random_chain(num_steps, 4, 2, varying=True, lengths=True),
        1e-10,
        parallel=parallel,
    )


@pytest.mark.parametrize("parallel", [False, True])
def test_batches(parallel):
    assert_same(
        random_chain(5, 3, 2, batch=(2,), lengths=True), 1e-10, parallel=parallel
    )
    mixed = random_chain(5, batch=(2,))
    shared = random_chain(5)
    chain = mixed._replace(transition=shared.transition[:, tf.newaxis])
    assert_same(chain, 1e-10, parallel=parallel)


def test_exact_chain_by_hand():
    chain = random_chain(3, 2)
    e, p, a = (np.exp(v) for v in (chain.emission, chain.initial, chain.transition[0]))
    total = np.einsum("i,in,ji,jn,kj,kn->n", p, e[0], a, e[1], a, e[2])
    np.testing.assert_allclose(exact(chain), np.log(total))


def is_lossy(chain):
    return bool(chain_module._Messages(chain).half_way()[1])


def test_what_vanishes_for_good_does_not_matter():
    """Emissions differ by hundreds of nats: no reason to begin again in log space."""
    chain = random_chain(40, 5, dtype="float32", spread=300.0)
    assert not is_lossy(chain)
    assert_same(chain, 2e-5, parallel=False)


@pytest.mark.parametrize("order", [(1, 1), (1, -2), (-1, 2, -3)])
def test_what_vanishes_and_wins(order):
    """Two chains that never meet; each is ahead by far for some of the time."""
    ahead = np.repeat(np.asarray(order, float), 12)
    emission = np.stack([20 * ahead, -20 * ahead], 1)[..., np.newaxis]
    chain = Chain(
        tf.constant(emission, tf.float32),
        tf.math.log(tf.constant([0.5, 0.5])),
        tf.constant([[[0.0, -np.inf], [-np.inf, 0.0]]], tf.float32),
    )
    total = abs(emission[:, 0].sum()) - np.log(2.0)
    np.testing.assert_allclose(log_chain(chain, parallel=False), [total], rtol=1e-6)
    assert is_lossy(chain) == (min(order) < 0)
    assert_same(chain, 1e-5, parallel=False)


def test_unreachable_states_and_impossible_sequences():
    chain = random_chain(9, 3)
    initial = tf.constant([0.0, -np.inf, -np.inf], tf.float64)
    forward = np.log(np.tril(np.ones([3, 3])) / [3.0, 2.0, 1.0])[np.newaxis]
    emission = chain.emission.numpy()
    emission[4, :, 1] = -np.inf
    emission[5, 1, 2] = -np.inf
    chain = Chain(
        tf.constant(emission), initial, tf.constant(forward, tf.float64), None, None
    )
    log_z = log_chain(chain, parallel=False)
    assert log_z[1] == -np.inf
    for parallel in (False, True):
        assert_same(chain, 1e-9, parallel=parallel)


def test_thousand_steps_in_single_precision():
    """Value and gradient of float32 against those of float64; nothing overflows."""
    wide = random_chain(1000, 4, count=2, spread=5.0)
    narrow = Chain(*(None if p is None else tf.cast(p, tf.float32) for p in wide))
    want = compiled_value_and_gradients(wide, parallel=False)
    for parallel in (False, True):
        got = compiled_value_and_gradients(narrow, parallel=parallel)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
        for a, b in zip(got[1:], want[1:], strict=True):
            assert np.all(np.isfinite(a))
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("parallel", [False, True])
def test_counts_of_many_transitions_in_single_precision(parallel):
    """They are sums over 200,000 pairs of steps, most of which are much alike."""
    double = random_chain(5_001, count=40, spread=0.1)
    likely = tf.constant([[0.0], [-3.0], [-6.0]], tf.float64)
    double = double._replace(emission=double.emission + likely)
    single = Chain(*(None if p is None else tf.cast(p, tf.float32) for p in double))
    counts = [
        compiled_value_and_gradients(chain, parallel=parallel)[3]
        for chain in (single, double)
    ]
    np.testing.assert_allclose(*counts, rtol=5e-6)


def test_memory_is_linear_in_time(monkeypatch):
    """What the loops keep is a message per step, not a matrix of pairs of steps."""
    short, long = random_chain(64, 4), random_chain(256, 4)
    sizes = []
    for chain in (short, long):
        messages = chain_module._Messages(chain)
        messages.half_way()
        messages.counts(tf.ones([4], tf.float64))
        sizes.append(sum(int(tf.size(v)) for v in (messages.units, messages.inputs)))
    assert sizes[1] < 4.2 * sizes[0]


def test_compiled_by_xla():
    chain = random_chain(11, 4, 2, lengths=True)

    @tf.function(jit_compile=True)
    def compiled(sources):
        return value_and_gradients(
            lambda c: log_chain(c, parallel=False), chain.replaced(sources)
        )

    want = value_and_gradients(exact, chain)
    for a, b in zip(compiled(tuple(chain.sources)), want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_second_derivatives():
    """Of the scaled chain as of the tree, which is differentiated as it is."""
    chain = random_chain(4, 2)

    def second(parallel):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(chain.sources)
            with tf.GradientTape() as inner:
                inner.watch(chain.sources)
                log_z = log_chain(chain, parallel=parallel)
            first = inner.gradient(log_z, chain.sources)
            total = tf.add_n([tf.reduce_sum(tf.sin(g)) for g in first])
        return outer.gradient(total, chain.sources)

    compiled = tf.function(second, autograph=False)
    want = compiled(True)
    for found in (second(False), second(True), compiled(False)):
        for got, expected in zip(found, want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
