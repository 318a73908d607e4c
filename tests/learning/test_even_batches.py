"""Weights of examples spread over batches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.learning_cases import circuit_of
from tfp_spn.learning.batches import Batches
from tfp_spn.learning.data_validation import Data
from tfp_spn.learning.even_batches import EvenBatches


@given(
    st.lists(st.sampled_from([0.0, 0.1, 1.0, 2.0, 50.0, 1e4]), min_size=1, max_size=60),
    st.integers(1, 12),
    st.booleans(),
)
def test_an_epoch_passes_every_weight_once(weights, batch_size, is_random):
    batches = EvenBatches(len(weights), batch_size, weights)
    rng = np.random.default_rng(0) if is_random else None
    passed, found = np.zeros(len(weights)), list(batches(rng))
    assert len(found) == batches.count
    for rows, weight in found:
        assert 1 <= len(rows) <= batch_size
        assert len(set(rows.tolist())) == len(rows)
        np.add.at(passed, rows, weight)
    np.testing.assert_allclose(passed, weights)
    assert len(found) <= 1 + 2 * len(weights) // batch_size
    if len(weights) > batch_size:  # what would rule a batch is in all of them
        times = np.bincount(np.concatenate([rows for rows, _ in found]))
        heavy = np.asarray(weights) > np.sum(weights) / batch_size
        heaviest = np.argsort(-np.asarray(weights), kind="stable")[: batch_size // 2]
        assert (times[[row for row in heaviest if heavy[row]]] == len(found)).all()
        assert ((times == 1) | heavy).all()


def test_without_weights_it_is_a_permutation():
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    rows = [rows for rows, weight in EvenBatches(10, 4)(rng) if (weight == 1).all()]
    np.testing.assert_array_equal(np.concatenate(rows), same.permutation(10))
    assert [len(r) for r in rows] == [4, 4, 2]


def test_one_row_that_counts_a_thousand_times_is_in_every_batch():
    circuit = circuit_of("normal")
    x = np.arange(120.0).reshape(30, 4)
    weights = np.where(np.arange(30) == 7, 1000.0, 1.0)
    data = Data(x, None, None, weights)
    [whole] = Batches(circuit.program, data, 30)()
    np.testing.assert_array_equal(whole.weights, weights)
    as_they_are = list(Batches(circuit.program, data, 6)([0, 1]))
    assert sum(1000 in batch.weights.numpy() for batch in as_they_are) == 1
    batches = Batches(circuit.program, data, 6, is_even=True)
    assert batches.batches_per_epoch == 6
    for batch in batches([0, 1]):
        assert batch.x.shape == (6, 4)
        at = np.flatnonzero((batch.x == x[7]).numpy().all(axis=1))[0]
        np.testing.assert_allclose(batch.weights[at], 1000 / 6)
    stretch = list(batches.stretch(4, 5, seed=0))  # over the end of an epoch
    assert [float(b.weights[0]) for b in stretch] == [np.float32(1000 / 6)] * 5
    assert sum(len(chunk.x) for chunk in batches.in_order()) == 30
