"""Circuits inside the rest of TFP: numbers, not only shapes.

Wrappers that `test_contract.py` has already are not repeated here.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork

tfb, tfd = tfp.bijectors, tfp.distributions
RNG = np.random.default_rng(0)
GRAPH = region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=1)


def build(leaf=None, num_sums=2, graph=GRAPH, **arguments):
    keras.utils.set_random_seed(1)
    leaf = leaf or layers.NormalLeaf(2, scale_trainable=True)
    circuit = circuits.from_region_graph(graph, leaf, num_sums, **arguments)
    for variable in circuit.trainable_variables:
        noise = np.random.default_rng(2).normal(scale=0.5, size=variable.shape)
        variable.assign_add(noise)
    return circuit


@functools.cache
def shared(seed=0):
    circuit = build()
    rng = np.random.default_rng(seed)
    for variable in circuit.trainable_variables:
        variable.assign_add(rng.normal(scale=0.3, size=variable.shape))
    return SumProductNetwork(circuit)


def close(got, want, rtol=1e-5, atol=1e-5):
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


X = RNG.normal(size=(6, 4)).astype(np.float32)


# --- equal to what TFP has itself ---------------------------------------------------

LEAVES = {
    "normal": (
        lambda k: layers.NormalLeaf(k, scale_trainable=True, dtype="float64"),
        lambda p: tfd.Normal(p["location"], 1e-3 + tf.math.softplus(p["scale"])),
    ),
    "laplace": (
        lambda k: layers.LaplaceLeaf(k, scale_trainable=True, dtype="float64"),
        lambda p: tfd.Laplace(p["location"], 1e-3 + tf.math.softplus(p["scale"])),
    ),
    "bernoulli": (
        lambda k: layers.BernoulliLeaf(k, dtype="float64"),
        lambda p: tfd.Bernoulli(logits=p["logits"]),
    ),
    "categorical": (
        lambda k: layers.CategoricalLeaf(k, num_categories=3, dtype="float64"),
        lambda p: tfd.Categorical(logits=p["logits"]),
    ),
}


def leaf_params(circuit):
    """``[K, V, ...]``, variables in order."""
    order = np.argsort(circuit.program.layout.slot_variable)
    params = {}
    for name, value in circuit.leaf.live_params().items():
        value = tf.gather(value, order)
        if value.shape.rank == 4:  # categories: [V, D, C, K]
            params[name] = tf.transpose(value[:, 0], [2, 0, 1])
        else:  # [V, K, D]
            params[name] = tf.transpose(value[..., 0])
    return params


def examples(name):
    if name in ("normal", "laplace"):
        return RNG.normal(size=(6, 4))
    return RNG.integers(0, 2, size=(6, 4))


@functools.cache
def one_sum(name):
    """A root over four products of four leaves, and the same in TFP."""
    make_leaf, family = LEAVES[name]
    graph = region_graphs.fully_factorized(4)
    circuit = build(make_leaf(3), 3, graph, leaf_sums=False)
    assert [step.num_outputs for step in circuit.program.steps] == [1]
    log_weights = tf.reshape(circuit.live_params()["sums_0"], [3])
    components = tfd.Independent(family(leaf_params(circuit)), 1)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=log_weights), components)
    return SumProductNetwork(circuit), mixture


@functools.cache
def product(name):
    """One component for each variable, whatever the structure, and the same in TFP."""
    make_leaf, family = LEAVES[name]
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=1, seed=1)
    circuit = build(make_leaf(1), 1, graph)
    params = {k: v[0] for k, v in leaf_params(circuit).items()}
    return (
        SumProductNetwork(circuit),
        tfd.Independent(family(params), 1),
        family(params),
    )


@pytest.mark.parametrize("name", LEAVES)
def test_one_sum_is_mixture_same_family(name):
    spn, mixture = one_sum(name)
    x = examples(name)
    methods = ["mean", "variance", "stddev"]
    if name == "categorical":  # TFP has no mean of a Categorical
        methods = []
    for method in methods:
        want = getattr(mixture, method)()
        close(getattr(spn, method)(), want, 1e-6, 1e-6)
    for method in ("log_prob", "prob"):
        want = getattr(mixture, method)(x)
        close(getattr(spn, method)(x), want, 1e-6, 1e-6)
    assert (spn.batch_shape, spn.event_shape) == ((), mixture.event_shape)
    if name == "normal":  # TFP's Independent has no covariance
        normal = mixture.components_distribution.distribution
        components = tfd.MultivariateNormalDiag(normal.loc, normal.scale)
        other = tfd.MixtureSameFamily(mixture.mixture_distribution, components)
        close(spn.covariance(), other.covariance(), 1e-6, 1e-6)
    # The posterior of the components: the circuit has it as a gradient.
    want = mixture.posterior_marginal(x).probs_parameter()
    log_weights = spn.params["sums_0"]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(spn.log_prob(x))
    counts = tape.gradient(total, log_weights)  # posterior less prior, summed
    prior = tf.nn.softmax(tf.reshape(log_weights, [3]))
    close(tf.reshape(counts, [3]) + 6 * prior, tf.reduce_sum(want, 0), 1e-6, 1e-6)


@pytest.mark.parametrize("name", LEAVES)
def test_product_is_independent_and_blockwise(name):
    spn, independent, single = product(name)
    x = examples(name)
    blocks = [tfd.Independent(single[i : i + 2], 1) for i in (0, 2)]
    others = [independent, tfd.Blockwise(blocks)]
    for other in others:
        close(spn.log_prob(x), other.log_prob(x), 1e-6, 1e-6)
        close(spn.prob(x), other.prob(x), 1e-6, 1e-6)
        assert spn.event_shape == other.event_shape
    methods = ["mean", "variance", "stddev", "mode", "entropy"]
    if name == "categorical":
        methods = ["mode", "entropy"]
    for method in methods:
        want = getattr(independent, method)()
        close(getattr(spn, method)(), want, 1e-6, 1e-6)
    assert spn.is_mode_exact()
    if name != "categorical":
        close(spn.covariance(), np.diag(spn.variance()), 1e-6, 1e-6)


@pytest.mark.parametrize("name", LEAVES)
def test_divergence_of_products(name):
    spn, independent, _ = product(name)
    moved = {k: v + 0.3 for k, v in spn.params.items()}
    other = SumProductNetwork(spn.circuit, moved)
    shifted = leaf_params(spn.circuit)
    shifted = {k: v[0] + 0.3 for k, v in shifted.items()}
    want = tfd.Independent(LEAVES[name][1](shifted), 1)
    close(
        tfd.kl_divergence(spn, other), tfd.kl_divergence(independent, want), 1e-6, 1e-6
    )
    close(
        tfd.kl_divergence(other, spn), tfd.kl_divergence(want, independent), 1e-6, 1e-6
    )
    close(tfd.kl_divergence(spn, spn), 0.0)
    close(spn.cross_entropy(other), spn.entropy() + tfd.kl_divergence(spn, other))


def test_divergence_and_entropy_of_marginals_and_batches():
    spn, _, single = product("normal")
    pair, other = (
        spn.marginal([2, 0]),
        SumProductNetwork(
            spn.circuit, {k: tf.stack([v, v + 1]) for k, v in spn.params.items()}
        ),
    )
    want = tf.reduce_sum(tf.gather(single.entropy(), [2, 0]))
    close(pair.entropy(), want)
    assert other.entropy().shape == tfd.kl_divergence(spn, other).shape == (2,)
    close(other.entropy()[0], spn.entropy())
    close(tfd.kl_divergence(spn, other)[0], 0.0)
    with pytest.raises(ValueError, match=r"event shapes \(2,\) and \(4,\), expected e"):
        tfd.kl_divergence(pair, spn)


def test_divergence_of_other_families_says_of_which():
    graph = region_graphs.fully_factorized(2)
    one, other = (
        SumProductNetwork(circuits.from_region_graph(graph, leaf, 1))
        for leaf in (layers.NormalLeaf(1), layers.LaplaceLeaf(1))
    )
    with pytest.raises(NotImplementedError, match="of NormalLeaf and LaplaceLeaf, bet"):
        tfd.kl_divergence(one, other)


def test_divergence_of_mixtures_is_not_implemented():
    """As in TFP: a mixture has no closed form, and a hidden estimate none either."""
    spn = shared()
    with pytest.raises(NotImplementedError, match="no sum has more than one child. Es"):
        tfd.kl_divergence(spn, spn)
    with pytest.raises(NotImplementedError, match=r"entropy.*no sum has more than one"):
        spn.entropy()


def test_experimental_fit_names_what_fits():
    """TFP's hook is for closed forms; it does not even see the circuit."""
    with pytest.raises(
        NotImplementedError, match=r"Use tfp_spn.learning.fit\(spn, x\)"
    ):
        SumProductNetwork.experimental_fit(X, circuit=shared().circuit)


# --- as a part of larger distributions ----------------------------------------------


def test_mixture_of_different_families():
    spn, other = shared(), tfd.MultivariateNormalDiag(tf.ones(4))
    probs = np.array([0.3, 0.7], np.float32)
    d = tfd.Mixture(tfd.Categorical(probs=probs), [spn, other])
    parts = [
        np.log(p) + c.log_prob(X) for p, c in zip(probs, (spn, other), strict=True)
    ]
    close(d.log_prob(X), np.logaddexp(*parts))
    close(d.mean(), 0.3 * spn.mean() + 0.7 * np.ones(4))
    between = 0.21 * np.square(spn.mean() - 1)
    close(d.variance(), 0.3 * spn.variance() + 0.7 + between, 1e-4)
    error = np.abs(np.mean(d.sample(4000, seed=(0, 1)), 0) - d.mean())
    # Further off once in 10^6 tests of 4 coordinates.
    assert np.all(error < 5.3 * d.stddev() / 4000**0.5)


def test_mixture_of_circuits_samples_as_it_says():
    spn = shared()
    moved = {k: tf.stack([v, v + 1]) for k, v in spn.params.items()}
    batch = SumProductNetwork(spn.circuit, moved)
    probs = np.array([0.25, 0.75], np.float32)
    d = tfd.MixtureSameFamily(tfd.Categorical(probs=probs), batch)
    mean = tf.linalg.matvec(tf.transpose(batch.mean()), probs)
    close(d.mean(), mean)
    spread = np.einsum("k,kij->ij", probs, batch.covariance())
    offset = batch.mean() - mean
    close(
        d.covariance(), spread + np.einsum("k,ki,kj->ij", probs, offset, offset), 1e-4
    )
    error = np.abs(np.mean(d.sample(4000, seed=(0, 1)), 0) - mean)
    assert np.all(error < 5.3 * d.stddev() / 4000**0.5)
    close(
        d.posterior_marginal(X).probs_parameter(),
        tf.nn.softmax(batch.log_prob(X[:, np.newaxis]) + np.log(probs)),
        1e-4,
    )


def test_blockwise():
    spn, normal = shared(), tfd.Independent(tfd.Normal(tf.ones(2), 2.0), 1)
    d = tfd.Blockwise([spn, normal])
    x = np.concatenate([X, X[:, :2]], axis=1)
    close(d.log_prob(x), spn.log_prob(X) + normal.log_prob(X[:, :2]))
    close(d.mean(), tf.concat([spn.mean(), normal.mean()], 0))
    assert d.sample(3, seed=(0, 1)).shape == (3, 6)


def test_independent_and_sample_of_members():
    spn = shared()
    params = {k: tf.stack([v, v + 0.5]) for k, v in spn.params.items()}
    batch = SumProductNetwork(spn.circuit, params)
    d = tfd.Sample(tfd.Independent(batch, 1), 3)
    x = RNG.normal(size=(5, 3, 2, 4)).astype(np.float32)
    close(d.log_prob(x), tf.reduce_sum(batch.log_prob(x), [1, 2]), 1e-4)
    close(tfd.Independent(batch, 1).variance(), batch.variance())


def test_flows():
    """Elementwise, with parameters, and mixing coordinates."""
    spn = shared()
    x = tf.exp(X)
    d = tfd.TransformedDistribution(spn, tfb.Exp())
    close(d.log_prob(x), spn.log_prob(X) - tf.reduce_sum(X, -1), 1e-4)
    matrix = np.eye(4, dtype=np.float32) + np.tril(RNG.normal(size=(4, 4)), -1)
    flow = tfb.ScaleMatvecTriL(tf.constant(matrix, tf.float32))
    d = tfb.Shift([1.0, 2.0, 3.0, 4.0])(flow)(spn)
    close(d.log_prob(flow(X) + [1.0, 2.0, 3.0, 4.0]), spn.log_prob(X), 1e-4, 1e-4)
    permuted = tfb.Permute([3, 1, 0, 2])(spn)
    close(permuted.log_prob(X), spn.log_prob(tf.gather(X, [2, 1, 3, 0], axis=-1)))
    log_scale = tf.Variable(0.5)
    scaled = tfb.Scale(log_scale=log_scale)(spn)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(scaled.log_prob(X))
    with tf.GradientTape() as other:
        other.watch(log_scale)
        want = tf.reduce_sum(spn.log_prob(X * tf.exp(-log_scale)) - 4 * log_scale)
    close(tape.gradient(value, log_scale), other.gradient(want, log_scale), 1e-4)
    assert len(scaled.trainable_variables) == len(spn.trainable_variables) + 1


def test_entropy_and_divergence_of_mixed_variables():
    graph = region_graphs.random_binary_trees(3, 1, num_repetitions=1, seed=1)

    def make():
        leaves = [(layers.NormalLeaf(1), [0, 2]), (layers.BernoulliLeaf(1), [1])]
        leaf = layers.MixedLeaf(leaves)
        return SumProductNetwork(circuits.from_region_graph(graph, leaf, 1))

    one, other = make(), make()
    x = one.sample(50_000, seed=(1, 2))
    log_prob, ratio = one.log_prob(x), one.log_prob(x) - other.log_prob(x)
    for exact, values in (
        (one.entropy(), -log_prob),
        (tfd.kl_divergence(one, other), ratio),
    ):
        # Off by 5 standard errors once in 10^6 runs.
        error = np.std(values) / 50_000**0.5
        np.testing.assert_allclose(exact, np.mean(values), atol=5 * error)


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_mixed_events_are_transformed(jit_compile):
    """Eagerly, in a function and under XLA: only real coordinates change densities."""
    leaf = layers.MixedLeaf(
        [(layers.NormalLeaf(2), [0]), (layers.BernoulliLeaf(2), [1])]
    )
    graph = region_graphs.random_binary_trees(2, 1, num_repetitions=2, seed=1)
    spn = SumProductNetwork(circuits.from_region_graph(graph, leaf, 2))
    x = spn.sample(5, seed=(1, 1))
    for bijector, log_det in (
        (tfb.Scale(2.0), np.log(2.0)),
        (tfb.Shift(3.0), 0.0),
        (tfb.Blockwise([tfb.Exp(), tfb.Identity()], [1, 1]), x[:, 0]),
    ):
        log_prob = tfd.TransformedDistribution(spn, bijector).log_prob
        if jit_compile is not None:
            log_prob = tf.function(log_prob, jit_compile=jit_compile)
        y = bijector.forward(x)
        close(log_prob(tf.constant(y.numpy())), spn.log_prob(x) - log_det, 1e-4, 1e-4)


# --- joint distributions ------------------------------------------------------------


def moved_circuit(shift):
    """A circuit whose leaves follow an upstream variable."""
    spn = shared()
    location = spn.params["leaf_location"] + shift[..., None, None, None]
    return SumProductNetwork(spn.circuit, {**spn.params, "leaf_location": location})


def named():
    return tfd.JointDistributionNamed(
        {"shift": tfd.Normal(0.0, 1.0), "x": lambda shift: moved_circuit(shift)}
    )


def coroutine_model():
    shift = yield tfd.JointDistributionCoroutine.Root(
        tfd.Normal(0.0, 1.0, name="shift")
    )
    yield moved_circuit(shift).copy(name="x")


JOINTS = {
    "sequential": lambda: tfd.JointDistributionSequential(
        [tfd.Normal(0.0, 1.0), moved_circuit]
    ),
    "named": named,
    "coroutine": lambda: tfd.JointDistributionCoroutine(coroutine_model),
    "coroutine, batched": lambda: tfd.JointDistributionCoroutineAutoBatched(
        coroutine_model
    ),
    "named, batched": lambda: tfd.JointDistributionNamedAutoBatched(
        {"shift": tfd.Normal(0.0, 1.0), "x": moved_circuit}
    ),
}


SLOW_JOINTS = {"sequential", "named, batched"}  # others are much the same


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(k, marks=pytest.mark.slow) if k in SLOW_JOINTS else k
        for k in JOINTS
    ],
)
def test_joint_distributions(kind):
    joint = JOINTS[kind]()
    # Inside a vectorised model TFP draws by a loop over a stateless sampler.
    draw = joint.sample(seed=(1, 2))
    shift, x = draw.values() if hasattr(draw, "values") else draw
    assert (np.shape(shift), np.shape(x)) == ((), (4,))
    want = tfd.Normal(0.0, 1.0).log_prob(shift) + shared().log_prob(x - shift)
    close(joint.log_prob(draw), want)
    shifts = np.linspace(-1, 1, 6).astype(np.float32)
    pair = {"shift": shifts, "x": X}
    pair = pair if kind.startswith("named") else tuple(pair.values())
    pair = list(pair) if kind == "sequential" else pair
    want = tfd.Normal(0.0, 1.0).log_prob(shifts) + shared().log_prob(
        X - shifts[:, None]
    )
    close(joint.log_prob(pair), want, 1e-4)
    pinned = (
        joint.experimental_pin(x=X[0])
        if kind != "sequential"
        else (joint.experimental_pin(None, X[0]))
    )
    want = tfd.Normal(0.0, 1.0).log_prob(0.5) + shared().log_prob(X[0] - 0.5)
    rest = {"shift": 0.5} if kind.startswith("named") else tf.constant(0.5)
    close(pinned.unnormalized_log_prob(rest), want)


# --- inference ----------------------------------------------------------------------


def chain_mean(kernel, target, start, num_steps):
    """Mean of all chains and its standard error."""

    @tf.function(autograph=False)
    def run():
        return tfp.mcmc.sample_chain(
            num_steps,
            start,
            kernel=kernel,
            num_burnin_steps=num_steps // 4,
            trace_fn=None,
            seed=(1, 2),
        )

    states = run()
    size = tf.reduce_sum(tfp.mcmc.effective_sample_size(states), 0)
    flat = tf.reshape(states, [-1, states.shape[-1]])
    return tf.reduce_mean(flat, 0), tf.math.reduce_std(flat, 0) / tf.sqrt(size)


@pytest.mark.parametrize(
    "sampler", ["hmc", pytest.param("nuts", marks=pytest.mark.slow)]
)
def test_monte_carlo_of_a_posterior(sampler):
    """Chains over hidden variables agree with the exact conditional."""
    spn = shared()
    given = spn.condition(X[0], [True, True, False, False])

    def target(hidden):
        known = tf.broadcast_to(X[0, :2], tf.shape(hidden))
        return spn.log_prob(tf.concat([known, hidden], -1))

    if sampler == "hmc":
        kernel = tfp.mcmc.HamiltonianMonteCarlo(target, 0.9, 3)
    else:
        kernel = tfp.mcmc.NoUTurnSampler(target, 0.9, max_tree_depth=3)
    start = given.sample(16, seed=(0, 1))[:, 2:]
    mean, error = chain_mean(kernel, target, start, 150)
    assert np.all(error < 0.15)
    # A normal variable is that far off once in 10^6 times.
    assert np.all(np.abs(mean - given.mean()[2:]) < 5 * error)


@pytest.mark.slow
def test_variational_inference_finds_the_circuit():
    """A target in the family of the surrogate is found exactly: both are products."""
    spn, _, _ = product("normal")
    loc, raw = (
        tf.Variable(tf.zeros(4, tf.float64)),
        tf.Variable(tf.zeros(4, tf.float64)),
    )
    scale = tfp.util.DeferredTensor(raw, tf.math.softplus)
    surrogate = tfd.MultivariateNormalDiag(loc, scale)
    losses = tfp.vi.fit_surrogate_posterior(
        spn.log_prob,
        surrogate,
        keras.optimizers.Adam(0.1),
        300,
        sample_size=10,
        seed=(0, 1),
    )
    assert losses[-1] < losses[0]
    assert np.all(np.abs(loc - spn.mean()) < 0.25 * spn.stddev())  # noise of 10 draws
    close(surrogate.stddev(), spn.stddev(), 0.2, 0.0)


def test_minimize_finds_the_maximum_likelihood():
    """Of a product of Normals: the sample's mean and standard deviation."""
    leaf = layers.NormalLeaf(1, scale_trainable=True, min_scale=0.0)
    circuit = build(leaf, 1, region_graphs.fully_factorized(4))
    spn = SumProductNetwork(circuit)
    x = (RNG.normal(size=(50, 4)) * [0.5, 0.8, 1.0, 1.5] + 1).astype(np.float32)
    variables = spn.trainable_variables
    losses = tfp.math.minimize(
        lambda: -tf.reduce_mean(spn.log_prob(x)),
        num_steps=400,
        optimizer=keras.optimizers.Adam(0.05, beta_2=0.9),  # forgets a far start
        trainable_variables=variables,
    )
    assert losses[-1] < losses[0]
    close(spn.mean(), x.mean(0), 0.02, 0.02)
    close(spn.stddev(), x.std(0), 0.03, 0.0)


# --- tf_keras, and functions --------------------------------------------------------


@pytest.mark.slow
def test_layers_of_tf_keras():
    tf_keras = pytest.importorskip("tf_keras")
    circuit = build()
    live = circuit.live_params()

    def make(h):
        location = live["leaf_location"] + h[:, None, None, :1]
        return SumProductNetwork(circuit, {**live, "leaf_location": location})

    model = tf_keras.Sequential(
        [tf_keras.layers.Dense(1), tfp.layers.DistributionLambda(make)]
    )
    model.compile(
        tf_keras.optimizers.Adam(0.05), loss=lambda y, d: -tf.reduce_mean(d.log_prob(y))
    )
    z = RNG.normal(size=(6, 3)).astype(np.float32)
    history = model.fit(z, X, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    shift = model.layers[0](z)
    want = SumProductNetwork(circuit).log_prob(X - shift)
    close(model(z).log_prob(X), want, 1e-4)


@pytest.mark.slow
def test_distributions_through_functions():
    """Argument, result, state of a loop, and under XLA."""
    spn = shared()
    traces = []

    @tf.function(autograph=False)
    def moved(spn, amount):
        traces.append(1)
        params = {k: v + amount for k, v in spn.params.items()}
        return SumProductNetwork(spn.circuit, params)

    for amount in (0.1, 0.2, 0.3):
        got = moved(spn.copy(), tf.constant(amount))
        params = {k: v + amount for k, v in spn.params.items()}
        close(got.log_prob(X), SumProductNetwork(spn.circuit, params).log_prob(X))
    assert len(traces) == 1

    def body(number, d):
        return number + 1, moved.python_function(d, tf.constant(0.1))

    start = moved(spn, tf.constant(0.0))
    _, got = tf.while_loop(lambda n, _: n < 3, body, (tf.constant(0), start))
    want = moved(spn, tf.constant(0.3))
    close(got.log_prob(X), want.log_prob(X), 1e-4)
    compiled = tf.function(lambda d: d.log_prob(X), jit_compile=True, autograph=False)
    close(compiled(got), want.log_prob(X), 1e-4)


@pytest.mark.slow
def test_vectorized_over_circuits():
    """`vectorized_map` over parameters is a batch of circuits."""
    spn = shared()
    params = {k: tf.stack([v, v + 0.5, v - 1]) for k, v in spn.params.items()}

    def queries(params):
        d = SumProductNetwork(spn.circuit, params)
        return d.log_prob(X), d.mean()

    batch = SumProductNetwork(spn.circuit, params)
    log_prob, mean = tf.vectorized_map(queries, params)
    close(tf.transpose(log_prob), batch.log_prob(X[:, np.newaxis]))
    close(mean, batch.mean())
