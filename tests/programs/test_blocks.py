"""Queries in blocks equal queries of all examples at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import layers, region_graphs
from tfp_spn.circuits import clear_traces, from_region_graph
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.programs import blocks
from tfp_spn.programs.circuit_program import CircuitProgram

NUM_EXAMPLES = 37
BLOCK = 8


def set_block_size(monkeypatch, size: int) -> None:
    clear_traces()
    monkeypatch.setattr(blocks, "block_size", lambda program: size)
    monkeypatch.setattr(CircuitProgram, "max_examples", size)


@pytest.fixture
def small_blocks(monkeypatch):
    set_block_size(monkeypatch, BLOCK)
    yield
    clear_traces()


def normal_spn(batch: int = 0) -> SumProductNetwork:
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=0)
    circuit = from_region_graph(graph, layers.NormalLeaf(3, scale_trainable=True), 3)
    if not batch:
        return SumProductNetwork(circuit)
    params = {
        name: tf.stack([value + 0.1 * n for n in range(batch)])
        for name, value in circuit.live_params().items()
    }
    return SumProductNetwork(circuit, params)


def examples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(NUM_EXAMPLES, 4)).astype(np.float32)
    return x, rng.random(x.shape) < 0.5


def query(spn: SumProductNetwork, name: str, x: np.ndarray, mask: np.ndarray):
    if name == "log_prob":
        return spn.log_prob(x, observed=mask)
    given = spn.condition(x, mask)
    return given.sample(3, seed=5) if name == "sample" else getattr(given, name)()


@pytest.mark.parametrize("max_unrolled", [0, 100], ids=["loop", "unrolled"])
@pytest.mark.parametrize("name", ["log_prob", "mean", "variance", "mode"])
def test_blocks_change_nothing(name, max_unrolled, small_blocks, monkeypatch):
    spn, (x, mask) = normal_spn(), examples()
    monkeypatch.setattr(blocks, "_MAX_UNROLLED", max_unrolled)
    in_blocks = query(spn, name, x, mask)
    set_block_size(monkeypatch, 1000)
    at_once = query(spn, name, x, mask)
    assert in_blocks.shape == at_once.shape
    np.testing.assert_allclose(in_blocks, at_once, rtol=1e-5, atol=1e-6)


def underflowing_spn() -> SumProductNetwork:
    """Of values near zero the best child has no weight in the sum that needs it."""
    graph = region_graphs.from_nested_lists([[0, 1], 2])
    circuit = from_region_graph(graph, layers.NormalLeaf(3), 3)
    params = circuit.live_params()
    location, weights = params["leaf_location"], params["sums_0"]
    location.assign(location * 0.1 + [[0.0], [FAR], [2 * FAR]])
    forbidden = np.zeros(weights.shape, bool)
    forbidden[:, 0, 1:] = True
    weights.assign(tf.where(forbidden, -np.inf, weights))
    return SumProductNetwork(circuit)


FAR = 20.0


def answers(spn: SumProductNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    mask = np.array([True, True, False])
    with tf.GradientTape() as tape:
        log_prob = spn.log_prob(x)
    [gradient] = tape.gradient(log_prob, [spn.circuit.live_params()["leaf_location"]])
    given = spn.condition(x, mask)
    found = {"log_prob": log_prob, "gradient": gradient, "mean": given.mean()}
    return {name: np.array(value) for name, value in found.items()}


@pytest.mark.compiled
def test_lost_digits_of_some_blocks(small_blocks, monkeypatch):
    spn = underflowing_spn()
    rng = np.random.default_rng(0)
    safe = rng.normal(FAR, 1.0, [NUM_EXAMPLES, 3]).astype(np.float32)
    answers(spn, safe)
    kinds = {key[1] for key in spn.program.traces._functions}
    assert kinds == {"blockwise"}  # no exact pass is traced

    x = safe.copy()
    x[20] -= FAR
    in_blocks = answers(spn, x)
    kinds = {key[1] for key in spn.program.traces._functions}
    assert kinds == {"blockwise", "checked", "exact"}
    set_block_size(monkeypatch, 1000)
    for name, want in answers(spn, x).items():
        np.testing.assert_allclose(in_blocks[name], want, rtol=1e-5, err_msg=name)
    alone = answers(spn, x[20:21])
    np.testing.assert_allclose(in_blocks["log_prob"][20], alone["log_prob"][0], 1e-5)


def test_batches_of_circuits(small_blocks, monkeypatch):
    spn, (x, mask) = normal_spn(batch=2), examples()
    x, mask = x[:, np.newaxis], mask[:, np.newaxis]
    in_blocks = query(spn, "log_prob", x, mask)
    set_block_size(monkeypatch, 1000)
    np.testing.assert_allclose(
        in_blocks, query(spn, "log_prob", x, mask), rtol=1e-5, atol=1e-6
    )


def test_blocks_of_wide_circuits_are_small():
    sizes = {}
    for num_variables in (20, 2000):
        graph = region_graphs.fully_factorized(num_variables)
        leaf = layers.BernoulliLeaf(400)
        circuit = from_region_graph(graph, leaf, 400, leaf_sums=False)
        sizes[num_variables] = blocks.block_size(circuit.program)
    assert sizes[20] >= blocks.MIN_BLOCK
    assert 1 <= sizes[2000] < blocks.MIN_BLOCK


def test_unknown_number_of_examples(small_blocks):
    spn, (x, _) = normal_spn(), examples()
    log_prob = tf.function(
        spn.log_prob, input_signature=[tf.TensorSpec([None, 4])], autograph=False
    )
    for count in (0, 1, BLOCK, NUM_EXAMPLES):
        expected = [spn.log_prob(row) for row in x[:count]]
        np.testing.assert_allclose(log_prob(x[:count]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_gradients(jit_compile, small_blocks, monkeypatch):
    spn, (x, _) = normal_spn(), examples()
    variables = list(spn.trainable_variables)

    def gradients():
        @tf.function(jit_compile=jit_compile, autograph=False)
        def compute(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.sin(spn.log_prob(x)))
            return tape.gradient(loss, [x, *variables])

        return compute(tf.constant(x))

    in_blocks = gradients()
    set_block_size(monkeypatch, 1000)
    for got, expected in zip(in_blocks, gradients(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_samples_of_blocks_differ(small_blocks):
    """Equal evidence in two blocks: the same distribution, other draws."""
    spn = normal_spn()
    x, nothing = np.zeros([2 * BLOCK, 4], np.float32), np.zeros(4, bool)
    drawn = spn.condition(x, nothing).sample(seed=1).numpy()
    assert drawn.shape == (2 * BLOCK, 4)
    assert len(np.unique(drawn[:, 0])) == 2 * BLOCK
