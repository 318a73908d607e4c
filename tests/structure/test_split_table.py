"""Tables as `learn` reads them, which all that learns a structure takes."""

import numpy as np
import pytest

from tests.structure.structure_cases import dependent_rows
from tfp_spn import fit, structure
from tfp_spn.structure import Columns, split_table

LEARNERS = {
    "chow_liu_trees": {"num_trees": 1},
    "cutset_network": {"min_rows": 100},
    "random_partition_circuit": {"num_literals": 1, "min_rows": 60},
    "learn_spn": {"min_rows": 10_000},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_take_tables(name):
    """Of the values of the rows, but with the states of all of them."""
    x = dependent_rows(300, num_states=3)
    train, valid = split_table(x, seed=1)
    assert isinstance(train, Columns)
    learner = getattr(structure, name)
    circuit = learner(train, **LEARNERS[name])
    same = learner(
        train.values.astype(int), sample_weight=train.weights, **LEARNERS[name]
    )
    np.testing.assert_allclose(circuit(x), same(x), rtol=1e-5)
    with pytest.raises(ValueError, match="has its own. Leave them out"):
        learner(train, sample_weight=train.weights)
    fit(circuit, **train.data, validation_data=valid.data, epochs=1, verbose=False)
    assert np.isfinite(circuit(valid.data["x"])).all()


def test_rows_are_all_there_once():
    rng = np.random.default_rng(0)
    x = dependent_rows(200).astype(float)
    x[rng.random(x.shape) < 0.2] = np.nan
    for own in (x, x + rng.normal(size=x.shape)):
        train, valid = split_table(own)
        parts = [train.weights @ train.values, valid.weights @ valid.values]
        np.testing.assert_allclose(sum(parts), np.nansum(own, 0), rtol=1e-6)
        assert train.weights.sum() == 180
    assert split_table(x)[0].is_weighted
    assert "sample_weight" not in train.data


def test_categories_that_are_nowhere_in_the_table_are_missing():
    x = dependent_rows(50)
    others = x.copy()
    others[:4, 1] = 7
    train, valid = split_table(x, validation_data=others)
    np.testing.assert_array_equal(train.num_categories, 2)
    assert valid.weights[~valid.observed[:, 1]].sum() == 4
    assert valid.observed[:, [0, 2, 3]].all()
