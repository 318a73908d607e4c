"""The workloads of the speed benchmark, through the package's public interface.

Each function below named like a case takes the execution mode and returns a `Workload`.
Data are random with fixed seeds; a batch has 256 examples unless the name says more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn import (
    circuits,
    distributions,
    layers,
    learning,
    region_graphs,
    sum_ops,
)

BATCH_SIZE = 256


@dataclass
class Workload:
    """Something to time.

    Attributes:
        circuit: The circuit that it runs.
        call: The timed call; its result is in the host's memory when it returns.
        num_examples: Examples per call.
        passes: Matrix products per call, in units of one upward pass: 3 for a training
            step, 0 where they are no measure of the work.
        num_masks: Further statistics of leaves: 1 with a mask per example.
        variants: Other ways to the same result, and how many of it one call makes.
    """

    circuit: circuits.Circuit
    call: Callable[[], Any]
    num_examples: int = BATCH_SIZE
    passes: int = 1
    num_masks: int = 0
    variants: dict[str, tuple[Callable[[], Any], int]] = field(default_factory=dict)


def gaussian_rat(
    sum_product: str = "cp",
    num_classes: int = 10,
    num_variables: int = 784,
    num_repetitions: int = 10,
    num_sums: int = 20,
    depth: int = 4,
) -> circuits.Circuit:
    """W1: random balanced binary trees over Gaussian variables."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.random_binary_trees(num_variables, depth, num_repetitions)
    leaf = layers.NormalLeaf(num_sums, scale_trainable=True)
    return circuits.from_region_graph(graph, leaf, num_sums, sum_product, num_classes)


def pixel_quad_graph() -> circuits.Circuit:
    """W2: a quad graph over 28x28 pixels of 256 values."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.quad_graph((28, 28))
    leaf = layers.CategoricalLeaf(64, num_categories=256)
    return circuits.from_region_graph(graph, leaf, 64, num_classes=10)


def dgc_spn(num_roots: int = 10, sum_op: Any = None) -> circuits.Circuit:
    """W3: convolutional, over the z-scores of 28x28 pixels.

    Products over windows of 2x2 cells, side by side, then overlapping with dilations 1,
    2, 4 and 8, each but the last one followed by sums in every cell.
    """
    keras.utils.set_random_seed(0)
    weights = {
        "accumulator_initializer": keras.initializers.TruncatedNormal(1.0, 0.5),
        "sum_op": sum_op,
    }

    def product(stride: int, dilation: int, padding: str) -> layers.Conv2DProduct:
        steps = {"strides": [stride] * 2, "dilations": [dilation] * 2}
        return layers.Conv2DProduct(
            **steps, kernel_size=[2, 2], padding=padding, depthwise=True
        )

    def sums(num_sums: int) -> layers.Local2DSum:
        return layers.Local2DSum(num_sums, **weights)

    stack = [keras.Input((28, 28, 1)), layers.NormalLeaf(16)]
    stack += [product(2, 1, "valid"), sums(16), product(2, 1, "valid"), sums(32)]
    stack += [product(1, 1, "full"), sums(32), product(1, 2, "full"), sums(64)]
    stack += [product(1, 4, "full"), sums(64), product(1, 8, "final")]
    stack += [layers.SpatialToRegions(), layers.DenseSum(10, **weights)]
    stack.append(layers.RootSum(num_roots > 1, **weights))
    return circuits.from_layers(stack)


def binary_rat() -> circuits.Circuit:
    """W4: a small table of binary variables."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.random_binary_trees(16, depth=3, num_repetitions=5)
    return circuits.from_region_graph(graph, layers.BernoulliLeaf(10), 10)


def correlated_bits(num_examples: int, num_variables: int) -> np.ndarray:
    """Independent bits in each of eight groups of examples."""
    rng = np.random.default_rng(0)
    probs = rng.random((8, num_variables))
    groups = rng.integers(0, 8, num_examples)
    return (rng.random((num_examples, num_variables)) < probs[groups]).astype(np.int32)


def chow_liu_tree(num_variables: int, num_sums: int = 20) -> circuits.Circuit:
    """W8: a hidden Chow-Liu tree over binary variables, as irregular as trees are."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.hidden_chow_liu_tree(correlated_bits(2_000, num_variables))
    leaf = layers.CategoricalLeaf(num_sums, num_categories=2)
    return circuits.from_region_graph(graph, leaf, num_sums)


def normal_data(num_examples: int = BATCH_SIZE, num_variables: int = 784) -> tf.Tensor:
    rng = np.random.default_rng(1)
    return tf.constant(rng.normal(size=(num_examples, num_variables)), tf.float32)


def integer_data(high: int, num_examples: int, num_variables: int) -> tf.Tensor:
    rng = np.random.default_rng(1)
    return tf.constant(rng.integers(0, high, (num_examples, num_variables)), tf.int32)


def images(num_examples: int) -> tf.Tensor:
    rng = np.random.default_rng(1)
    return tf.constant(rng.random((num_examples, 28, 28, 1)), tf.float32)


def fresh_seeds() -> Iterator[tf.Tensor]:
    """Arguments of a compiled function, so that no two calls draw the same."""
    rng = np.random.default_rng(3)
    while True:
        yield tf.constant(rng.integers(0, 2**31, 2), tf.int32)


def log_prob(circuit: circuits.Circuit, x: tf.Tensor, mode: str) -> Workload:
    spn = distributions.SumProductNetwork(circuit)
    compiled = tf.function(spn.log_prob, jit_compile=mode == "xla", autograph=False)
    return Workload(circuit, lambda: compiled(x).numpy(), len(x))


def gradient_step(
    circuit: circuits.Circuit, x: tf.Tensor, loss: keras.losses.Loss, mode: str
) -> Workload:
    """Keras' own training step, as `fit` runs it for one batch."""
    y = tf.constant(np.random.default_rng(2).integers(0, 10, len(x)), tf.int32)
    circuit.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=mode == "xla")
    return Workload(circuit, lambda: circuit.train_on_batch(x, y), len(x), passes=3)


def em_step(circuit: circuits.Circuit, x: tf.Tensor, mode: str) -> Workload:
    """A step of online EM on one batch: E-step and M-step."""
    is_xla = mode == "xla"
    optimizer = learning.OnlineExpectationMaximization(0.05, pseudocount=0.1)
    circuit.compile(optimizer, learning.NegativeLogLikelihood(), jit_compile=is_xla)
    em = learning.MinibatchExpectationMaximization(circuit, 0.05, 0.1, is_xla)
    batches = learning.Batches(circuit.program, learning.Data(x.numpy()), len(x))
    batch = list(batches())
    return Workload(
        circuit,
        lambda: circuit.train_on_batch(x),
        len(x),
        passes=3,
        variants={"MinibatchExpectationMaximization": (lambda: em.epoch(batch), 1)},
    )


def w1cp_fwd(mode: str) -> Workload:
    return log_prob(gaussian_rat(), normal_data(), mode)


def w1cp_train(mode: str) -> Workload:
    loss = learning.NegativeLogJoint()
    return gradient_step(gaussian_rat(), normal_data(), loss, mode)


def w1ei_fwd(mode: str) -> Workload:
    return log_prob(gaussian_rat("tucker"), normal_data(), mode)


def w1ei_train(mode: str) -> Workload:
    loss = learning.NegativeLogJoint()
    return gradient_step(gaussian_rat("tucker"), normal_data(), loss, mode)


def w2_fwd(mode: str) -> Workload:
    return log_prob(pixel_quad_graph(), integer_data(256, BATCH_SIZE, 784), mode)


def w2_train(mode: str) -> Workload:
    x = integer_data(256, BATCH_SIZE, 784)
    return gradient_step(pixel_quad_graph(), x, learning.NegativeLogJoint(), mode)


def log_prob_of_images(num_examples: int, mode: str) -> Workload:
    """The z-scores of each image are part of the call, as in the definition."""
    circuit, x = dgc_spn(), images(num_examples)
    spn = distributions.SumProductNetwork(circuit)
    normalize = layers.NormalizeStandardScore()
    normalize.build(x.shape)

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def compiled(x: tf.Tensor) -> tf.Tensor:
        return spn.log_prob(normalize(x))

    return Workload(circuit, lambda: compiled(x).numpy(), num_examples)


def classification_step(num_examples: int, mode: str) -> Workload:
    circuit, x = dgc_spn(), images(num_examples)
    y = tf.constant(np.random.default_rng(2).integers(0, 10, len(x)), tf.int32)
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.NormalizeStandardScore(), circuit]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=mode == "xla")
    return Workload(circuit, lambda: model.train_on_batch(x, y), len(x), passes=3)


def hard_em_step(num_examples: int, mode: str) -> Workload:
    circuit = dgc_spn(1, sum_ops.SumOpHardEMBackprop())
    x, normalize = images(num_examples), layers.NormalizeStandardScore()
    normalize.build(x.shape)
    optimizer = learning.OnlineExpectationMaximization(0.05)
    circuit.compile(optimizer, jit_compile=mode == "xla")
    return Workload(circuit, lambda: circuit.train_on_batch(normalize(x)), len(x))


def w3_fwd64(mode: str) -> Workload:
    return log_prob_of_images(64, mode)


def w3_fwd256(mode: str) -> Workload:
    return log_prob_of_images(256, mode)


def w3_train64(mode: str) -> Workload:
    return classification_step(64, mode)


def w3_train256(mode: str) -> Workload:
    return classification_step(256, mode)


def w3_em64(mode: str) -> Workload:
    return hard_em_step(64, mode)


def w3_em256(mode: str) -> Workload:
    return hard_em_step(256, mode)


def w4_lp1(mode: str) -> Workload:
    circuit, x = binary_rat(), integer_data(2, 1, 16)
    workload = log_prob(circuit, x, mode)
    spn = distributions.SumProductNetwork(circuit)
    workload.variants["eager"] = (lambda: spn.log_prob(x).numpy(), 1)
    return workload


def w4_lp100k(mode: str) -> Workload:
    return log_prob(binary_rat(), integer_data(2, 100_000, 16), mode)


def w4_train(mode: str) -> Workload:
    x = integer_data(2, BATCH_SIZE, 16)
    circuit = binary_rat()
    workload = gradient_step(circuit, x, learning.NegativeLogLikelihood(), mode)
    dataset = tf.data.Dataset.from_tensors((x, tf.zeros([len(x)]))).repeat()
    iterator = iter(dataset)
    num_steps = 200

    def fit() -> None:
        circuit.fit(dataset, steps_per_epoch=num_steps, verbose=0)

    several = binary_rat()
    several.compile(
        keras.optimizers.Adam(1e-2),
        learning.NegativeLogLikelihood(),
        jit_compile=mode == "xla",
        steps_per_execution=20,
    )

    def fit_several() -> None:
        several.fit(dataset, steps_per_epoch=num_steps, verbose=0)

    workload.variants["train_function"] = (
        lambda: circuit.train_function(iterator)["loss"].numpy(),
        1,
    )
    workload.variants["fit"] = (fit, num_steps)
    workload.variants["fit, steps_per_execution=20"] = (fit_several, num_steps)
    return workload


def samples(num_samples: int, mode: str) -> Workload:
    """Fresh samples at every call: the seed is an argument."""
    circuit = gaussian_rat(num_classes=1)
    spn = distributions.SumProductNetwork(circuit)

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def compiled(seed: tf.Tensor) -> tf.Tensor:
        return spn.sample(num_samples, seed=seed)

    seeds = fresh_seeds()
    return Workload(
        circuit, lambda: compiled(next(seeds)).numpy(), num_samples, passes=0
    )


def w5_s1k(mode: str) -> Workload:
    return samples(1_000, mode)


def w5_s10k(mode: str) -> Workload:
    return samples(10_000, mode)


def completions(num_examples: int, query: str, mode: str) -> Workload:
    """Every other variable is given."""
    circuit = gaussian_rat(num_classes=1)
    spn = distributions.SumProductNetwork(circuit)
    observed = tf.constant(np.arange(784) % 2 == 1)

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def compiled(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        given = spn.condition(x, observed)
        return given.mode() if query == "mode" else given.sample(seed=seed)

    x, seeds = normal_data(num_examples), fresh_seeds()
    return Workload(
        circuit, lambda: compiled(x, next(seeds)).numpy(), num_examples, num_masks=1
    )


def w5_cond1k(mode: str) -> Workload:
    return completions(1_000, "sample", mode)


def w5_cond100(mode: str) -> Workload:
    return completions(100, "sample", mode)


def w5_mpe1k(mode: str) -> Workload:
    return completions(1_000, "mode", mode)


def w5_mpe100(mode: str) -> Workload:
    return completions(100, "mode", mode)


def w5_marg(mode: str) -> Workload:
    circuit, x = gaussian_rat(), normal_data()
    spn = distributions.SumProductNetwork(circuit)
    observed = tf.constant(np.random.default_rng(4).random(x.shape) < 0.5)

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def compiled(x: tf.Tensor, observed: tf.Tensor) -> tf.Tensor:
        return spn.log_prob(x, observed=observed)

    return Workload(circuit, lambda: compiled(x, observed).numpy(), num_masks=1)


def w6_em(mode: str) -> Workload:
    return em_step(gaussian_rat(num_classes=1), normal_data(), mode)


def w6_em_w4(mode: str) -> Workload:
    return em_step(binary_rat(), integer_data(2, BATCH_SIZE, 16), mode)


def gaussian_chain(
    num_steps: int = 1_000, num_states: int = 64
) -> tuple[distributions.DynamicSumProductNetwork, tfd.HiddenMarkovModel]:
    """W7: a hidden Markov model with Gaussian observations, ours and that of TFP."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    initial = rng.dirichlet(np.ones(num_states)).astype(np.float32)
    transition = rng.dirichlet(np.ones(num_states), num_states).astype(np.float32)
    location = np.linspace(-2.0, 2.0, num_states).astype(np.float32)
    template = circuits.from_region_graph(
        region_graphs.fully_factorized(1),
        layers.NormalLeaf(num_states),
        num_states,
        num_classes=num_states,
    )
    circuit = circuits.dynamic_from_circuit(template, num_steps)
    params = circuit.live_params()
    params["leaf_location"].assign(location.reshape(params["leaf_location"].shape))
    params["sums_0"].assign(tf.math.log(tf.eye(num_states))[tf.newaxis])
    for name, value in circuits.chain_params(initial, transition).items():
        params[name].assign(value)
    theirs = tfd.HiddenMarkovModel(
        tfd.Categorical(logits=tf.Variable(np.log(initial))),
        tfd.Categorical(logits=tf.Variable(np.log(transition))),
        tfd.Normal(tf.Variable(location), 1.0),
        num_steps,
    )
    return distributions.DynamicSumProductNetwork(circuit), theirs


def chain_query(query: Callable[[Any, tf.Tensor], Any], mode: str) -> Workload:
    """A query of both models."""
    ours, theirs = gaussian_chain()
    x = np.random.default_rng(1).normal(size=[32, ours.num_steps]).astype(np.float32)

    def timed(model: Any, x: np.ndarray) -> Callable[[], Any]:
        value = tf.constant(x)

        @tf.function(jit_compile=mode == "xla", autograph=False)
        def compiled(value: tf.Tensor) -> Any:
            return query(model, value)

        return lambda: tf.nest.map_structure(lambda v: v.numpy(), compiled(value))

    return Workload(
        ours.circuit,
        timed(ours, x[..., np.newaxis]),
        num_examples=x.size,
        passes=0,
        variants={"tfd.HiddenMarkovModel": (timed(theirs, x), 1)},
    )


def w7_lp(mode: str) -> Workload:
    return chain_query(lambda model, x: model.log_prob(x), mode)


def w7_grad(mode: str) -> Workload:
    def gradient(model: Any, x: tf.Tensor) -> Any:
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model.log_prob(x))
        return tape.gradient(total, variables)

    return chain_query(gradient, mode)


def w7_post(mode: str) -> Workload:
    def posterior(model: Any, x: tf.Tensor) -> tf.Tensor:
        found = model.posterior_marginals(x)
        return found.probs if found.logits is None else found.logits

    return chain_query(posterior, mode)


def tree_batch(num_variables: int) -> tf.Tensor:
    return tf.constant(correlated_bits(500, num_variables))


def tree_log_prob(num_variables: int, mode: str) -> Workload:
    return log_prob(chow_liu_tree(num_variables), tree_batch(num_variables), mode)


def tree_gradient(num_variables: int, mode: str) -> Workload:
    circuit, x = chow_liu_tree(num_variables), tree_batch(num_variables)
    spn = distributions.SumProductNetwork(circuit)
    variables = [variable.value for variable in circuit.trainable_variables]

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def gradient(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(spn.log_prob(x))
        return tape.gradient(mean, variables)

    return Workload(circuit, lambda: [g.numpy() for g in gradient(x)], len(x), passes=3)


def tree_em(num_variables: int, mode: str) -> Workload:
    circuit, x = chow_liu_tree(num_variables), tree_batch(num_variables)
    em = learning.MinibatchExpectationMaximization(circuit, 0.05, 0.1, mode == "xla")
    data = learning.Data(x.numpy())
    batch = list(learning.Batches(circuit.program, data, len(x))())
    return Workload(circuit, lambda: em.epoch(batch), len(x), passes=3)


def w8_100_lp(mode: str) -> Workload:
    return tree_log_prob(100, mode)


def w8_100_grad(mode: str) -> Workload:
    return tree_gradient(100, mode)


def w8_100_em(mode: str) -> Workload:
    return tree_em(100, mode)


def w8_500_lp(mode: str) -> Workload:
    return tree_log_prob(500, mode)


def w8_500_grad(mode: str) -> Workload:
    return tree_gradient(500, mode)


def w8_500_em(mode: str) -> Workload:
    return tree_em(500, mode)


def build(name: str, mode: str) -> Workload:
    """The workload of a case."""
    return globals()[name](mode)
