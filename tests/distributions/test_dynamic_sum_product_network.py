"""Distributions over sequences: every query against enumeration of all sequences."""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.sequences import marginals, paths_of
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import DynamicSumProductNetwork, SumProductNetwork

tfb, tfd = tfp.bijectors, tfp.distributions
T, V = 3, 2
KINDS = {
    "hidden Markov model": (3, None, None, True),
    "tucker": (2, 3, "tucker", True),
    "cp": (3, 2, "cp", True),
    "varying in time": (3, 2, "cp", False),
}
each = pytest.mark.parametrize("kind", KINDS)


def template_of(num_roots, leaf=None, num_variables=V, dtype="float64", **arguments):
    leaf = leaf or layers.BernoulliLeaf(num_roots, dtype=dtype)
    graph = region_graphs.fully_factorized(num_variables)
    return circuits.from_region_graph(
        graph, leaf, num_roots, num_classes=num_roots, **arguments
    )


@functools.cache
def case(kind, is_selective=False):
    """A circuit over ``[T, V]`` bits, and the probabilities of all sequences.

    If selective, roots of the template are products of leaves, without sums.
    """
    keras.utils.set_random_seed(1)
    num_roots, num_units, sum_product, is_stationary = KINDS[kind]
    template = template_of(num_roots)
    circuit = circuits.dynamic_from_circuit(
        template, T, num_units, sum_product, is_stationary=is_stationary
    )
    rng = np.random.default_rng(2)
    params = circuit.live_params()
    for name, variable in params.items():
        variable.assign_add(rng.normal(size=variable.shape))
        if is_selective and name.startswith("sums"):
            eye = np.broadcast_to(np.eye(num_roots), variable.shape)
            variable.assign(np.where(eye, 0.0, -np.inf))
    spn = DynamicSumProductNetwork(circuit)
    bits = np.array(list(itertools.product([0, 1], repeat=V)))
    components = SumProductNetwork(template).components_distribution
    step_prob = components.prob(bits[:, np.newaxis]).numpy()  # [2^V, K]
    choice = np.array(list(itertools.product(range(len(bits)), repeat=T)))

    def weights(name):
        return None if name not in params else tf.nn.softmax(params[name], -2).numpy()

    paths = paths_of(
        weights("initial")[0, :, 0],
        weights("transition"),
        weights("interface"),
        num_roots,
        T,
        sum_product,
    )
    return SimpleNamespace(
        circuit=circuit,
        spn=spn,
        paths=paths,
        x=bits[choice],  # [2^(V T), T, V]
        joint=paths.joint(step_prob[choice]),  # [2^(V T), P]
        num_units=spn.num_states,
    )


def agrees(c, x, observed):
    """Which of all sequences agree with the evidence."""
    return np.all((c.x == x) | ~observed, axis=(1, 2))


def random_evidence(c, seed, num=4):
    rng = np.random.default_rng(seed)
    x = c.x[rng.integers(len(c.x), size=num)]
    return x, rng.random([num, T, V]) < 0.5


def close(actual, expected, tolerance=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@each
def test_density(kind):
    c = case(kind)
    prob = c.spn.prob(c.x)
    close(prob, c.joint.sum(-1))
    close(np.sum(prob), 1.0)
    close(c.circuit(c.x)[:, 0], c.spn.log_prob(c.x))
    assert c.spn.event_shape == (T, V)
    assert c.spn.batch_shape == ()


@each
@settings(max_examples=4)
@given(seed=st.integers(0, 2**20))
def test_evidence(kind, seed):
    """Marginals, conditional moments, and all posteriors of hidden states."""
    c = case(kind)
    x, observed = random_evidence(c, seed)
    junk = np.where(observed, x, np.nan)
    log_prob = c.spn.log_prob(junk, observed=observed)
    conditional = c.spn.condition(junk, observed)
    mean, variance = conditional.mean(), conditional.variance()
    smoothed = c.spn.posterior_marginals(junk, observed).probs_parameter()
    filtered = c.spn.filtered_marginals(junk, observed).probs_parameter()
    predictive = c.spn.predictive_log_probs(junk, observed)
    path = c.spn.posterior_mode(junk, observed)
    for n in range(len(x)):
        mask = agrees(c, x[n], observed[n])
        prob = c.joint.sum(-1) * mask
        close(log_prob[n], np.log(prob.sum()))
        wanted = np.tensordot(prob, c.x, 1) / prob.sum()
        close(mean[n], wanted)
        close(variance[n], np.where(observed[n], 0, wanted * (1 - wanted)))
        of_path = (c.joint * mask[:, np.newaxis]).sum(0)
        close(smoothed[n], marginals(of_path, c.paths.units, c.num_units))
        assert np.array_equal(path[n], best_states(c.paths.states, of_path))
        before = 0.0
        for t in range(T):
            past = observed[n] & (np.arange(T)[:, np.newaxis] <= t)
            mask = agrees(c, x[n], past)
            of_path = (c.joint * mask[:, np.newaxis]).sum(0)
            known = marginals(of_path, c.paths.units, c.num_units)
            close(filtered[n, t], known[t])
            close(predictive[n, t], np.log(of_path.sum()) - before)
            before = np.log(of_path.sum())


def best_states(states, joint):
    """Among all paths of states, whatever the units."""
    totals = {}
    for path, prob in zip(map(tuple, states), joint, strict=True):
        totals[path] = max(totals.get(path, 0.0), prob)
    return max(totals, key=totals.__getitem__)


@each
def test_prior(kind):
    c = case(kind)
    prior = c.spn.prior_marginals().probs_parameter()
    close(prior, marginals(c.paths.prob, c.paths.units, c.num_units))
    mean = np.tensordot(c.joint.sum(-1), c.x, 1)
    close(c.spn.mean(), mean)
    close(c.spn.variance(), mean * (1 - mean))
    close(c.spn.stddev(), np.sqrt(mean * (1 - mean)))


@each
def test_marginals_of_steps_and_variables(kind):
    c = case(kind)
    marginal = c.spn.marginal(variables=[1, 0], steps=[2, 0])
    assert marginal.event_shape == (2, 2)
    part = c.x[:, [2, 0]][:, :, [1, 0]]
    prob = c.joint.sum(-1)
    for value in part[::7]:
        same = np.all(part == value, axis=(1, 2))
        close(marginal.prob(value), prob[same].sum())
    close(marginal.mean(), tf.gather(c.spn.mean(), [2, 0])[:, ::-1])
    narrow = marginal.marginal(steps=[1], variables=[0])
    close(narrow.prob([[1]]), prob[c.x[:, 0, 1] == 1].sum())
    observed = [[True, False], [False, True]]
    given_part = marginal.condition(part[5], observed)
    both = prob * np.all((part == part[5]) | ~np.asarray(observed), axis=(1, 2))
    close(given_part.mean(), np.tensordot(both, part, 1) / both.sum())
    assert marginal.sample(3, seed=(0, 1)).shape == (3, 2, 2)
    assert marginal.posterior_mode(part[5]).shape == (2,)


@each
def test_mode_is_that_of_the_best_path(kind):
    c = case(kind, is_selective=True)
    best = c.x[np.unravel_index(np.argmax(c.joint), c.joint.shape)[0]]
    assert np.array_equal(c.spn.mode(), best)
    x, observed = random_evidence(c, 5)
    modes = c.spn.condition(x, observed).mode()
    for n in range(len(x)):
        joint = c.joint * agrees(c, x[n], observed[n])[:, np.newaxis]
        best = c.x[np.unravel_index(np.argmax(joint), joint.shape)[0]]
        assert np.array_equal(modes[n], best)


def frequencies(c, samples):
    code = 2 ** np.arange(T * V)
    found = np.reshape(samples, [len(samples), -1]) @ code
    counts = np.bincount(found, minlength=2 ** (T * V))
    return counts[c.x.reshape(len(c.x), -1) @ code]


@each
def test_samples_follow_the_density(kind):
    """Pearson's statistic over all sequences; each has a false alarm in 10^6."""
    c = case(kind)
    count = 20_000
    x, observed = random_evidence(c, 3, num=2)
    prob = c.joint.sum(-1)
    drawn = c.spn.condition(x, observed).sample(count, seed=(1, 2)).numpy()
    cases = [(c.spn.sample(count, seed=(1, 2)).numpy(), prob)]
    cases += [(drawn[:, n], prob * agrees(c, x[n], observed[n])) for n in range(len(x))]
    for samples, weights in cases:
        expected = count * weights / weights.sum()
        found = frequencies(c, samples)
        assert found.sum() == count
        possible = expected > 0
        assert not found[~possible].any()
        deviation = np.sum((found - expected)[possible] ** 2 / expected[possible])
        degrees = possible.sum() - 1
        assert deviation < degrees + 6 * np.sqrt(2 * degrees) + 20


def test_one_step_is_the_static_circuit():
    template = template_of(3)
    circuit = circuits.dynamic_from_circuit(template, num_steps=1)
    params = {**template.live_params(), "prior": circuit.live_params()["initial"]}
    params["prior"] = params["prior"][0, :, 0]
    static = SumProductNetwork(template, params)
    spn = DynamicSumProductNetwork(circuit)
    x = np.array(list(itertools.product([0, 1], repeat=V)))
    close(spn.log_prob(x[:, np.newaxis]), static.log_prob(x))
    close(spn.mean()[0], static.mean())
    close(spn.variance()[0], static.variance())
    assert np.array_equal(spn.mode()[0], static.mode())
    posterior = spn.posterior_marginals(x[:, np.newaxis]).probs_parameter()
    close(posterior[:, 0], static.posterior_marginal(x).probs_parameter())


def test_padding_changes_nothing():
    c = case("tucker")
    rng = np.random.default_rng(0)
    x = c.x[rng.integers(len(c.x), size=6)].astype(float)
    lengths = np.array([3, 1, 2, 2, 3, 1])
    mask = (np.arange(T) < lengths[:, np.newaxis])[..., np.newaxis]
    want = c.spn.log_prob(x, observed=mask)
    for junk in (np.nan, np.inf, -np.inf, 7.5):
        padded = np.where(mask, x, junk)
        close(c.spn.log_prob(padded, lengths=lengths), want)
        left = np.stack(
            [np.roll(p, T - n, 0) for p, n in zip(padded, lengths, strict=False)]
        )
        close(c.spn.log_prob(left, lengths=lengths, padding="left"), want)
    for query in ("posterior_marginals", "filtered_marginals"):
        right = getattr(c.spn, query)(padded, lengths=lengths).probs_parameter()
        back = getattr(c.spn, query)(
            left, lengths=lengths, padding="left"
        ).probs_parameter()
        for n, length in enumerate(lengths):
            close(back[n, T - length :], right[n, :length])
    steps = c.spn.predictive_log_probs(left, lengths=lengths, padding="left")
    close(tf.reduce_sum(steps, -1), want)
    assert np.all(np.asarray(steps)[lengths == 1, :-1] == 0)
    with tf.GradientTape(persistent=True) as tape:
        padded_prob = c.spn.log_prob(padded, lengths=lengths)
        alone = c.spn.log_prob(x, observed=mask)
    for variable in c.spn.trainable_variables:
        close(tape.gradient(padded_prob, variable), tape.gradient(alone, variable))


def test_longer_circuits_agree_on_shorter_sequences():
    """Also in a circuit of many more steps, in float32."""
    template = template_of(3, dtype="float32")
    short = circuits.dynamic_from_circuit(template, 4)
    long = circuits.dynamic_from_circuit(template, 300)
    for a, b in zip(short.chain, long.chain, strict=True):
        b.accumulators.assign(a.accumulators)
    x = np.random.default_rng(0).integers(0, 2, [5, 300, V])
    lengths = np.array([4, 3, 1, 2, 4])
    want = DynamicSumProductNetwork(short).log_prob(x[:, :4], lengths=lengths)
    got = DynamicSumProductNetwork(long).log_prob(x, lengths=lengths)
    close(got, want, 1e-6)


def test_parameters_in_time_and_in_batches():
    c = case("cp")
    x, observed = random_evidence(c, 4)
    rng = np.random.default_rng(0)
    live = c.circuit.live_params()
    params = {}
    for name, value in live.items():
        lead = (2, T) if name.startswith("leaf") else (2,)
        params[name] = value + rng.normal(size=(*lead, *value.shape))
    names = [name for name in live if name.startswith("leaf")]
    spn = DynamicSumProductNetwork(c.circuit, params, parameters_in_time=names)
    assert spn.batch_shape == (2,)
    log_prob = spn.log_prob(x[:, np.newaxis], observed=observed[:, np.newaxis])
    mean = spn.condition(x[:, np.newaxis], observed[:, np.newaxis]).mean()
    assert spn.sample(5, seed=(0, 1)).shape == (5, 2, T, V)
    assert spn.mode().shape == spn.mean().shape == (2, T, V)
    components = SumProductNetwork(c.circuit.template)
    for b in range(2):
        emission = []
        for t in range(T):
            own = {**components.params}
            for name in own:
                if name != "prior":
                    own[name] = params[name][b]
            for name in names:
                own[name] = params[name][b, t]
            step = SumProductNetwork(c.circuit.template, own).components_distribution
            emission.append(step.prob(c.x[:, t][:, np.newaxis]).numpy())
        weights = {
            k: tf.nn.softmax(params[k][b], -2).numpy()
            for k in ("initial", "transition", "interface")
        }
        paths = paths_of(
            weights["initial"][0, :, 0],
            weights["transition"],
            weights["interface"],
            3,
            T,
            "cp",
        )
        prob = paths.joint(np.stack(emission, 1)).sum(-1)
        for n in range(len(x)):
            mask = agrees(c, x[n], observed[n])
            close(log_prob[n, b], np.log(prob[mask].sum()))
            wanted = np.tensordot(prob * mask, c.x, 1) / prob[mask].sum()
            close(mean[n, b], wanted)
    one = spn[1]
    close(one.log_prob(x, observed=observed), log_prob[:, 1])


def test_images_as_steps():
    keras.utils.set_random_seed(0)
    template = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            layers.NormalLeaf(2),
            layers.Local2DSum(2),
            layers.Conv2DProduct([2, 2], [1, 1], [2, 2], 4, padding="valid"),
            layers.SpatialToRegions(),
            layers.DenseSum(3),
            layers.RootSum(return_weighted_child_logits=True),
        ]
    )
    circuit = circuits.dynamic_from_circuit(template, 3)
    spn = DynamicSumProductNetwork(circuit)
    assert spn.event_shape == (3, 2, 2, 1)
    x = spn.sample(4, seed=(0, 1))
    assert x.shape == (4, 3, 2, 2, 1)
    observed = np.ones([3, 2, 2], bool)
    observed[1] = False
    filled = spn.condition(x, observed).mean()
    assert filled.shape == x.shape
    close(filled[:, 0], x[:, 0])
    close(circuit(x)[:, 0], spn.log_prob(x), 1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_sequences_of_mixed_types_are_transformed(compiled):
    leaf = layers.MixedLeaf(
        [(layers.NormalLeaf(2), [0]), (layers.BernoulliLeaf(2), [1])]
    )
    template = template_of(2, leaf)
    spn = DynamicSumProductNetwork(circuits.dynamic_from_circuit(template, T))
    x = spn.sample(4, seed=(1, 2))
    log_prob = tfd.TransformedDistribution(spn, tfb.Scale(2.0)).log_prob
    log_prob = tf.function(log_prob) if compiled else log_prob
    want = spn.log_prob(x) - T * np.log(2.0)
    np.testing.assert_allclose(log_prob(2 * x), want, rtol=1e-4)
    bijector = spn.experimental_default_event_space_bijector()
    np.testing.assert_array_equal(bijector.forward(x), x)
    positive = template_of(2, layers.DistributionLeaf("Gamma", 2))
    spn = DynamicSumProductNetwork(circuits.dynamic_from_circuit(positive, T))
    bijector = spn.experimental_default_event_space_bijector()
    assert np.all(bijector.forward(tf.fill([T, V], -3.0)) > 0)


def test_impossible_evidence():
    """No path is possible: minus infinity, and the prior of what is hidden."""
    c = case("hidden Markov model", is_selective=True)
    params = dict(c.circuit.live_params())
    logits = np.full([1, 3, 1], -np.inf)
    logits[0, 0] = 0.0
    params["initial"] = tf.constant(logits)
    params["transition"] = tf.constant(np.where(np.eye(3), 0.0, -np.inf)[np.newaxis])
    leaf = params["leaf_logits"].numpy()
    leaf[:, 0] = 40.0 * np.sign(leaf[:, 0])  # the first root: certain bits
    params["leaf_logits"] = tf.constant(leaf)
    spn = DynamicSumProductNetwork(c.circuit, params)
    sure = spn.mode()
    close(spn.log_prob(sure), 0.0)
    with tf.GradientTape() as tape:
        tape.watch(params["initial"])
        spn = DynamicSumProductNetwork(c.circuit, params)
        log_prob = spn.log_prob(sure)
    assert np.all(np.isfinite(tape.gradient(log_prob, params["initial"])[0, 0]))
    none = {**params, "initial": tf.fill([1, 3, 1], tf.constant(-np.inf, tf.float64))}
    empty = DynamicSumProductNetwork(c.circuit, none)
    assert empty.log_prob(sure) == -np.inf
    assert not np.any(np.isnan(empty.posterior_marginals(sure).probs_parameter()))
    assert np.all(np.isfinite(empty.condition(sure, np.ones([T, V], bool)).sample()))


def test_lengths_of_many_steps_in_float64():
    """The parallel chain, in which steps behind the end are identities."""
    template = template_of(3)
    spn = DynamicSumProductNetwork(
        circuits.dynamic_from_circuit(template, num_steps=40)
    )
    x = np.random.default_rng(0).normal(size=[5, 40, V])
    lengths = np.array([40, 3, 5, 7, 1])
    found = spn.log_prob(x, lengths=lengths)
    x[np.arange(40) >= lengths[:, np.newaxis]] = 9.0
    np.testing.assert_allclose(spn.log_prob(x, lengths=lengths), found, rtol=1e-12)
    for n, length in enumerate(lengths):
        observed = (np.arange(40) < length)[:, np.newaxis]
        alone = spn.log_prob(x[n], observed=observed)
        np.testing.assert_allclose(found[n], alone, rtol=1e-10)
