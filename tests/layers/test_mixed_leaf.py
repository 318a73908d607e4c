"""Different families for different variables; see also tests/test_queries.py."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.cases import DEEP, GRAPH
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.learning import (
    expected_statistics,
    fit,
    initialize_leaves,
    maximize,
)

tfb, tfd = tfp.bijectors, tfp.distributions
K = 2


def leaves(dtype="float32"):
    return [
        (layers.NormalLeaf(K, scale_trainable=True, dtype=dtype), [4, 0]),
        (layers.BernoulliLeaf(K, dtype=dtype), [1]),
        (layers.CategoricalLeaf(K, num_categories=4, dtype=dtype), [2]),
        (layers.DistributionLeaf("LogNormal", K, dtype=dtype), [3]),
        (layers.DistributionLeaf("VonMises", K, dtype=dtype), [5]),
    ]


GRAPH_OF_SIX = region_graphs.random_binary_trees(6, 1, num_repetitions=2, seed=1)
DEEP_OF_SIX = region_graphs.random_binary_trees(6, 2, num_repetitions=2, seed=1)


def circuit_of(graph=GRAPH_OF_SIX, leaf=None, seed=1, **arguments):
    keras.utils.set_random_seed(seed)
    circuit = circuits.from_region_graph(graph, leaf or leaves(), 3, **arguments)
    rng = np.random.default_rng(seed)
    for variable in circuit.trainable_variables:
        variable.assign_add(rng.normal(scale=0.5, size=variable.shape))
    return circuit


@functools.cache
def shared():
    """A circuit of six variables, its distribution and draws of it."""
    circuit = circuit_of()
    spn = SumProductNetwork(circuit)
    return circuit, spn, spn.sample(2000, seed=(1, 2)).numpy()


def masks_of(x, seed=0):
    return np.random.default_rng(seed).random(x.shape) < 0.6


@pytest.mark.parametrize("graph", [GRAPH, DEEP], ids=["wide regions", "deep"])
def test_one_family_in_two_groups_is_one_leaf(graph):
    make = functools.partial(layers.NormalLeaf, K, scale_trainable=True)
    pure = circuit_of(graph, make(dtype="float64"), num_classes=2)
    parts = [(make(dtype="float64"), [1, 2]), (make(dtype="float64"), [0, 3])]
    mixed = circuit_of(graph, parts, num_classes=2)
    live = mixed.live_params()
    for part in mixed.leaf.parts(mixed.program.layout):
        for name, variable in part.leaf.live_params().items():
            whole = pure.live_params()[f"leaf_{name}"]
            variable.assign(tf.gather(whole, part.slots))
    for name, value in pure.live_params().items():
        if name in live:
            live[name].assign(value)
    x = np.random.default_rng(0).normal(size=(20, 4))
    observed = masks_of(x)
    evidence = to_evidence(tf.constant(x), tf.constant(observed), 1, 0)
    answers = []
    for circuit in (pure, mixed):
        spn = SumProductNetwork(circuit)
        given = spn.condition(x, observed)
        value = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(value)
            log_prob = spn.log_prob(value, observed=observed)
        params = circuit.live_params()
        counts = expected_statistics(circuit.program, params, evidence)
        new = maximize(circuit.program, params, counts, 0.5, pseudocount=0.3)
        answers.append(
            [
                log_prob,
                tape.gradient(log_prob, value),
                given.mean(),
                given.variance(),
                given.covariance(),
                given.mode(),
                spn.posterior_marginal(x, observed).probs_parameter(),
                spn.univariate_posteriors(x, observed).mean(),
                SumProductNetwork(circuit, new).log_prob(x),
            ]
        )
    for have, want in zip(answers[1], answers[0], strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


@pytest.mark.statistical
@pytest.mark.parametrize("graph", [GRAPH_OF_SIX, DEEP_OF_SIX], ids=["wide", "deep"])
def test_draws_have_the_moments(graph):
    """Means of 2000 draws are off by six standard errors once in 10^8 tests."""
    spn = shared()[1] if graph is GRAPH_OF_SIX else SumProductNetwork(circuit_of(graph))
    x = shared()[2] if graph is GRAPH_OF_SIX else spn.sample(2000, seed=(1, 2)).numpy()
    assert np.all(np.isfinite(spn.log_prob(x)))
    assert x.dtype == np.float32
    assert set(np.unique(x[:, 1])) == {0, 1}
    assert set(np.unique(x[:, 2])) <= {0, 1, 2, 3}
    assert x[:, 3].min() > 0
    assert np.abs(x[:, 5]).max() <= np.float32(np.pi)
    numbers = [0, 1, 2, 4]  # heavy tails and angles have other judges
    error = np.abs(x.mean(0) - spn.mean())[numbers]
    assert np.all(error < 6 * (spn.stddev() / 2000**0.5).numpy()[numbers])
    log = np.log(x[:, 3])
    median = np.exp(np.median(log)).astype("float32")
    posteriors = spn.univariate_posteriors()
    below = posteriors.cdf(np.full([6], median))[3]
    assert abs(below - 0.5) < 6 * 0.5 / 2000**0.5
    angles = np.array([-np.pi, -0.5, 1.0, np.pi], "float32")
    below = posteriors.of_variable(5).cdf(angles)
    want = [np.mean(x[:, 5] <= angle) for angle in angles]
    np.testing.assert_allclose(below, want, atol=6 * 0.5 / 2000**0.5)
    np.testing.assert_allclose(below[::3], [0, 1], atol=1e-5)
    # What does not depend on angles is defined.
    covariance = spn.covariance().numpy()
    assert np.all(np.isfinite(covariance[:5, :5]))
    assert np.all(np.isnan(covariance[5]))
    np.testing.assert_allclose(
        np.diag(covariance)[:5], spn.variance()[:5], rtol=1e-5, atol=1e-6
    )


def test_some_leaves_are_batched():
    circuit, _, x = shared()
    rng = np.random.default_rng(0)
    live = circuit.live_params()
    params = dict(live)
    for name, batch in {"leaf_0_location": (2, 1), "leaf_1_logits": (3,)}.items():
        noise = rng.normal(size=(*batch, *live[name].shape)).astype("float32")
        params[name] = live[name] + noise
    spn = SumProductNetwork(circuit, params)
    observed = np.array([True, False, True, False, True, False])
    given = spn.condition(x[0], observed)
    answers = [spn.log_prob(x[0]), given.mean()[..., :5], given.mode(), spn.mode()]
    assert given.sample(4, seed=(1, 2)).shape == [4, 2, 3, 6]
    for i, j in [(0, 0), (1, 2)]:
        one = {
            **params,
            "leaf_0_location": params["leaf_0_location"][i, 0],
            "leaf_1_logits": params["leaf_1_logits"][j],
        }
        member = SumProductNetwork(circuit, one)
        alone = member.condition(x[0], observed)
        wanted = [member.log_prob(x[0]), alone.mean()[:5], alone.mode(), member.mode()]
        for answer, want in zip(answers, wanted, strict=True):
            np.testing.assert_allclose(answer[i, j], want, rtol=1e-4, atol=1e-5)


def test_univariate_posteriors_of_each_type():
    _, spn, x = shared()
    observed = masks_of(x[:8])
    posteriors = spn.univariate_posteriors(x[:8], observed)
    assert posteriors.batch_shape == [8, 6]
    log_prob = posteriors.log_prob(x[:8])
    given = spn.condition(x[:8], observed)
    log_prob = log_prob.numpy()
    joint = observed | np.eye(6, dtype=bool)[:, np.newaxis]  # [6, 8, 6]
    want = spn.log_prob(x[:8], observed=joint) - given.log_evidence()
    np.testing.assert_allclose(
        log_prob[~observed], np.transpose(want)[~observed], rtol=1e-4, atol=1e-4
    )
    for v in range(6):
        one = posteriors.of_variable(v)
        assert one.batch_shape == [8]
        value = x[:8, v].astype(one.dtype.as_numpy_dtype)
        np.testing.assert_allclose(one.log_prob(value), log_prob[:, v], rtol=1e-5)
    assert isinstance(posteriors.of_variable(1), tfd.Bernoulli)
    assert isinstance(posteriors.of_variable(2), tfd.Categorical)
    numbers = [0, 1, 2, 3, 4]
    hidden = ~observed[:, numbers]
    for statistic in ("mean", "variance"):
        have = getattr(posteriors, statistic)().numpy()[:, numbers]
        want = getattr(given, statistic)().numpy()[:, numbers]
        np.testing.assert_allclose(have[hidden], want[hidden], rtol=1e-4, atol=1e-5)
    assert posteriors.sample(3, seed=(1, 2)).shape == [3, 8, 6]
    assert np.all(np.isneginf(posteriors.log_prob(np.full([6], 0.5))[:, 1:3]))
    both = posteriors.cdf(x[:8]) + posteriors.survival_function(x[:8])
    np.testing.assert_allclose(both, np.ones([8, 6]), atol=1e-5)
    subset = spn.marginal([3, 1]).univariate_posteriors()
    np.testing.assert_allclose(
        subset.log_prob(x[:8, [3, 1]]),
        tf.gather(spn.univariate_posteriors().log_prob(x[:8]), [3, 1], axis=1),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match=r"variable 6, expected one from 0 to 5"):
        posteriors.of_variable(6)


# --- bijectors -------------------------------------------------------------------


def test_default_bijector_leaves_discrete_coordinates_alone():
    _, spn, x = shared()
    bijector = spn.experimental_default_event_space_bijector()
    z = np.random.default_rng(0).normal(scale=3, size=(20, 6)).astype("float32")
    z[:, 1:3] = x[:20, 1:3]
    y = bijector.forward(z)
    assert np.all(np.isfinite(spn.log_prob(y)))
    np.testing.assert_array_equal(y.numpy()[:, [0, 1, 2, 4]], z[:, [0, 1, 2, 4]])
    np.testing.assert_allclose(bijector.inverse(y), z, rtol=1e-3, atol=1e-3)
    flow = tfd.TransformedDistribution(spn, tfb.Invert(bijector))
    volume = tf.math.log_sigmoid(z[:, 3])  # softplus; and the sigmoid of the angle
    s = tf.math.sigmoid(z[:, 5])
    volume += tf.math.log(2 * np.pi * s * (1 - s))
    np.testing.assert_allclose(
        flow.log_prob(z), spn.log_prob(y) + volume, rtol=1e-4, atol=1e-4
    )
    assert spn.marginal([1, 2]).experimental_default_event_space_bijector() is None
    positive = spn.marginal([3]).experimental_default_event_space_bijector()
    np.testing.assert_allclose(positive.forward([0.0]), [np.log(2)], rtol=1e-6)


# Of the six coordinates, 1 and 2 are discrete: they add nothing to the volume.
BIJECTORS = {
    "scale": (tfb.Scale(2.0), 4 * np.log(2)),
    "chain": (tfb.Shift(1.0)(tfb.Scale(-2.0)), 4 * np.log(2)),
    "blocks": (
        tfb.Blockwise([tfb.Scale(3.0), tfb.Identity()], block_sizes=[1, 5]),
        np.log(3),
    ),
    "permutation": (tfb.Permute([1, 0, 2, 3, 5, 4]), 0.0),
}


@pytest.mark.parametrize("name", BIJECTORS)
def test_transformed_densities_are_of_the_continuous_coordinates(name):
    _, spn, x = shared()
    bijector, log_volume = BIJECTORS[name]
    d = tfd.TransformedDistribution(spn, bijector)
    want = spn.log_prob(x[:5]) - log_volume
    np.testing.assert_allclose(d.log_prob(bijector.forward(x[:5])), want, rtol=1e-5)


def test_bijectors_that_depend_on_discrete_coordinates():
    _, spn, x = shared()
    matrix = np.eye(6, dtype="float32")
    matrix[3, 1] = 1.5  # a continuous coordinate moves with a discrete one
    bijector = tfb.ScaleMatvecTriL(matrix)
    d = tfd.TransformedDistribution(spn, bijector)
    np.testing.assert_allclose(
        d.log_prob(bijector.forward(x[:5])), spn.log_prob(x[:5]), rtol=1e-5
    )
    matrix = np.eye(6, dtype="float32")
    matrix[1, 0] = 1.5  # a discrete coordinate is one no more
    d = tfd.TransformedDistribution(spn, tfb.ScaleMatvecTriL(matrix))
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"adds continuous coordinates to discrete ones.*tfb.Blockwise",
    ):
        d.log_prob(x[:5])


def test_discrete_events_have_no_volume():
    leaf = [
        (layers.BernoulliLeaf(K), [0, 1]),
        (layers.CategoricalLeaf(K, num_categories=3), [2, 3]),
    ]
    spn = SumProductNetwork(circuit_of(GRAPH, leaf))
    assert spn.dtype == tf.int32
    x = np.array([[0.0, 1.0, 2.0, 1.0]], "float32")
    _, space = spn.experimental_local_measure(x)
    correct = tfb.Scale(2.0).experimental_compute_density_correction
    assert correct(x, space, event_ndims=1)[0] == 0
    given = shared()[1].condition(shared()[2][:2], [True] + [False] * 5)
    with pytest.raises(NotImplementedError, match=r"of the unobserved coordinates"):
        tfd.TransformedDistribution(given, tfb.Scale(2.0)).log_prob(shared()[2][:2])


# --- learning --------------------------------------------------------------------


def test_em_with_missing_values_never_lowers_the_likelihood():
    _, _, x = shared()
    x = x[:300].astype("float64")
    observed = masks_of(x)
    x = np.where(observed, x, np.nan)
    circuit = circuit_of(leaf=leaves("float64"), seed=5)
    circuit.leaf.leaves[1].trainable = False
    frozen = circuit.live_params()["leaf_1_logits"].numpy()
    history = fit(
        circuit,
        x,
        observed=observed,
        epochs=6,
        initialize=True,
        pseudocount=0.0,
        verbose=False,
    )
    assert np.all(np.diff(history.log_likelihood) > 0)
    np.testing.assert_array_equal(circuit.live_params()["leaf_1_logits"], frozen)


def test_initial_leaves_of_a_region_come_from_one_example():
    _, _, x = shared()
    circuit = circuit_of(seed=6)
    initialize_leaves(circuit, x, seed=1)
    rows = {tuple(row) for row in x[:, [0, 4]].tolist()}
    part = circuit.leaf.parts(circuit.program.layout)[0]
    location = circuit.live_params()["leaf_0_location"].numpy()[..., 0]
    for slots in part.layout.slots_of_region:
        slots = slots[slots < part.layout.num_slots]
        if len(slots) == 2:
            for k in range(K):
                assert tuple(location[slots, k].tolist()) in rows
        else:
            own = part.variables[part.layout.slot_variable[slots[0]]]
            assert np.isin(location[slots[0]], x[:, own]).all()


# --- stacks, files, errors -------------------------------------------------------


def test_stack_of_layers():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.FlatToRegions(num_decomps=2),
            layers.MixedLeaf(leaves()),
            layers.PermuteAndPadScopesRandom([2, 2, 2], seed=3),
            layers.DenseProduct(2),
            layers.DenseSum(3),
            layers.ReduceProduct(4),
            layers.RootSum(return_weighted_child_logits=False),
        ]
    )
    _, _, x = shared()
    spn = SumProductNetwork(model)
    np.testing.assert_allclose(model(x[:5])[:, 0], spn.log_prob(x[:5]), rtol=1e-5)
    drawn = spn.sample(500, seed=(1, 2))
    assert np.all(np.isfinite(spn.circuit(drawn)))
    error = np.abs(tf.reduce_mean(drawn, 0) - spn.mean())[:3]
    assert np.all(error < 6 * spn.stddev()[:3] / 500**0.5)  # once in 10^8 tests
    posteriors = spn.univariate_posteriors().log_prob(x[:5])
    one = np.repeat(np.eye(6, dtype=bool), 5, axis=0)
    marginals = tf.reshape(spn.circuit(np.tile(x[:5], [6, 1]), one), [6, 5])
    np.testing.assert_allclose(
        posteriors, np.transpose(marginals), rtol=1e-4, atol=1e-5
    )


def test_file(tmp_path):
    circuit, _, x = shared()
    circuit.save(tmp_path / "circuit.keras")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    np.testing.assert_array_equal(loaded(x[:5]), circuit(x[:5]))
    assert len(loaded.weights) == len(circuit.weights) == 10
    checkpoint = tf.train.Checkpoint(circuit=circuit).save(str(tmp_path / "checkpoint"))
    other = circuit_of(seed=9)
    tf.train.Checkpoint(circuit=other).restore(checkpoint).assert_consumed()
    np.testing.assert_array_equal(other(x[:5]), circuit(x[:5]))


def with_value(column, value):
    x = shared()[2][:3].copy()
    x[1, column] = value
    return x


def used_twice():
    leaf = layers.NormalLeaf(K)
    return layers.MixedLeaf([(leaf, [0]), (leaf, [1])])


WRONG = {
    "no list": (lambda: layers.MixedLeaf(3), TypeError, r"leaves=3, expected pairs"),
    "no pair": (
        lambda: layers.MixedLeaf([layers.NormalLeaf(K)]),
        TypeError,
        r"among leaves, expected pairs of a leaf layer and its variables",
    ),
    "no leaf": (
        lambda: layers.MixedLeaf([("normal", [0])]),
        TypeError,
        r"received str among leaves",
    ),
    "a mixed leaf": (
        lambda: layers.MixedLeaf([(layers.MixedLeaf(leaves()), [0])]),
        TypeError,
        r"received MixedLeaf among leaves",
    ),
    "no variables": (
        lambda: layers.MixedLeaf([(layers.NormalLeaf(K), 0)]),
        TypeError,
        r"the variables 0 of NormalLeaf, expected pairs",
    ),
    "missing variable": (
        lambda: layers.MixedLeaf([(layers.NormalLeaf(K), [0, 2])]),
        ValueError,
        r"variables \[0, 2\], expected each of them once, from 0 on",
    ),
    "variable of two leaves": (
        lambda: layers.MixedLeaf(
            [(layers.NormalLeaf(K), [0, 1]), (layers.BernoulliLeaf(K), [1])]
        ),
        ValueError,
        r"variables \[0, 1, 1\], expected each of them once",
    ),
    "one layer twice": (used_twice, ValueError, r"already has other variables"),
    "numbers of components": (
        lambda: layers.MixedLeaf(
            [(layers.NormalLeaf(2), [0]), (layers.BernoulliLeaf(3), [1])]
        ),
        ValueError,
        r"different num_components.*expected 2 of all",
    ),
    "dtypes": (
        lambda: layers.MixedLeaf(
            [
                (layers.NormalLeaf(2), [0]),
                (layers.BernoulliLeaf(2, dtype="float64"), [1]),
            ]
        ),
        ValueError,
        r"different compute_dtype.*expected float32 of all",
    ),
    "another number of variables": (
        lambda: circuits.from_region_graph(GRAPH, leaves(), 2),
        ValueError,
        r"circuit over 4 variables, expected 6.*Give each variable a leaf",
    ),
    "stack of another number": (
        lambda: layers.MixedLeaf(leaves()).build((None, 4, 1, 1)),
        ValueError,
        r"slots \(1, 4, 1\), expected \(1, 6, decomps\).*FlatToRegions",
    ),
    "category": (
        lambda: shared()[1].copy(validate_args=True).log_prob(with_value(2, 4)),
        tf.errors.InvalidArgumentError,
        r"support of CategoricalLeaf in variables \[2\], expected integers from 0 to 3",
    ),
    "negative": (
        lambda: shared()[1].copy(validate_args=True).log_prob(with_value(3, -1)),
        tf.errors.InvalidArgumentError,
        r"support of DistributionLeaf\(LogNormal\) in variables \[3\].*numbers above 0",
    ),
    "angle in training": (
        lambda: fit(shared()[0], with_value(5, 4.0), verbose=False),
        ValueError,
        r"Leaf\(VonMises\), received 4.0 at row 1, column 5.*angles from -pi to pi",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    ask, error, regex = WRONG[name]
    with pytest.raises(error, match=regex):
        ask()


def test_impossible_values_pull_at_nothing():
    circuit, _, _ = shared()
    x = np.concatenate([with_value(2, 9), with_value(3, -1.0), with_value(5, np.nan)])
    with tf.GradientTape() as tape:
        log_prob = circuit(x)
    assert np.isneginf(log_prob).sum() == 3
    for gradient in tape.gradient(log_prob, circuit.trainable_variables):
        assert np.all(np.isfinite(gradient))
