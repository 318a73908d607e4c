"""Circuits whose latent variables begin as clusters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.learning.learning_cases import (
    FAMILIES,
    assert_same,
    circuit_of,
    data_of,
    leaf_of,
    values_of,
)
from tests.learning.test_prune_and_grow import STATES, log_prob, mixed
from tfp_spn import layers, region_graphs
from tfp_spn.circuits import dynamic_from_circuit, from_region_graph, image_circuit
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import distill, distillation, fit, initialize_leaves

# Two kinds of rows, apart in every variable: whatever k-means draws, it finds them.
PATTERNS = np.array([[0, 0, 1, 1], [1, 1, 0, 0]], np.int32)
COUNTS = np.array([30, 10])
ROWS = np.repeat(PATTERNS, COUNTS, axis=0)


def tree(**leaf: Any) -> Any:
    """A chain of hidden variables of two states: 3 - 2 - 1 - 0."""
    graph = region_graphs.RegionGraph(
        [(0, 1, 2, 3), (0,), (1, 2, 3), (1,), (2, 3), (2,), (3,)],
        [(0, [1, 2]), (2, [3, 4]), (4, [5, 6])],
    )
    return from_region_graph(graph, leaf_of("bernoulli", **leaf), 2, leaf_sums=False)


def test_parameters_are_shares_of_clusters() -> None:
    """Against the formula: counts of two clusters, smoothed by one row."""
    circuit = tree()
    distill(circuit, ROWS)
    share = (COUNTS + 0.5) / (COUNTS.sum() + 1)
    stay = (COUNTS + 0.5) / (COUNTS + 1)  # the same cluster above and below
    states = []
    for z0, z1, z2 in np.ndindex(2, 2, 2):
        log_weight = np.log(share[z0])
        for above, below in [(z0, z1), (z1, z2)]:
            log_weight += np.log(np.where(above == below, stay[above], 1 - stay[above]))
        states.append((log_weight, [z0, z1, z2, z2]))
    on = PATTERNS * COUNTS[:, np.newaxis]
    probs = (on + 0.5) / (COUNTS[:, np.newaxis] + 1)
    total = np.full(len(STATES), -np.inf)
    for log_weight, z in states:
        p = probs[z, np.arange(4)]
        own = np.log(np.where(STATES == 1, p, 1 - p)).sum(-1)
        total = np.logaddexp(total, log_weight + own)
    np.testing.assert_allclose(log_prob(circuit)[:, 0], total, rtol=1e-5)


GRAPH = region_graphs.random_binary_trees(4, 2, 2, seed=0)
CASES = {
    **{family: lambda family=family: circuit_of(family) for family in FAMILIES},
    "cp-t": lambda: circuit_of(sum_product="cp-t", leaf_sums=False),
    "tucker": lambda: circuit_of(sum_product="tucker"),
    "tucker, classes": lambda: circuit_of(sum_product="tucker", num_classes=3),
    "per partition": lambda: circuit_of(leaf_sums="per-partition"),
    "components of leaves": lambda: circuit_of(leaf_sums=False),
    "other widths": lambda: circuit_of(num_components=5),
    "linear": lambda: circuit_of(logspace_accumulators=False),
    "mixed": mixed,
}


@pytest.mark.filterwarnings("ignore:.*still rising")
@pytest.mark.parametrize("name", CASES)
def test_the_start_is_better_than_that_of_leaves_alone(name: str) -> None:
    """On clusters, for circuits of every kind; and EM goes on from it."""
    circuit = CASES[name]()
    family = name if name in FAMILIES else "bernoulli"
    x = data_of(family, 200).astype(np.float32)
    if name == "mixed":
        x[:, [1, 3]] += data_of("normal", 200)[:, [1, 3]]
    initialize_leaves(circuit, x)
    spn = SumProductNetwork(circuit)
    before = spn.log_prob(x).numpy().mean()
    distill(circuit, x)
    found = spn.log_prob(x).numpy()
    assert np.all(np.isfinite(found))
    assert found.mean() > before - 1e-6
    history = fit(circuit, x, epochs=2, verbose=False)
    assert history.log_likelihood[0] == pytest.approx(found.mean(), rel=1e-3)
    assert history.log_likelihood[1] >= history.log_likelihood[0] - 1e-4
    if family == "bernoulli" and name != "mixed":
        assert spn.prob(STATES).numpy().sum() == pytest.approx(1, rel=1e-5)


def test_weights_are_repeated_rows() -> None:
    weighted, repeated = tree(), tree()
    distill(repeated, ROWS)
    distill(weighted, PATTERNS, sample_weight=COUNTS.astype(np.float64))
    np.testing.assert_allclose(log_prob(weighted), log_prob(repeated), rtol=1e-5)


def test_missing_values_say_nothing() -> None:
    """What stands where nothing was observed makes no difference."""
    observed = np.random.default_rng(0).random(ROWS.shape) < 0.7
    values = []
    for filling in (0, 1):
        circuit = tree()
        distill(circuit, np.where(observed, ROWS, filling), observed=observed)
        values.append(values_of(circuit))
    assert_same(*values)


def test_classes_are_states_of_the_root() -> None:
    labels = np.repeat([0, 1], COUNTS)
    circuit = circuit_of(num_classes=2)
    distill(circuit, ROWS, labels=labels)
    joint = log_prob(circuit, PATTERNS)
    np.testing.assert_array_equal(joint.argmax(-1), [0, 1])
    other = circuit_of(num_classes=2)
    distill(other, ROWS, labels=1 - labels)
    np.testing.assert_array_equal(log_prob(other, PATTERNS).argmax(-1), [1, 0])


def test_images_and_their_channels() -> None:
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 2, [100, 1, 1, 1])
    x = rng.normal(3.0 * cluster, 0.5, [100, 4, 4, 2]).astype(np.float32)
    circuit = image_circuit(
        (4, 4), "quad-graph", layers.NormalLeaf(2), num_sum_units=2, channels=2
    )
    x = x.reshape(100, 16, 2)
    initialize_leaves(circuit, x)
    before = log_prob(circuit, x).mean()
    distill(circuit, x, max_rows=50)
    assert log_prob(circuit, x).mean() > before


def test_a_seed_says_everything_and_frozen_parameters_stay() -> None:
    x = data_of("categorical", 60)
    values = []
    for global_seed in (0, 1):
        circuit = circuit_of("categorical", seed=global_seed, graph=GRAPH)
        distill(circuit, x, max_rows=40, seed=3)
        values.append(values_of(circuit))
    assert_same(*values)
    circuit = circuit_of("categorical", graph=GRAPH)
    circuit.leaf.trainable = False
    before = values_of(circuit)
    distill(circuit, x)
    after = values_of(circuit)
    changed = {name for name in after if np.any(after[name] != before[name])}
    assert changed
    assert not any(name.startswith("leaf") for name in changed)


def test_weights_are_repeated_rows_that_are_too_many() -> None:
    """Rows are drawn by weight: of three draws none is of weight zero."""
    circuit = circuit_of(graph=GRAPH)
    weight = np.zeros(len(ROWS))
    weight[[0, -1]] = 1e3
    distill(circuit, ROWS, sample_weight=weight, max_rows=3)
    probs = SumProductNetwork(circuit).prob(PATTERNS).numpy()
    assert np.all(probs > 0.4)


def test_nothing_is_known_of_a_variable_or_of_all() -> None:
    observed = np.ones(ROWS.shape, bool)
    observed[:, 2:] = False
    for known in (observed, np.zeros(ROWS.shape, bool)):
        circuit = circuit_of(sum_product="tucker")
        distill(circuit, ROWS, observed=known)
        total = SumProductNetwork(circuit).prob(STATES).numpy().sum()
        assert total == pytest.approx(1, rel=1e-5)


def test_one_frozen_parameter_and_pruned_edges_stay() -> None:
    circuit = circuit_of("normal", graph=GRAPH)
    scale = circuit.leaf.parameters["scale"]
    scale.assign(np.full(scale.shape, 7.0))
    scale.trainable = False
    distill(circuit, data_of("normal"))
    np.testing.assert_array_equal(scale.numpy(), 7.0)
    circuit = circuit_of(graph=GRAPH)
    variable = circuit.sums[0].accumulators
    value = variable.numpy()
    value[:, 0] = -np.inf
    variable.assign(value)
    distill(circuit, data_of("bernoulli"))
    np.testing.assert_array_equal(np.isneginf(variable.numpy()), np.isneginf(value))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ImportError])
def test_parameters_are_as_before_an_error(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    name = "import_cluster" if error is ImportError else "cluster_labels"
    monkeypatch.setattr(distillation, name, failing)
    circuit = circuit_of(graph=GRAPH)
    before = values_of(circuit)
    with pytest.raises(error):
        distill(circuit, ROWS)
    assert_same(before, values_of(circuit))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"labels.*received.*expected"):
        distill(circuit_of(num_classes=2), ROWS, labels=np.full(len(ROWS), 2))
    with pytest.raises(ValueError, match=re.escape("received shape (40, 3)")):
        distill(circuit_of(), ROWS[:, :3])
    with pytest.raises(TypeError, match="distill: units are those of a region graph"):
        distill(dynamic_from_circuit(circuit_of(num_classes=2), 3), ROWS)
