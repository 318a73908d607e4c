"""Circuits whose parameters are predicted from features."""

from __future__ import annotations

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, layers, losses, region_graphs
from tfp_spn.distributions import ConditionalSumProductNetwork, SumProductNetwork
from tfp_spn.sum_ops import SumOpGradBackprop

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3)).astype(np.float32)
Y = RNG.normal(size=(5, 4)).astype(np.float32)
GRAPH = region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=1)


def build(leaf=None, num_sums=3, graph=GRAPH, **arguments):
    leaf = leaf or layers.NormalLeaf(2, scale_trainable=True)
    return circuits.from_region_graph(graph, leaf, num_sums, **arguments)


def linear():
    """Weights that are stored as they are."""
    rule = SumOpGradBackprop(logspace_accumulators=False)
    return build(sum_op=rule)


KINDS = {
    "leaves": (build, "leaves"),
    "sums": (build, "sums"),
    "root": (lambda: build(num_classes=2), "root"),
    "all": (lambda: build(num_classes=2), "all"),
    "one leaf parameter": (build, "leaf_location"),
    "root and leaves": (build, ["root", "leaf_location"]),
    "linear weights": (linear, "sums"),
    "counts": (lambda: build(layers.BinomialLeaf(2, total_count=3)), "leaves"),
    "float64": (
        lambda: build(layers.NormalLeaf(2, scale_trainable=True, dtype="float64")),
        "all",
    ),
}


FAST_KINDS = {"leaves", "root", "all", "linear weights", "counts"}


def each(kinds, fast):
    marked = [
        k if k in fast else pytest.param(k, marks=pytest.mark.slow) for k in kinds
    ]
    return pytest.mark.parametrize("kind", marked)


@functools.cache
def shared(kind):
    make, predicted = KINDS[kind]
    keras.utils.set_random_seed(1)
    layer = ConditionalSumProductNetwork(make(), predicted)
    layer.build((None, 3))
    for variable in layer.network.trainable_variables:
        variable.assign(RNG.normal(scale=0.5, size=variable.shape))
    return layer


def params_of_example(layer, z):
    """In NumPy, for a single example."""
    specs = {spec.parameter: spec for spec in layer.circuit.program.sum_specs}
    params = {k: v.numpy() for k, v in layer.circuit.live_params().items()}
    for name in layer.predicted:
        kernel = layer.network.maps[name].kernel.numpy()
        change = (z @ kernel).reshape(params[name].shape)
        if name in specs and not specs[name].logspace:
            params[name] = params[name] * np.exp(change)
        else:
            params[name] = params[name] + change
    return params


@each(KINDS, FAST_KINDS)
def test_each_example_has_its_own_circuit(kind):
    layer = shared(kind)
    dtype = layer.circuit.program.dtype
    d = layer(Z)
    assert isinstance(d, SumProductNetwork)
    assert (d.batch_shape, d.event_shape) == ((5,), (4,))
    y = np.abs(np.round(Y)) if kind == "counts" else Y
    observed = np.array([True, False, True, True])
    queries = {
        "log_prob": lambda d, y: d.log_prob(y),
        "marginal": lambda d, y: d.log_prob(y, observed=observed),
        "joint": lambda d, y: d.log_joint(y),
        "mean": lambda d, _: d.mean(),
        "variance": lambda d, _: d.variance(),
        "mode": lambda d, _: d.mode(),
        "given": lambda d, y: d.condition(y, observed).mean(),
        "of two": lambda d, y: d.marginal([2, 0]).log_prob(y[..., [2, 0]]),
    }
    got = {name: ask(d, y) for name, ask in queries.items()}
    for number in (0, 3):
        params = params_of_example(layer, Z[number].astype(dtype.name))
        params = {k: tf.constant(v, dtype) for k, v in params.items()}
        one = SumProductNetwork(layer.circuit, params)
        for name, ask in queries.items():
            want = ask(one, y[number])
            np.testing.assert_allclose(
                got[name][number], want, rtol=2e-5, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("kind", ["all", "leaves"])
def test_samples_are_those_of_each_example(kind):
    d = shared(kind)(Z[:2])
    draws = d.sample(4000, seed=(1, 2))
    assert draws.shape == (4000, 2, 4)
    # Means of 4000 draws are further off once in 10^6 tests of 8 coordinates.
    error = np.abs(np.mean(draws, 0) - d.mean())
    assert np.all(error < 5.4 * d.stddev() / 4000**0.5)


def test_leading_axes_are_the_batch():
    layer = shared("all")
    z = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    d = layer(z)
    assert d.batch_shape == (2, 5)
    np.testing.assert_allclose(d.log_prob(Y)[1], layer(z[1]).log_prob(Y), rtol=1e-5)


@each(["all", "leaves", "root and leaves"], {"root and leaves"})
def test_compiled_and_dynamic(kind):
    layer = shared(kind)
    signature = [tf.TensorSpec([None, 3]), tf.TensorSpec([None, 4])]

    @tf.function(input_signature=signature, autograph=False)
    def queries(z, y):
        with tf.GradientTape() as tape:
            d = layer(z)
            value = d.log_prob(y)
            total = tf.reduce_sum(value)
        return value, d.mean(), tape.gradient(total, layer.trainable_variables)

    value, mean, gradients = queries(Z, Y)
    np.testing.assert_allclose(value, layer(Z).log_prob(Y), rtol=1e-5)
    np.testing.assert_allclose(mean, layer(Z).mean(), rtol=1e-4, atol=1e-5)
    assert all(g is not None and np.all(np.isfinite(g)) for g in gradients)
    value, mean, gradients = queries(Z[:0], Y[:0])
    assert (value.shape, mean.shape) == ((0,), (0, 4))
    assert all(np.all(g == 0) for g in gradients)


# --- what is shared is computed once ----------------------------------------------


def tensor_sizes(function, *arguments):
    """Sizes of all tensors of a graph, of its gradients too."""
    graph = (
        tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    )
    sizes = {}
    for op in graph.get_operations():
        for output in op.outputs:
            if output.shape.is_fully_defined():
                sizes[output.name] = output.shape.num_elements()
    return sizes


def product_flops(function, *arguments):
    """Multiplications of all matrix products of a graph."""
    graph = (
        tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    )
    total = 0
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
            left, result = op.inputs[0].shape, op.outputs[0].shape
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            total += result.num_elements() * left[-2 if transposed else -1]
    return total


BATCH = 64


@functools.cache
def wide():
    """Weights far larger than units, so that copies of them would be seen."""
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=1)
    circuit = build(layers.BernoulliLeaf(16), 16, graph, sum_product="tucker")
    live = circuit.live_params()
    z = tf.random.stateless_normal([BATCH, 1], (0, 1))
    y = tf.cast(tf.random.stateless_uniform([BATCH, 4], (0, 2)) < 0.5, tf.float32)
    return circuit, live, z, y


@pytest.mark.parametrize("predicted", [["leaf_logits"], ["leaf_logits", "root"]])
def test_only_predicted_parameters_carry_the_batch(predicted):
    circuit, live, z, y = wide()
    layer = ConditionalSumProductNetwork(circuit, predicted)
    layer.build(z.shape)
    params = layer(z).params
    for name, value in live.items():
        if name in layer.predicted:
            assert params[name].shape == [BATCH, *value.shape]
        else:
            assert params[name] is value

    def step(y):
        with tf.GradientTape() as tape:
            log_prob = layer(z).log_prob(y)
        return tape.gradient(log_prob, layer.trainable_variables)

    shared_weights = max(
        value.shape.num_elements()
        for name, value in live.items()
        if name not in layer.predicted
    )
    units = max(
        step.num_regions * (step.num_inputs + step.num_outputs)
        for step in circuit.program.steps
    )
    own = max(live[name].shape.num_elements() for name in layer.predicted)
    limit = BATCH * max(units, own)
    assert limit < BATCH * shared_weights / 4  # or the test could not fail
    sizes = tensor_sizes(step, y)
    assert len(sizes) > 100
    assert max(sizes.values()) <= limit, max(sizes, key=sizes.get)


def test_shared_products_cost_what_one_circuit_costs():
    circuit, live, z, y = wide()
    leaf = live["leaf_logits"] + tf.zeros([BATCH, 1, 1, 1])

    def gradients(params):
        def step(y):
            with tf.GradientTape() as tape:
                tape.watch(params)
                log_prob = SumProductNetwork(circuit, params).log_prob(y)
            return tape.gradient(log_prob, params)

        return product_flops(step, y)

    one = {k: tf.convert_to_tensor(v) for k, v in live.items()}
    assert gradients({**one, "leaf_logits": leaf}) <= 1.05 * gradients(one)


def test_below_predicted_root_weights_nothing_has_the_batch():
    circuit, live, z, _ = wide()
    layer = ConditionalSumProductNetwork(circuit, "root")
    layer.build(z.shape)
    assert len(layer.predicted) == 1
    top = BATCH * live[layer.predicted[0]].shape.num_elements()
    sizes = tensor_sizes(lambda y: layer(z).log_prob(y), tf.zeros([4]))
    with_batch = [
        name for name, size in sizes.items() if size >= BATCH and size % BATCH == 0
    ]
    largest = max(sizes[name] for name in with_batch)
    assert largest == top
    units = tf.zeros([1, 4])
    alone = tensor_sizes(lambda y: SumProductNetwork(circuit).log_prob(y), units)
    others = [size for size in sizes.values() if size not in (top, 2 * top)]
    assert max(others) <= max(alone.values())


# --- as a layer -------------------------------------------------------------------


def conv_network(circuit, name):
    """A network of one's own: features to a tensor of the parameter's shape."""
    shape = tuple(circuit.live_params()[name].shape)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.Dense(int(np.prod(shape))),
            keras.layers.Reshape(shape),
        ]
    )


def functional(layer):
    inputs = keras.Input((3,))
    return keras.Model(inputs, layer(keras.layers.Dense(3)(inputs)))


def sequential(layer):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), layer])


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.dense = layer, keras.layers.Dense(3)

    def call(self, z):
        return self.layer(self.dense(z))

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def make_layer(network):
    circuit = build()
    if network == "own":
        own = conv_network(circuit, "leaf_location")
        return ConditionalSumProductNetwork(circuit, "leaf_location", own)
    return ConditionalSumProductNetwork(circuit, ["leaves", "root"])


@pytest.mark.parametrize(
    ("make_model", "network"),
    [
        (functional, "own"),
        (sequential, "default"),
        pytest.param(functional, "default", marks=pytest.mark.slow),
        pytest.param(sequential, "own", marks=pytest.mark.slow),
        pytest.param(Subclassed, "own", marks=pytest.mark.slow),
        pytest.param(Subclassed, "default", marks=pytest.mark.slow),
    ],
)
def test_in_models_of_keras(make_model, network, tmp_path):
    model = make_model(make_layer(network))
    model.compile(keras.optimizers.Adam(0.05), losses.NegativeLogLikelihood())
    history = model.fit(Z, Y, epochs=8, batch_size=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    d = model(Z)
    assert isinstance(d, SumProductNetwork)
    log_prob = d.log_prob(Y)
    want = -np.mean(log_prob)
    np.testing.assert_allclose(model.evaluate(Z, Y, verbose=0), want, rtol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(Z).log_prob(Y), log_prob, rtol=1e-6)
    assert int(loaded.optimizer.iterations) == 16  # the optimizer's state too
    loaded.trainable_variables[0].assign_add(
        tf.ones_like(loaded.trainable_variables[0].value)
    )
    model.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(loaded(Z).log_prob(Y), log_prob, rtol=1e-6)


def test_config():
    layer = shared("root and leaves")
    again = ConditionalSumProductNetwork.from_config(layer.get_config())
    assert again.predicted == layer.predicted == ("leaf_location", "sums_1")
    assert again.get_config().keys() == layer.get_config().keys()
    assert again.circuit is not layer.circuit
    assert again(Z).batch_shape == (5,)


def test_learns_what_features_say():
    """y = +-2 by the sign of the feature, with noise: a bit in each of 400 examples."""
    keras.utils.set_random_seed(0)
    z = RNG.choice([-1.0, 1.0], size=[400, 1])
    y = 2 * z + RNG.normal(size=[400, 4])
    layer = ConditionalSumProductNetwork(build(), "leaves")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.Adam(0.1), losses.NegativeLogLikelihood())
    model.fit(z, y, epochs=30, batch_size=100, verbose=0)
    mean = model(np.array([[-1.0], [1.0]])).mean()
    np.testing.assert_allclose(mean, [[-2.0] * 4, [2.0] * 4], atol=0.4)
    noise = 2 * np.log(2 * np.pi * np.e)  # entropy of the noise in four dimensions
    assert model.evaluate(z, y, verbose=0) < noise + 0.4


def test_frozen_circuit_keeps_its_variables():
    layer = ConditionalSumProductNetwork(build(), "leaves")
    layer.build((None, 3))
    names = len(layer.trainable_variables)
    layer.circuit.trainable = False
    assert len(layer.trainable_variables) == len(layer.predicted) < names
    # Leaves of a frozen circuit can be predicted all the same.
    again = ConditionalSumProductNetwork(layer.circuit, "leaves")
    assert again.predicted == layer.predicted


def test_in_a_mixed_precision_model():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = ConditionalSumProductNetwork(build())
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), layer])
        d = model(Z)
    finally:
        keras.config.set_dtype_policy("float32")
    assert d.dtype == d.log_prob(Y).dtype == tf.float32
    assert np.all(np.isfinite(d.log_prob(Y)))


def test_stateless_call_uses_the_variables_given():
    layer = shared("leaves")
    moved = [v + 0.3 for v in layer.trainable_variables]

    def log_prob(variables):
        d, _ = layer.stateless_call(variables, [], Z)
        return d.log_prob(Y)

    plain = layer(Z).log_prob(Y)
    values = [v.value for v in layer.trainable_variables]
    np.testing.assert_allclose(log_prob(values), plain, rtol=1e-6)
    assert not np.any(np.isclose(log_prob(moved), plain))


def test_sequential_stacks_are_circuits_too():
    stack = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            layers.BernoulliLeaf(2),
            layers.Conv2DProduct([1, 1], [1, 1], [2, 2], depthwise=True),
            layers.SpatialToRegions(),
            layers.RootSum(return_weighted_child_logits=False),
        ]
    )
    layer = ConditionalSumProductNetwork(stack, "leaves")
    assert layer(Z).sample(2, seed=1).shape == (2, 5, 2, 2, 1)


# --- errors -----------------------------------------------------------------------


def predicts(value, predicted="leaf_location"):
    return ConditionalSumProductNetwork(build(), predicted, lambda z: value)(Z)


def accumulating():
    leaf = layers.NormalLeaf(2, use_accumulators=True)
    return ConditionalSumProductNetwork(build(leaf))


WRONG = {
    "shape": (
        lambda: predicts(tf.zeros([5, 8, 3])),
        ValueError,
        r"predicted parameter 'leaf_location' of shape \(5, 8, 3\), expected "
        r"\[\*batch, 8, 2, 1\]. Reshape",
    ),
    "rank": (
        lambda: predicts({"leaf_scale": tf.zeros([5])}, ["leaf_scale"]),
        ValueError,
        r"parameter 'leaf_scale' of shape \(5,\), expected \[\*batch, 8, 2, 1\]",
    ),
    "missing": (
        lambda: predicts({"leaf_location": tf.zeros([8, 2, 1])}, "leaves"),
        ValueError,
        r"missing \['leaf_scale'\].*Expected 'leaf_location': \[\*batch, 8, 2, 1\], ",
    ),
    "surplus": (
        lambda: predicts({"leaf_location": 0.0, "sums_0": 0.0}),
        ValueError,
        r"not to be predicted \['sums_0'\]",
    ),
    "no dict": (
        lambda: predicts(tf.zeros([5, 2]), "leaves"),
        TypeError,
        r"returned EagerTensor, expected a dict of tensors by parameter: 'leaf_loc",
    ),
    "nothing predicted": (
        lambda: predicts(None),
        TypeError,
        r"predicted NoneType for parameter 'leaf_location', expected a tensor",
    ),
    "other batches": (
        lambda: predicts(
            {
                "leaf_location": tf.zeros([5, 8, 2, 1]),
                "leaf_scale": tf.zeros([3, 8, 2, 1]),
            },
            "leaves",
        ),
        ValueError,
        r"batch shapes .*expected shapes that broadcast",
    ),
    "unknown parameter": (
        lambda: ConditionalSumProductNetwork(build(), ["leaves", "weights"]),
        ValueError,
        r"\['weights'\] is unknown. Expected some of \['all', .*'leaf_location'",
    ),
    "nothing": (
        lambda: ConditionalSumProductNetwork(build(), []),
        ValueError,
        r"predicted=\[\], expected one of .*non-empty list",
    ),
    "constants": (
        lambda: ConditionalSumProductNetwork(build(layers.IndicatorLeaf(2)), "leaves"),
        ValueError,
        r"this circuit has no such parameters. Expected some of \['sums_0'",
    ),
    "accumulators": (
        accumulating,
        ValueError,
        r"'leaf_first_order_moment_num_accum'\] accumulate moments and cannot be",
    ),
    "network": (
        lambda: ConditionalSumProductNetwork(build(), "leaves", 3),
        TypeError,
        r"network must map features to parameters, received 3. Pass a Keras layer",
    ),
    "circuit": (
        lambda: ConditionalSumProductNetwork(GRAPH),
        TypeError,
        r"circuit must be what .*from_region_graph returns.*received RegionGraph",
    ),
    "value": (
        lambda: shared("leaves")(Z).log_prob(Y[:3]),
        ValueError,
        r"leading axes \(3,\), expected ones that broadcast with the batch shape",
    ),
}


@pytest.mark.parametrize(("call", "error", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(call, error, regex):
    with pytest.raises(error) as caught:
        call()
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)


def test_error_while_a_model_is_built():
    circuit = build()
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7)])
    layer = ConditionalSumProductNetwork(circuit, "leaf_location", network)
    with pytest.raises(ValueError, match=r"'leaf_location' of shape \(None, 7\), exp"):
        layer(keras.Input((3,)))


def test_values_are_checked():
    circuit = build(layers.BernoulliLeaf(2))
    layer = ConditionalSumProductNetwork(circuit, validate_args=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside the support"):
        layer(Z).log_prob(np.full([5, 4], 2))
