"""What TFP asks of a distribution, for every kind of the registry."""

from __future__ import annotations

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.cases import CASES, stacked_params
from tfp_spn.distributions import ConditionedSumProductNetwork, SumProductNetwork

tfb, tfd = tfp.bijectors, tfp.distributions

# Each kind of circuit and of view by default; variants of them with `-m slow`, too.
DEFAULT = {
    "normal",
    "categorical",
    "mixed",
    "classes",
    "float64",
    "vectors",
    "batched",
    "batched discrete",
    "conditional batch",
    "marginal",
    "conditioned",
    "conditioned discrete",
    "components",
    "layers",
    "spatial",
    "dynamic",
    "conditioned dynamic",
}
# What is traced or compiled takes seconds.
TRACED = {"normal", "mixed", "batched", "conditioned", "layers", "spatial", "dynamic"}
COMPILED = {"normal", "batched discrete"}


def each_of(default, names=tuple(CASES)):
    slow = pytest.mark.slow
    return pytest.mark.parametrize(
        "name", [n if n in default else pytest.param(n, marks=slow) for n in names]
    )


each, each_traced, each_compiled = map(each_of, (DEFAULT, TRACED, COMPILED))
HAS_BATCH = [n for n in CASES if "batch" in n or n in ("components",)]
HAS_BATCH += ["conditioned discrete"]
NO_MOMENTS = {"cauchy"}


@functools.cache
def shared(name):
    """A case that tests must leave as it is."""
    return CASES[name]()


def params_of(d):
    return d.distribution.params if hasattr(d, "distribution") else d.params


def with_params(d, params):
    if hasattr(d, "distribution"):
        return d.copy(distribution=d.distribution.copy(params=params))
    return d.copy(params=params)


def close(actual, expected, rtol=1e-5, atol=1e-5):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    if actual.dtype == np.float64:
        rtol, atol = 1e-9, 1e-9
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


# --- shapes and dtypes -----------------------------------------------------------


@each
def test_shapes(name):
    c = shared(name)
    d, shape = c.distribution, c.x.shape[1:]
    assert d.event_shape == shape
    assert d.batch_shape.is_fully_defined()
    log_prob = d.log_prob(c.batched_x)
    assert log_prob.shape == [4, *d.batch_shape]
    assert log_prob.dtype == c.circuit.program.dtype
    assert np.all(np.isfinite(log_prob))

    @tf.function
    def dynamic():
        return d.event_shape_tensor(), d.batch_shape_tensor()

    for event_shape, batch_shape in (
        (d.event_shape_tensor(), d.batch_shape_tensor()),
        dynamic(),
    ):
        assert event_shape.dtype == batch_shape.dtype == tf.int32
        assert tuple(event_shape.numpy()) == shape
        assert tuple(batch_shape.numpy()) == d.batch_shape


def test_batch_shape_of_params_of_unknown_shape():
    c = shared("batched")

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, None])])
    def batch_shape(sums):
        spn = SumProductNetwork(c.circuit, {**c.circuit.live_params(), "sums_0": sums})
        assert spn.batch_shape == [None]
        assert spn.event_shape == [4]
        x = tf.zeros([3, 1, 4])
        return spn.batch_shape_tensor(), spn.log_prob(x), spn.sample(2), spn.mean()

    sums = tf.zeros([5, *c.circuit.live_params()["sums_0"].shape])
    shape, log_prob, sample, mean = batch_shape(sums)
    assert shape.numpy() == [5]
    assert log_prob.shape == (3, 5)
    assert sample.shape == (2, 5, 4)
    assert mean.shape == (5, 4)


@each
def test_log_prob_broadcasts(name):
    c = shared(name)
    d, event, batch = c.distribution, c.x.shape[1:], tuple(c.distribution.batch_shape)
    want = d.log_prob(c.batched_x)
    close(d.prob(c.batched_x), np.exp(want))
    folded = c.batched_x.reshape(2, 2, *c.batched_x.shape[1:])
    close(d.log_prob(folded), tf.reshape(want, [2, 2, *batch]))
    full = np.broadcast_to(c.batched_x, [4, *batch, *event])
    close(d.log_prob(full), want)
    close(d.log_prob(c.x[0]), want[0])
    close(d.log_prob(full[0]), want[0])
    close(d.log_prob(c.batched_x.astype("float64")), want)
    if batch:
        by_member = c.x[: batch[-1]]  # another value for each member
        rows = np.diagonal(np.asarray(want)[: batch[-1]], axis1=0, axis2=-1)
        close(d.log_prob(by_member), rows)


PARAMS = [
    (name, parameter)
    for name in ("normal", "laplace", "categorical", "binomial", "classes", "vectors")
    for parameter in shared(name).circuit.live_params()
]


def answers(name, spn):
    """Of each query, and the distribution given evidence."""
    c = shared(name)
    observed = np.arange(c.x.shape[1]) % 2 == 0
    given = spn.condition(c.x[0], observed)
    found = {
        "log_prob": spn.log_prob(c.x[0]),
        "marginal": spn.log_prob(c.x[0], observed=observed),
        "mean": spn.mean(),
        "mode": spn.mode(),
        "conditional mean": given.mean(),
        "conditional variance": given.variance(),
        "conditional mode": given.mode(),
    }
    if c.x.ndim == 2:
        found["posteriors"] = spn.univariate_posteriors().mean()
    return found, given


@functools.cache
def answers_of_the_variables(name):
    return answers(name, SumProductNetwork(shared(name).circuit))[0]


@pytest.mark.parametrize(("name", "parameter"), PARAMS)
def test_any_parameter_may_be_batched_alone(name, parameter):
    """The first member has the circuit's own value, the second another one."""
    c = shared(name)
    params = c.circuit.live_params()
    other = stacked_params(c.circuit, ())[parameter]
    batch = {**params, parameter: tf.stack([params[parameter], other])}
    got, given = answers(name, SumProductNetwork(c.circuit, batch))
    one = SumProductNetwork(c.circuit, {**params, parameter: other})
    members = answers_of_the_variables(name), answers(name, one)[0]
    for member, wanted in enumerate(members):
        for query, want in wanted.items():
            np.testing.assert_allclose(
                got[query][member], want, rtol=1e-4, atol=1e-5, err_msg=query
            )
    assert given.sample(3, seed=(0, 1)).shape == (3, 2, *c.x.shape[1:])


# --- samples ---------------------------------------------------------------------


@each
def test_sample_shapes_and_dtype(name):
    d = shared(name).distribution
    tail = (*d.batch_shape, *d.event_shape)
    for n, lead in (((), ()), (3, (3,)), ((2, 3), (2, 3)), (0, (0,))):
        sample = d.sample(n, seed=(1, 2))
        assert sample.shape == (*lead, *tail)
        assert sample.dtype == d.dtype
    assert np.all(np.isfinite(d.log_prob(d.sample(3, seed=(1, 2)))))


@each_traced
def test_any_number_of_samples_in_a_function(name):
    d = shared(name).distribution
    tail = (*d.batch_shape, *d.event_shape)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def sample(n):
        return d.sample(n, seed=(1, 2))

    assert sample(tf.constant(3)).shape == (3, *tail)
    assert sample(tf.constant(0)).shape == (0, *tail)


@each
def test_seeds(name):
    d = shared(name).distribution
    first = d.sample(20, seed=(1, 2))
    assert np.array_equal(first, d.sample(20, seed=tf.constant([1, 2])))
    assert not np.array_equal(first, d.sample(20, seed=(1, 3)))
    samples = []
    for _ in range(2):  # as in all of TFP, an int is a seed of the global generator
        tf.random.set_seed(7)
        samples.append(d.sample(5, seed=1))
    assert np.array_equal(*samples)


@pytest.mark.parametrize("name", ["normal", "conditioned discrete"])
def test_seeded_sampling_leaves_global_generators_alone(name):
    d = shared(name).distribution

    def draws(seeds):
        keras.utils.set_random_seed(3)
        for seed in seeds:
            d.sample(2, seed=seed)
        return (
            random.random(),
            np.random.random(),  # noqa: NPY002 - the global generator is the point
            float(tf.random.uniform([])),
            keras.random.uniform([]).numpy(),
            *tf.random.get_global_generator().state.numpy(),
        )

    assert draws([]) == draws([(0, 1), tf.constant([2, 3]), 5])


def test_members_of_a_batch_draw_independently():
    c = shared("normal")
    params = {
        k: tf.stack([v, v]) for k, v in c.circuit.live_params().items()
    }  # two equal members
    for d in (
        SumProductNetwork(c.circuit, params),
        c.distribution.condition(np.zeros([2, 4]), np.zeros([2, 4], bool)),
        tfd.BatchBroadcast(c.distribution, [2]),
    ):
        one, two = tf.unstack(d.sample(2000, seed=(0, 1)), axis=1)
        assert not np.any(one == two)
        # The mean of 2000 products of independent draws of variance v is beyond
        # 5.5 v / sqrt(2000) once in 10^7 tests.
        center = c.distribution.mean()
        product = np.mean((one - center) * (two - center), axis=0)
        bound = 5.5 * c.distribution.variance() / 2000**0.5
        assert np.all(np.abs(product) < bound)


@each
def test_sample_and_log_prob(name):
    d = shared(name).distribution
    sample, log_prob = d.experimental_sample_and_log_prob(3, seed=(1, 2))
    close(log_prob, d.log_prob(sample))
    assert sample.shape == (3, *d.batch_shape, *d.event_shape)


# --- empty, dynamic, compiled, vectorised ----------------------------------------


@each_traced
def test_empty_and_unknown_batch(name):
    c = shared(name)
    d, tail = c.distribution, c.batched_x.shape[1:]
    assert d.log_prob(c.batched_x[:0]).shape == [0, *d.batch_shape]

    @tf.function(input_signature=[tf.TensorSpec([None, *tail], c.x.dtype)])
    def log_prob(x):
        result = d.log_prob(x)
        assert result.shape.as_list() == [None, *d.batch_shape]
        return result

    close(log_prob(c.batched_x), d.log_prob(c.batched_x))
    assert log_prob(c.batched_x[:0]).shape == [0, *d.batch_shape]


@pytest.mark.parametrize(
    "name",
    [
        "marginal",
        pytest.param("batched", marks=pytest.mark.slow),
        pytest.param("vectors", marks=pytest.mark.slow),
        pytest.param("classes", marks=pytest.mark.slow),
    ],
)
def test_empty_and_unknown_evidence(name):
    c = shared(name)
    tail = c.batched_x.shape[1:]
    observed = np.arange(c.x.shape[1]) % 2 == 0

    @tf.function(input_signature=[tf.TensorSpec([None, *tail], c.x.dtype)])
    def query(x):
        d = c.distribution.condition(x, observed)
        tf.debugging.assert_equal(d.batch_shape_tensor(), tf.shape(d.log_evidence()))
        return d.sample(2, seed=(0, 1)), d.mean(), d.variance(), d.mode()

    compiled = [(x, query(x)) for x in (c.batched_x, c.batched_x[:0])]
    tf.config.run_functions_eagerly(True)  # what they are compared with
    for x, found in compiled:
        d = c.distribution.condition(x, observed)
        shape = [len(x), *c.distribution.batch_shape, *c.distribution.event_shape]
        eager = d.sample(2, seed=(0, 1)), d.mean(), d.variance(), d.mode()
        for got, want in zip(found, eager, strict=True):
            close(got, want)
        assert eager[0].shape == [2, *shape]
        assert all(value.shape == shape for value in eager[1:])
        if name not in ("vectors", "batched"):
            assert d.covariance().shape == [*shape, shape[-1]]


@each_compiled
def test_xla_equals_eager(name):
    c = shared(name)
    x = tf.constant(c.batched_x)

    def everything(params, x):
        with tf.GradientTape() as tape:
            tape.watch(params)
            d = with_params(c.distribution, params)
            log_prob = d.log_prob(x)
        statistics = [d.mode()]
        if name not in NO_MOMENTS:
            statistics += [d.mean(), d.variance()]
        return log_prob, tape.gradient(log_prob, params), statistics

    params = {k: tf.convert_to_tensor(v) for k, v in params_of(c.distribution).items()}
    compiled = tf.function(everything, jit_compile=True)(params, x)
    for got, want in zip(
        tf.nest.flatten(compiled), tf.nest.flatten(everything(params, x)), strict=True
    ):
        assert np.all(np.isfinite(want))
        close(got, want, rtol=1e-4, atol=1e-5)


@each_compiled
def test_vectorized_map_equals_loop(name):
    c = shared(name)
    x, log_prob = tf.constant(c.batched_x), c.distribution.log_prob
    in_one = functools.partial(tf.vectorized_map, fallback_to_while_loop=False)
    close(in_one(log_prob, x), log_prob(x))
    # vectorized_map refuses random draws (here: of ties) inside a loop.
    if x.dtype.is_floating and "hard" not in name:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(log_prob(x))

        def derivative(row):
            with tf.GradientTape() as tape:
                tape.watch(row)
                value = log_prob(row)
            return tape.gradient(value, row)

        close(in_one(derivative, x), tape.gradient(total, x), rtol=1e-4)


# --- copy, slices, composites ----------------------------------------------------


@each
def test_copy(name):
    c = shared(name)
    d = c.distribution
    for changes in ({}, {"validate_args": True}, {"name": "other"}):
        copy = d.copy(**changes)
        assert type(copy) is type(d)
        assert copy.validate_args is changes.get("validate_args", False)
        assert (copy.batch_shape, copy.event_shape) == (d.batch_shape, d.event_shape)
        close(copy.log_prob(c.batched_x), d.log_prob(c.batched_x))
        for key, value in params_of(d).items():
            assert params_of(copy)[key] is value
    rebuilt = type(d)(**d.parameters)
    close(rebuilt.log_prob(c.batched_x), d.log_prob(c.batched_x))


@each_of({"batched", "batched discrete", "components"}, HAS_BATCH)
def test_slices(name):
    c = shared(name)
    d, log_prob = c.distribution, c.distribution.log_prob(c.x[0])
    newaxis = tf.newaxis
    for index in (0, -1, slice(1), slice(None, None, -1), (..., newaxis), (newaxis,)):
        part, want = d[index], log_prob[index]
        assert type(part) is type(d)
        assert part.batch_shape == want.shape
        close(part.log_prob(c.x[0]), want)
        assert part.sample(2, seed=(0, 1)).shape == [2, *want.shape, *d.event_shape]
        axes = list(range(-len(d.event_shape), 0))
        close(tf.reduce_sum(part.mean(), axes), tf.reduce_sum(d.mean(), axes)[index])


def test_slices_give_gradients_to_variables():
    c = shared("batched")
    params = {k: tf.Variable(v) for k, v in c.distribution.params.items()}
    d = SumProductNetwork(c.circuit, params)
    with tf.GradientTape() as tape:
        log_prob = d[1].log_prob(c.x[0])
    for name, gradient in tape.gradient(log_prob, params).items():
        gradient = tf.convert_to_tensor(gradient)
        assert np.all(gradient[0] == 0), name
        assert np.any(gradient[1] != 0), name


@each_traced
def test_composite_tensor(name):
    d, x = shared(name).distribution, shared(name).batched_x
    flat = tf.nest.flatten(d, expand_composites=True)
    assert flat
    assert all(tf.is_tensor(value) for value in flat)
    restored = tf.nest.pack_sequence_as(d, flat, expand_composites=True)
    close(restored.log_prob(x), d.log_prob(x))
    traces = []

    @tf.function
    def passed_through(view):
        traces.append(1)
        return view, view.log_prob(x)

    for view in (d, d.copy()):
        result, log_prob = passed_through(view)
        assert type(result) is type(d)
        close(log_prob, d.log_prob(x))
        close(result.log_prob(x), log_prob)
    assert len(traces) == 1


# --- variables -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["normal", "classes", "marginal", "conditioned"])
def test_variables_are_the_circuits(name):
    c = CASES[name]()
    ids = {id(v.value) for v in c.circuit.trainable_variables}
    assert {id(v) for v in c.distribution.trainable_variables} == ids
    for wrapper in (
        tfd.Independent(c.distribution, 0),
        tfd.Sample(c.distribution, 2),
    ):
        assert {id(v) for v in wrapper.trainable_variables} == ids
    c.circuit.trainable = False
    assert c.distribution.trainable_variables == ()
    c.circuit.trainable = True
    c.circuit.leaf.trainable = False
    assert len(c.distribution.trainable_variables) == len(c.circuit.trainable_variables)
    assert len(c.distribution.trainable_variables) < len(ids)


@pytest.mark.parametrize("name", ["normal", "classes", "marginal", "layers"])
def test_view_follows_its_variables(name):
    c = CASES[name]()
    log_prob = tf.function(c.distribution.log_prob)
    before = log_prob(c.x)
    for variable in c.circuit.trainable_variables:
        noise = np.random.default_rng(0).normal(size=variable.shape)
        variable.assign_add(np.abs(noise))
    after = log_prob(c.x)
    assert not np.any(np.isclose(before, after))
    close(after, c.distribution.log_prob(c.x))
    # A view that is made now reads the same values.
    variables = c.distribution.variables_of_event
    fresh = SumProductNetwork(c.circuit, variables_of_event=variables)
    close(fresh.log_prob(c.x), after)


def reads_by_variable(graph):
    """Number of read operations on each captured variable, branches included."""
    count = {}
    for op in graph.get_operations():
        if op.type == "ReadVariableOp":
            handle = op.inputs[0].name
            count[handle] = count.get(handle, 0) + 1
    return count


@each
def test_variables_are_read_once(name):
    d, x = shared(name).distribution, shared(name).batched_x
    limit = 2 if hasattr(d, "distribution") else 1  # the joint and the evidence
    graph = tf.function(d.log_prob).get_concrete_function(x).graph
    count = reads_by_variable(graph)
    assert len(count) == len(d.variables)
    assert all(number <= limit for number in count.values())


# --- in other distributions ------------------------------------------------------


def test_independent_sums_over_the_batch():
    c = shared("batched")
    d = tfd.Independent(c.distribution, 1)
    assert d.event_shape == [2, 4]
    x = c.x[:2]
    close(d.log_prob(x), tf.reduce_sum(c.distribution.log_prob(x)))
    assert d.sample(3, seed=(0, 1)).shape == (3, 2, 4)
    close(d.mean(), c.distribution.mean())


def test_sample_sums_over_draws():
    c = shared("classes")
    d = tfd.Sample(c.distribution, 4)
    close(d.log_prob(c.x), tf.reduce_sum(c.distribution.log_prob(c.x)))
    assert d.sample(3, seed=(0, 1)).shape == (3, 4, 4)


@pytest.mark.parametrize("name", ["batched", "batched discrete", "components"])
def test_mixture_same_family(name):
    c = shared(name)
    num = c.distribution.batch_shape[0]
    probs = np.linspace(1, 2, num, dtype=np.float32)
    probs /= probs.sum()
    d = tfd.MixtureSameFamily(tfd.Categorical(probs=probs), c.distribution)
    joint = c.distribution.log_prob(c.batched_x) + np.log(probs)
    close(d.log_prob(c.x), tf.reduce_logsumexp(joint, -1))
    close(d.mean(), np.einsum("k,kv->v", probs, c.distribution.mean()))
    assert d.sample(3, seed=(0, 1)).shape == (3, 4)
    if name == "components":
        prior = shared("classes").distribution.mixture_distribution
        d = tfd.MixtureSameFamily(prior, c.distribution)
        close(d.log_prob(c.x), shared("classes").distribution.log_prob(c.x))


@pytest.mark.parametrize("name", ["normal", "batched", "float64", "vectors"])
def test_transformed_distribution(name):
    c = shared(name)
    dtype, size = c.distribution.dtype.as_numpy_dtype, c.x[0].size
    bijector = tfb.Shift(dtype(1))(tfb.Scale(dtype(2)))
    d = tfd.TransformedDistribution(c.distribution, bijector)
    x = c.batched_x
    close(d.log_prob(2 * x + 1), c.distribution.log_prob(x) - size * np.log(2))
    drawn = c.distribution.sample(3, seed=(0, 1))
    moved = d.sample(3, seed=(0, 1))
    assert moved.shape == drawn.shape
    close(
        d.log_prob(moved), c.distribution.log_prob((moved - 1) / 2) - size * np.log(2)
    )


def test_other_meta_distributions():
    c, spn = shared("batched"), shared("normal").distribution
    reshaped = tfd.BatchReshape(c.distribution, [2, 1])
    x = np.repeat(c.batched_x, 2, axis=1)
    close(reshaped.log_prob(x[:, :, None]), c.distribution.log_prob(x)[..., None])
    wide = tfd.BatchBroadcast(spn, [3])
    close(wide.log_prob(c.batched_x), tf.repeat(spn.log_prob(c.batched_x), 3, axis=1))
    masked = tfd.Masked(c.distribution, [True, False])
    close(masked.log_prob(c.x[0]), c.distribution.log_prob(c.x[0]) * [1, 0])
    joint = tfd.JointDistributionSequential(
        [tfd.Normal(0.0, 1.0), lambda shift: tfb.Shift(shift)(spn)]
    )
    shift, y = joint.sample(seed=(0, 1))
    want = tfd.Normal(0.0, 1.0).log_prob(shift) + spn.log_prob(y - shift)
    close(joint.log_prob([shift, y]), want)


@pytest.mark.parametrize(
    "name", ["normal", "laplace", "cauchy", "float64", "vectors", "batched", "marginal"]
)
def test_default_bijector_is_onto_the_real_line(name):
    c = shared(name)
    bijector = c.distribution.experimental_default_event_space_bijector()
    close(bijector.forward(c.batched_x), c.batched_x)
    assert bijector.forward_event_shape(c.distribution.event_shape) == c.x.shape[1:]
    flow = tfd.TransformedDistribution(c.distribution, tfb.Invert(bijector))
    close(flow.log_prob(c.batched_x), c.distribution.log_prob(c.batched_x))


@pytest.mark.parametrize("name", ["categorical", "conditioned"])
def test_no_default_bijector(name):
    d = shared(name).distribution
    assert d.experimental_default_event_space_bijector() is None


# --- statistics ------------------------------------------------------------------


@each
def test_shapes_of_statistics(name):
    d = shared(name).distribution
    shape = [*d.batch_shape, *d.event_shape]
    assert d.mode().shape == shape
    assert d.mode().dtype == d.dtype
    for statistic in (d.mean(), d.variance(), d.stddev()):
        assert statistic.shape == shape
        assert statistic.dtype == shared(name).circuit.program.dtype
        assert np.all(np.isnan(statistic) == (name in NO_MOMENTS))
    if len(d.event_shape) == 1:
        assert d.covariance().shape == [*shape, shape[-1]]
        close(tf.linalg.diag_part(d.covariance()), d.variance())
    else:
        with pytest.raises(
            NotImplementedError, match=r"events of rank 1.*Use variance"
        ):
            d.covariance()


@pytest.mark.parametrize("statistic", ["mean", "variance", "stddev", "covariance"])
def test_undefined_statistics_are_nan_or_raise(statistic):
    c = shared("cauchy")
    strict = SumProductNetwork(c.circuit, allow_nan_stats=False)
    observed = [True, False, False, False]
    for d in (c.distribution, c.distribution.condition(c.x[0], observed)):
        value = getattr(d, statistic)()
        is_known = int(isinstance(d, ConditionedSumProductNetwork))
        value = value[1:] if is_known else value
        assert np.all(np.isnan(value[..., is_known:]))
    regex = r"of CauchyLeaf is undefined.*allow_nan_stats=True"
    for d in (strict, strict.marginal([1]), strict.condition(c.x[0], observed)):
        assert d.allow_nan_stats is False
        with pytest.raises(ValueError, match=regex):
            getattr(d, statistic)()
    assert np.all(np.isfinite(SumProductNetwork(c.circuit).mode()))


@each
def test_what_is_not_exact_is_not_implemented(name):
    c = shared(name)
    d = c.distribution
    with pytest.raises(NotImplementedError):
        d.entropy()
    with pytest.raises(NotImplementedError):
        d.quantile(0.5)
    with pytest.raises(NotImplementedError):
        tfd.kl_divergence(d, d)


# --- marginals and conditionals of themselves ------------------------------------


@pytest.mark.parametrize("name", ["normal", "classes", "batched", "vectors"])
def test_conditioning_twice_is_conditioning_once(name):
    c = shared(name)
    base, y = c.distribution, np.concatenate([c.x[:1, :2], c.x[1:2, 2:]], axis=1)[0]
    first, second = [True, False, False, False], [False, True, True, False]
    twice = base.condition(y, first).condition(y, second)
    once = base.condition(y, np.logical_or(first, second))
    assert isinstance(twice, ConditionedSumProductNetwork)
    agree = np.concatenate([np.broadcast_to(y[:3], c.x[:, :3].shape), c.x[:, 3:]], 1)
    x = agree.reshape(c.batched_x.shape)
    close(twice.log_prob(x), once.log_prob(x), atol=1e-4)
    close(twice.mean(), once.mean())
    close(twice.mode(), once.mode())
    close(twice.sample(3, seed=(0, 1)), once.sample(3, seed=(0, 1)))


@pytest.mark.parametrize("name", ["normal", "classes", "batched", "vectors"])
def test_marginal_of_marginal(name):
    c = shared(name)
    one = c.distribution.marginal([3, 1])
    two = c.distribution.marginal([0, 1, 3]).marginal([2, 1])
    ones = [1] * c.distribution.batch_shape.rank
    x = c.x[:, [3, 1]].reshape(4, *ones, 2, *c.x.shape[2:])
    close(two.log_prob(x), one.log_prob(x))
    close(two.mean(), one.mean())
    close(two.sample(2, seed=(0, 1)), one.sample(2, seed=(0, 1)))
    close(
        one.mean(), tf.gather(c.distribution.mean(), [3, 1], axis=one.batch_shape.rank)
    )
