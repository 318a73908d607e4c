"""Cutset networks, random partitions, and the Chow-Liu trees that they end in."""

import itertools
import math

import numpy as np
import pytest

from tests.structure.structure_cases import (
    check_parameters,
    check_table,
    dependent_rows,
    gain_over_independent_columns,
    mixed_rows,
)
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import fit
from tfp_spn.region_graphs import chow_liu_tree
from tfp_spn.structure import (
    chow_liu_trees,
    cutset_network,
    random_partition_circuit,
)
from tfp_spn.structure.dirichlet_score import dirichlet_score

LEARNERS = {
    "cutset": cutset_network,
    "trees": lambda x, **kw: chow_liu_trees(x, 3, **kw),
    "random": lambda x, **kw: random_partition_circuit(
        x, num_literals=1, min_rows=200, num_members=2, **kw
    ),
}


def test_score_is_the_likelihood_of_one_row_after_another():
    counts, total, seen = [3, 0, 2], 0.0, [0, 0, 0]
    for state in [0, 0, 2, 0, 2]:
        total += math.log((seen[state] + 0.3) / (sum(seen) + 0.9))
        seen[state] += 1
    np.testing.assert_allclose(dirichlet_score(counts, 0.3), total)
    both = dirichlet_score([counts, counts], 0.3)
    np.testing.assert_allclose(both, 2 * total)


def test_one_tree_is_the_formula():
    """Of three states, against products of tables."""
    x, alpha = dependent_rows(300, num_states=3), 0.5
    circuit = chow_liu_trees(x, alpha=alpha)
    cut = cutset_network(x, max_depth=0, alpha=alpha)
    assert cut.region_graph == circuit.region_graph
    parents = chow_liu_tree(x, alpha=alpha)
    states = np.array(list(itertools.product(range(3), repeat=4)))
    expected = np.ones(len(states))
    for v, parent in enumerate(parents):
        above = x[:, parent] if parent >= 0 else np.zeros(300, int)
        at = states[:, parent] if parent >= 0 else np.zeros(81, int)
        counts = np.zeros([3 if parent >= 0 else 1, 3])
        np.add.at(counts, (above, x[:, v]), 1)
        table = (counts + alpha) / (counts + alpha).sum(1, keepdims=True)
        expected *= table[at, states[:, v]]
    np.testing.assert_allclose(check_table(circuit, 3), expected, rtol=1e-4, atol=1e-8)


def test_mixtures_of_trees_learn_on():
    """Of two groups; EM with no pseudocount leaves trees of observed variables."""
    rng = np.random.default_rng(0)
    x = dependent_rows(400)
    x[200:, :2] = 1 - x[200:, 2:]  # and then nothing of these
    x[200:, 2:] = rng.integers(0, 2, [200, 2])
    single = gain_over_independent_columns(chow_liu_trees(x), x)
    circuit = chow_liu_trees(x, 2)
    weights = circuit.leaf.parameters["logits"].numpy()
    history = fit(circuit, x, epochs=20, pseudocount=0.0, tolerance=1e-4, verbose=False)
    assert np.all(np.diff(history.log_likelihood) > -1e-5)
    assert gain_over_independent_columns(circuit, x) > single + 0.01
    impossible = np.isinf(weights)  # of inner variables, whose states are told apart
    logits = circuit.leaf.parameters["logits"].numpy()
    assert 0 < np.exp(logits - logits.max(-2, keepdims=True))[impossible].max() < 1e-6
    table = check_table(circuit)
    spn = SumProductNetwork(circuit)
    given = spn.condition([1, 0, 0, 0], observed=[True, False, False, False])
    cube = table.reshape([2] * 4)
    expected = cube[1].sum((1, 2)) / cube[1].sum()
    np.testing.assert_allclose(given.mean()[1], expected[1], rtol=1e-4)
    mode = spn.mode().numpy()
    assert table[int("".join(map(str, mode.astype(int))), 2)] >= 0.5 * table.max()


def test_splits_see_what_no_tree_can():
    x = np.random.default_rng(0).integers(0, 2, [500, 4])
    x[:, 3] = x[:, 0] ^ x[:, 1]
    circuit = cutset_network(x)
    assert gain_over_independent_columns(circuit, x) > math.log(2) - 0.05
    check_table(circuit)


def test_union_of_random_partitions():
    x = dependent_rows(600)
    circuit = LEARNERS["random"](x)
    check_table(circuit)
    # A chain of copies has 3 (log 2 - H(0.9)) = 1.10 nats of dependence.
    assert gain_over_independent_columns(circuit, dependent_rows(600, seed=1)) > 0.9


def test_mixed_columns_with_missing_cells():
    x, missing = mixed_rows(400)
    for learn in LEARNERS.values():
        # The group is one bit, which three of the columns tell.
        assert gain_over_independent_columns(learn(missing), x) > 0.7


@pytest.mark.parametrize("name", LEARNERS)
def test_degenerate_tables(name):
    for x in (
        np.zeros([1, 3]),
        np.ones([200, 2]),
        np.full([5, 2], np.nan),
        np.repeat(np.arange(2.0), 200).reshape(-1, 1),
        np.repeat(np.random.default_rng(0).normal(size=[200, 1]), 3, axis=1),
        np.random.default_rng(0).integers(0, 3, [3, 8]),
        np.random.default_rng(0).normal(size=[30, 1]),
    ):
        check_parameters(LEARNERS[name](x))


def test_errors():
    with pytest.raises(ValueError, match="`alpha` must be a finite number above 0"):
        cutset_network(np.zeros([2, 2]), alpha=0)
