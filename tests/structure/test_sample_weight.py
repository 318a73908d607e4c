"""Rows with weights are rows that are repeated."""

import keras
import numpy as np
import pytest

from tests.structure.structure_cases import dependent_rows, mixed_rows, task_of
from tfp_spn import structure
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.structure import candidates, timed_fit
from tfp_spn.structure.columns import read_columns
from tfp_spn.structure.validation_rows import split_rows


def tables():
    """Categories, and columns of all kinds; weights of both."""
    rng = np.random.default_rng(0)
    for x in (dependent_rows(300, num_states=3), mixed_rows(300)[0]):
        weight = rng.integers(0, 4, len(x))
        weight[:3] = [0, 1, 3]
        yield x, weight


def check_equal(first, second):
    assert first.region_graph == second.region_graph
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


LEARNERS = {
    "chow_liu_trees": {},
    "cutset_network": {"min_rows": 100},
    "random_partition_circuit": {"num_literals": 1, "min_rows": 60},
    "learn_spn": {"min_rows": 10_000, "leaf": "chow_liu"},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_learners(name):
    learner, arguments = getattr(structure, name), LEARNERS[name]
    for x, weight in tables():
        repeated = learner(np.repeat(x, weight, axis=0), **arguments)
        weighted = learner(x, sample_weight=weight, **arguments)
        check_equal(repeated, weighted)
        unlike = learner(x, **arguments)  # weights matter
        assert unlike.region_graph != weighted.region_graph or not all(
            np.allclose(one, other, rtol=1e-3)
            for one, other in zip(unlike.weights, weighted.weights, strict=True)
        )


def test_tests_of_independence_and_clusters():
    """Two groups that any centres find, of four columns, one of which is alone."""
    x, weight = list(tables())[1]
    settings = {"min_rows": 0.8 * weight.sum()}
    settings["min_rows"] = int(settings["min_rows"])
    repeated = structure.learn_spn(np.repeat(x, weight, axis=0), **settings)
    weighted = structure.learn_spn(x, sample_weight=weight, **settings)
    assert len(weighted.region_graph.partitions[0][0]) == 2
    one, other = (SumProductNetwork(c).log_prob(x[:50]) for c in (repeated, weighted))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_continuous_mixture():
    for x, weight in tables():
        settings = {
            "num_points": 4,
            "num_layers": 2,
            "batch_size": 2000,  # all rows
            "epochs": 2,
            "point_epochs": 2,
        }
        repeated = structure.continuous_mixture(
            np.repeat(x, weight, axis=0),
            validation_data=np.repeat(x[:40], weight[:40], axis=0),
            **settings,
        )
        weighted = structure.continuous_mixture(
            x,
            sample_weight=weight,
            validation_data={"x": x[:40], "sample_weight": weight[:40]},
            **settings,
        )
        np.testing.assert_allclose(repeated.history, weighted.history, rtol=1e-4)


def test_learn(monkeypatch):
    """Less than one batch of rows: each epoch sees the same, from the same start."""
    monkeypatch.setattr(timed_fit, "_MAX_EPOCHS", 1)
    x = dependent_rows(30)
    weight = np.random.default_rng(0).integers(0, 4, 30)
    held_out = {"x": x, "sample_weight": weight}
    repeated = np.repeat(x, weight, axis=0)
    reports, trains, log_probs = [], [], []
    for own, table, weights in ((repeated, repeated, None), (x, held_out, weight)):
        arguments = {"sample_weight": weights, "validation_data": table}
        spn = structure.learn(own, time_budget=0.5, verbose=False, **arguments)
        reports.append(spn.report.best.validation)
        given = {k: v for k, v in arguments.items() if v is not None}
        task = task_of(own, 20.0, **given)
        keras.utils.set_random_seed(0)
        found = candidates.hidden_chow_liu_tree(task)
        trains.append(task.train)
        log_probs.append(found.circuit()(x))
    np.testing.assert_allclose(*reports, rtol=1e-5)
    np.testing.assert_allclose(*log_probs, rtol=1e-3)
    np.testing.assert_array_equal(trains[0].weights, trains[1].weights)  # of copies
    assert trains[0].is_weighted
    assert "sample_weight=sample_weight" in found.code


def test_rows_to_judge_by():
    x, weight = dependent_rows(1000), np.full(1000, 10.0)
    for own in (None, weight):
        parts = split_rows(read_columns(x, None, "test", None, own), None, "test", 0)
        total = sum(part.weights.sum() for part in parts)
        np.testing.assert_allclose(parts[1].weights.sum() / total, 0.1, rtol=1e-9)
    assert len(parts[0].weights) == 1000  # of ten copies of a row some are on each side
    # Copies of rows of reals stay together.
    x = np.repeat(np.random.default_rng(0).normal(size=[50, 2]), 4, axis=0)
    train, valid = split_rows(read_columns(x, None, "test"), None, "test", 0)
    assert len(np.unique(train.values, axis=0)) == 45
    assert len(np.unique(valid.values, axis=0)) == 5
    assert not set(train.values[:, 0]) & set(valid.values[:, 0])


def test_errors():
    x = dependent_rows(20)
    for name in ("learn", "continuous_mixture", *LEARNERS):
        learner = getattr(structure, name)
        with pytest.raises(ValueError, match="`sample_weight` must have the shape"):
            learner(x, sample_weight=np.ones(3))
        with pytest.raises(
            ValueError, match="`sample_weight` must be finite, at least"
        ):
            learner(x, sample_weight=-np.ones(20))
    with pytest.raises(ValueError, match="validation_data with keys"):
        structure.learn(x, validation_data={"y": x})
