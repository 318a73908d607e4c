"""`learn` on small tables, with the seconds that its parts need replaced."""

import functools
import sys

import numpy as np
import pytest
from scipy import stats

from tests.structure.structure_cases import dependent_rows, mixed_rows, task_of
from tfp_spn import learning, structure
from tfp_spn.structure import Report, Trial, candidates, learn, timed_fit
from tfp_spn.structure.columns import read_columns
from tfp_spn.structure.continuous_ensemble import Member, learn_members
from tfp_spn.structure.continuous_learner import ContinuousLearner

learn_module = sys.modules["tfp_spn.structure.learn"]


def test_too_little_time_gives_independent_columns():
    x, missing = mixed_rows(300)
    spn = learn(missing, time_budget=0.5, verbose=False)
    assert isinstance(spn.report, Report)
    assert [t.name for t in spn.report.trials] == ["independent columns"]
    assert isinstance(spn.report.best, Trial)
    assert np.isfinite(spn.log_prob(x)).all()
    known = missing[:, 1][~np.isnan(missing[:, 1])]
    np.testing.assert_allclose(spn.mean()[1], known.mean(), rtol=0.1)
    assert "chosen: independent columns" in str(spn.report)
    assert structure.learn is learn


@pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still rising")
def test_the_best_is_chosen_by_validation(monkeypatch):
    monkeypatch.setattr(timed_fit, "_MAX_EPOCHS", 2)
    monkeypatch.setattr(candidates, "_POINTS_BY_COLUMNS", 64)
    monkeypatch.setattr(candidates, "_MAX_NETWORKS", 2)
    x = dependent_rows(300)
    spn = learn(x, time_budget=40, verbose=False)
    names = [t.name for t in spn.report.trials]
    assert names == [
        "independent columns",
        "hidden Chow-Liu tree",
        "continuous mixture",
    ]
    best = max(spn.report.trials, key=lambda trial: trial.validation)
    assert spn.report.best == best
    assert best.name != "independent columns"
    for trial in spn.report.trials:  # the code is complete
        compile(trial.code, trial.name, "exec")


@pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still rising")
@pytest.mark.parametrize("kind", ["bits", "categories", "counts", "reals", "mixed"])
def test_the_code_learns_the_same(monkeypatch, kind):
    """Tables of every kind, the last column of which is never seen."""
    monkeypatch.setattr(timed_fit, "_MAX_EPOCHS", 2)
    rng = np.random.default_rng(0)
    columns = {
        "bits": rng.integers(0, 2, [60, 2]),
        "categories": rng.integers(0, 3, [60, 2]),
        "counts": rng.poisson(40, [60, 2]),
        "reals": rng.normal(size=[60, 2]),
    }
    columns["mixed"] = np.concatenate([columns["categories"], columns["counts"]], 1)
    x = np.concatenate([columns[kind], np.full([60, 1], np.nan)], 1)
    others = x[:30].copy()
    others[:5, 0] = 9  # a category that is nowhere in x
    for given in ({}, {"validation_data": others, "observed": x < 50}):
        task = task_of(x, 30.0, **given)
        found = candidates.hidden_chow_liu_tree(task)
        names = {"x": x, **given}
        exec(found.code, names)
        one, other = (
            learn_module._validation(circuit, task.valid)
            for circuit in (found.circuit(), names["circuit"])
        )
        assert one == pytest.approx(other, rel=1e-6)
        assert max(map(len, found.code.split("\n"))) <= 88


@pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still rising")
def test_the_code_of_every_candidate_learns_the_same(monkeypatch):
    """Of the rows alone, those to judge by among them; time is not at stake."""
    monkeypatch.setattr(timed_fit, "_MAX_EPOCHS", 2)
    monkeypatch.setattr(candidates, "_POINTS_BY_COLUMNS", 64)
    monkeypatch.setattr(candidates, "_MAX_NETWORKS", 1)
    x = dependent_rows(100, num_states=3)
    x[7, 0] = 5  # in one row, wherever that is
    weight = np.random.default_rng(0).integers(1, 3, 100)
    for candidate in (
        candidates.independent_columns,
        candidates.hidden_chow_liu_trees,
        candidates.continuous_mixtures,
        candidates.learned_spn,
    ):
        task = task_of(x, 300.0, sample_weight=weight)
        found = candidate(task)
        names = {"x": x, "sample_weight": weight}
        exec(found.code, names)
        np.testing.assert_allclose(found.circuit()(x), names["circuit"](x), rtol=1e-5)


def test_a_candidate_that_fails_is_left_out(monkeypatch):
    def failing(*_):
        raise ValueError("no such luck")

    monkeypatch.setattr(learn_module, "hidden_chow_liu_tree", failing)
    monkeypatch.setattr(learn_module, "continuous_mixtures", failing)
    with pytest.warns(UserWarning, match="hidden Chow-Liu tree left out: no such luck"):
        spn = learn(dependent_rows(60), time_budget=40, verbose=False)
    assert [t.name for t in spn.report.trials] == ["independent columns"]


def test_errors_and_degenerate_tables():
    with pytest.raises(ValueError, match="`time_budget` must be .* above 0"):
        learn(np.zeros([2, 2]), time_budget=0)
    for x in (np.zeros([1, 2]), np.full([3, 2], np.nan), np.ones([30, 1])):
        assert np.isfinite(learn(x, verbose=False).log_prob(np.nan_to_num(x))).all()


def test_constants_and_columns_of_any_scale():
    """What the continuous mixture says of held-out rows is what its circuit says."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=[40, 4]) * [1e-9, 1e9, 1.0, 0.0] + [0.0, 0.0, 0.0, 3.7]
    columns = read_columns(x, None, "test")
    settings = {"num_points": 4, "num_layers": 2, "epochs": 1, "point_epochs": 1}
    mixture = structure.continuous_mixture(x, validation_data=x, **settings)
    judged = learn_module._validation(mixture.circuit(), columns)
    np.testing.assert_allclose(max(mixture.history), judged, rtol=1e-3)
    alone = candidates.independent_columns(task_of(x, 0.0, validation_data=x))
    judged = learn_module._validation(alone.circuit(), columns)
    # Of a constant there is the pseudocount alone: 0.1 of 40.1 rows.
    scale = np.append(columns.scale[:3], (0.1 / 40.1) ** 0.5)
    expected = stats.norm.logpdf(x, columns.center, scale).sum(1).mean()
    np.testing.assert_allclose(judged, expected, rtol=1e-3)


def test_nothing_is_known():
    x, nothing = np.ones([3, 2]), np.zeros([3, 2], bool)
    circuit = candidates.independent_columns(task_of(x, 0.0)).circuit()
    before = [v.numpy() for v in circuit.weights]
    learning.initialize_leaves(circuit, x, nothing)
    for one, other in zip(before, circuit.weights, strict=True):
        np.testing.assert_array_equal(one, other)


class Interrupting:
    """Interrupts the second time that it is called."""

    def __init__(self, function):
        self.function, self.count = function, 0
        functools.update_wrapper(self, function)

    def __call__(self, *args, **kwargs):
        self.count += 1
        if self.count == 2:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


def test_an_interruption_ends_the_search_with_the_best_so_far(monkeypatch):
    monkeypatch.setattr(timed_fit, "fit", Interrupting(timed_fit.fit))
    x = dependent_rows(300)
    spn = learn(x, time_budget=40, verbose=False)
    names = [t.name for t in spn.report.trials]
    assert names == ["independent columns", "hidden Chow-Liu tree"]
    assert spn.report.best.name == "hidden Chow-Liu tree"
    epoch = Interrupting(ContinuousLearner._epoch)
    monkeypatch.setattr(
        ContinuousLearner, "_epoch", lambda self, *args: epoch(self, *args)
    )
    settings = {"num_points": 4, "num_layers": 2}
    mixture = structure.continuous_mixture(x, **settings)
    assert mixture.is_interrupted
    assert len(mixture.history) == 1


def test_an_interruption_keeps_the_networks_that_are_finished():
    count = 0

    def learned(number, ends):
        nonlocal count
        count += 1
        if number == 1:
            raise KeyboardInterrupt
        return Member(None, None, None, np.zeros(3), (), False)

    [member] = learn_members(learned, 4, np.inf, 0.0, np.ones(3))
    assert member.is_interrupted
    assert count == 2


def test_a_network_that_adds_nothing_is_left_out():
    gains = iter([[0.0, -9.0], [-9.0, 0.0], [-9.0, -9.0], [0.0, 0.0]])

    def learned(number, ends):
        return Member(None, None, None, np.array(next(gains)), (), False)

    members = learn_members(learned, 4, np.inf, 1e-4, np.ones(2))
    np.testing.assert_array_equal([m.of_held_out for m in members], [[0, -9], [-9, 0]])


def test_numbers_need_many_states_and_few_rows_of_categories_few(monkeypatch):
    monkeypatch.setattr(timed_fit, "_MAX_EPOCHS", 0)
    rng = np.random.default_rng(0)
    numbers = task_of(rng.normal(size=[300, 3]), 5.0)
    names = [name for name, _, _ in learn_module._candidates_for(numbers.train, 100.0)]
    assert "hidden Chow-Liu trees" in names  # of fewer states, but several
    bits = task_of(dependent_rows(300), 5.0)
    names = [name for name, _, _ in learn_module._candidates_for(bits.train, 100.0)]
    assert "hidden Chow-Liu trees" not in names
    states = [
        candidates.hidden_chow_liu_tree(own).circuit().arguments
        for own in (numbers, bits)
    ]
    assert [own["num_sums"] for own in states] == [64, 16]
