"""The E- and the M-step against the reference, and EM's promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.expand import expand
from tests.learning.learning_cases import (
    FAMILIES,
    HARD_RULES,
    NUM_VARIABLES,
    assert_same,
    circuit_of,
    data_of,
    values_of,
)
from tests.reference import evaluate, leaves_of, sums_of
from tests.tracing import num_traces
from tfp_spn import region_graphs
from tfp_spn.circuits import clear_traces
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.learning import (
    Batches,
    Data,
    ExpectationMaximization,
    expected_statistics,
    maximize,
)
from tfp_spn.learning.e_step import PLAIN


def e_step(circuit: Any, x: Any, observed: Any = None, **kwargs: Any) -> Any:
    program = circuit.program
    x = tf.cast(x, program.dtype)
    observed = None if observed is None else tf.constant(observed)
    evidence = to_evidence(x, observed, len(program.event_shape), 0)
    return expected_statistics(program, circuit.live_params(), evidence, **kwargs)


def step(circuit: Any, expectations: Any, **kwargs: Any) -> None:
    params = circuit.live_params()
    for name, value in maximize(
        circuit.program, params, expectations, **kwargs
    ).items():
        params[name].assign(value)


def random_graph(seed: int) -> Any:
    kind = seed % 4
    if kind == 0:
        return region_graphs.random_binary_trees(
            NUM_VARIABLES, 1 + seed % 2, 1 + seed % 3, seed=seed
        )
    if kind == 1:
        return region_graphs.linear_tree(NUM_VARIABLES, 2, randomize=True, seed=seed)
    if kind == 2:
        return region_graphs.poon_domingos((2, 2), 1)
    return region_graphs.quad_graph((2, 2))


def check_never_lowers(
    seed: int, family: str, product: str, missing: bool, weighted: bool, classes: int
) -> None:
    # Products of indicators are deterministic: regions of one variable only.
    graph = random_graph(2 if family == "indicator" else seed)
    circuit = circuit_of(
        family,
        seed % 1000,
        classes,
        graph,
        {"dtype": "float64"},
        sum_product=product,
    )
    rng = np.random.default_rng(seed)
    x = data_of(family, 20, seed)
    observed = rng.random(x.shape) < 0.7 if missing else None
    weights = rng.gamma(1.0, size=20) if weighted else None
    previous = -np.inf
    for _ in range(3):
        expectations = e_step(circuit, x, observed, weights=weights)
        log_likelihood = float(expectations["log_likelihood"])
        assert np.isfinite(log_likelihood)
        assert log_likelihood >= previous - 1e-8 * (1 + abs(previous))
        previous = log_likelihood
        step(circuit, expectations, pseudocount=0.0)


any_circuit = given(
    seed=st.integers(0, 10**6),
    family=st.sampled_from(FAMILIES),
    product=st.sampled_from(["cp", "tucker"]),
    missing=st.booleans(),
    weighted=st.booleans(),
    classes=st.sampled_from([1, 2]),
)


@settings(max_examples=30)
@any_circuit
def test_soft_em_never_lowers_the_likelihood(**case: Any) -> None:
    check_never_lowers(**case)


@pytest.mark.slow
@settings(max_examples=200)
@any_circuit
def test_soft_em_never_lowers_the_likelihood_of_200_circuits(**case: Any) -> None:
    check_never_lowers(**case)


@pytest.mark.parametrize("family", ["bernoulli", "binomial", "categorical", "normal"])
@pytest.mark.parametrize("product", ["cp", "tucker"])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_step_equals_that_of_the_reference(family, product, classes) -> None:
    circuit = circuit_of(
        family, 3, classes, leaf={"dtype": "float64"}, sum_product=product
    )
    x = data_of(family, 12)
    rng = np.random.default_rng(0)
    observed = rng.random(x.shape) < 0.8
    weights = rng.gamma(1.0, size=12)
    want = evaluate.em_step(expand(circuit), x, observed, weights)
    expectations = e_step(circuit, x, observed, weights=weights)
    step(circuit, expectations, pseudocount=0.0)
    have = expand(circuit)
    assert len(sums_of(want)) == len(sums_of(have)) > 0
    for a, b in zip(sums_of(want), sums_of(have), strict=True):
        np.testing.assert_allclose(b.weights, a.weights, atol=1e-9)
    for a, b in zip(leaves_of(want), leaves_of(have), strict=True):
        value = x[0, a.variable]
        want_log_prob = a.family.log_prob(value)
        if want_log_prob > -20:
            have_log_prob = b.family.log_prob(value)
            np.testing.assert_allclose(have_log_prob, want_log_prob, atol=1e-6)


def test_labels_choose_the_class() -> None:
    circuit = circuit_of("bernoulli", num_classes=2, leaf={"dtype": "float64"})
    x = data_of("bernoulli", 10)
    labels = np.arange(10) % 3 % 2
    expectations = e_step(circuit, x, labels=labels)
    np.testing.assert_allclose(
        expectations["sums"]["prior"], np.bincount(labels, minlength=2)
    )
    joint = circuit(x).numpy()[np.arange(10), labels].sum()
    np.testing.assert_allclose(float(expectations["log_likelihood"]), joint)


def test_a_weight_of_two_is_a_copy() -> None:
    circuit = circuit_of("normal", leaf={"dtype": "float64"})
    x = data_of("normal", 5)
    once = e_step(circuit, np.concatenate([x, x[2:3]]))
    twice = e_step(circuit, x, weights=np.array([1.0, 1, 2, 1, 1]))
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), once, twice
    )


def test_impossible_examples_count_nothing() -> None:
    circuit = circuit_of("bernoulli")
    x = np.array([[0, 1, 1, 0], [0, 7, 1, 0], [1, 1, 1, 0]])
    with_it, without = e_step(circuit, x), e_step(circuit, x[[0, 2]])
    assert float(with_it["log_likelihood"]) == -np.inf
    for part in ("sums", "leaf"):
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            with_it[part],
            without[part],
        )
    no_weight = e_step(circuit, x, weights=np.array([1.0, 0.0, 1.0]))
    assert np.isfinite(float(no_weight["log_likelihood"]))


def test_an_impossible_dead_end_keeps_its_parameters_bit_for_bit() -> None:
    circuit = circuit_of("indicator")
    x = np.ones([6, NUM_VARIABLES], int)
    expectations = e_step(circuit, x, np.zeros([6, NUM_VARIABLES], bool))
    nothing = tf.nest.map_structure(tf.zeros_like, expectations)
    before = values_of(circuit)
    step(circuit, nothing)
    assert_same(before, values_of(circuit))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_count_keeps_parameters_bit_for_bit(family) -> None:
    circuit = circuit_of(family, num_classes=2)
    before = values_of(circuit)
    step(circuit, e_step(circuit, data_of(family), weights=np.zeros(40)))
    assert_same(before, values_of(circuit))


def test_step_size_and_pseudocount_interpolate() -> None:
    circuit = circuit_of("bernoulli", leaf={"dtype": "float64"})
    expectations = e_step(circuit, data_of("bernoulli"))
    params = circuit.live_params()
    name = "sums_0"
    old = np.exp(params[name].numpy())
    count = expectations["sums"][name].numpy()
    target = (count + 3 / count.shape[-2]) / (count.sum(-2, keepdims=True) + 3)
    new = maximize(circuit.program, params, expectations, 0.25, 3.0)
    np.testing.assert_allclose(np.exp(new[name]), 0.75 * old + 0.25 * target)


def test_frozen_layers_keep_their_parameters() -> None:
    circuit = circuit_of("bernoulli")
    circuit.leaf.trainable = False
    before = values_of(circuit)
    em = ExpectationMaximization(circuit)
    em.epoch(Batches(circuit.program, Data(data_of("bernoulli")), 16)())
    after = values_of(circuit)
    np.testing.assert_array_equal(before["leaf_logits"], after["leaf_logits"])
    assert np.any(before["sums_0"] != after["sums_0"])


@pytest.mark.parametrize("rule", HARD_RULES)
@pytest.mark.parametrize("classes", [1, 2])
def test_hard_em_counts_whole_examples(rule, classes) -> None:
    circuit = circuit_of("categorical", num_classes=classes, sum_op=rule())
    x = data_of("categorical")
    expectations = e_step(circuit, x)
    for name, count in expectations["sums"].items():
        count = count.numpy()
        np.testing.assert_array_equal(count, np.round(count), err_msg=name)
    root = expectations["sums"][circuit.program.sum_specs[-1].parameter].numpy()
    assert root.sum() == len(x)
    em = ExpectationMaximization(circuit)
    batches = Batches(circuit.program, Data(x), 16)
    first = em.epoch(batches())
    for _ in range(4):
        last = em.epoch(batches())
    assert last > first


@pytest.mark.compiled
@pytest.mark.parametrize(
    "family", ["normal", pytest.param("categorical", marks=pytest.mark.slow)]
)
def test_batches_of_any_size_give_the_same_step(family) -> None:
    results = []
    for batch_size in (7, 16, 40):
        clear_traces()
        circuit = circuit_of(family)
        em = ExpectationMaximization(circuit)
        em.epoch(Batches(circuit.program, Data(data_of(family)), batch_size)())
        results.append(values_of(circuit))
        assert num_traces(circuit) == 2 + (batch_size < 40)  # E- and M-step; sums
    for other in results[1:]:
        for name, value in results[0].items():
            np.testing.assert_allclose(other[name], value, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "family", ["bernoulli", pytest.param("cauchy", marks=pytest.mark.slow)]
)
def test_xla_and_graph_agree_with_eager(family) -> None:
    circuit = circuit_of(family, num_classes=2)
    x = data_of(family)
    eager = e_step(circuit, x)
    for jit_compile in (None, True):
        em = ExpectationMaximization(circuit, jit_compile=jit_compile)
        [batch] = Batches(circuit.program, Data(x), 40)()
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5),
            em.replicas.run(PLAIN, batch),
            tf.nest.map_structure(lambda v: tf.cast(v, tf.float64), eager),
        )


def test_an_exhausted_iterator_is_an_error() -> None:
    circuit = circuit_of()
    with pytest.raises(ValueError, match="no batches, expected at least one"):
        ExpectationMaximization(circuit).epoch([])
