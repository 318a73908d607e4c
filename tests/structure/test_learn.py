"""`learn` on small tables, with the seconds that its parts need replaced."""

import numpy as np
import pytest

from tests.structure.structure_cases import dependent_rows, mixed_rows
from tfp_spn import structure
from tfp_spn.structure import Report, Trial, candidates, learn


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
    monkeypatch.setattr(candidates, "_MAX_EPOCHS", 2)
    monkeypatch.setattr(candidates, "_POINTS_BY_COLUMNS", 64)
    x = dependent_rows(300)
    spn = learn(x, time_budget=40, verbose=False)
    names = [t.name for t in spn.report.trials]
    assert names == [
        "independent columns",
        "hidden Chow-Liu trees",
        "continuous mixture",
    ]
    best = max(spn.report.trials, key=lambda trial: trial.validation)
    assert spn.report.best == best
    assert best.name != "independent columns"
    for trial in spn.report.trials:  # the code is complete
        compile(trial.code, trial.name, "exec")
    code = spn.report.trials[1].code
    names = {"x": x, "observed": None, "validation_data": x}
    exec(code, names)
    assert names["circuit"].region_graph.num_variables == 4


def test_errors_and_degenerate_tables():
    with pytest.raises(ValueError, match="`time_budget` must be .* above 0"):
        learn(np.zeros([2, 2]), time_budget=0)
    for x in (np.zeros([1, 2]), np.full([3, 2], np.nan), np.ones([30, 1])):
        assert np.isfinite(learn(x, verbose=False).log_prob(np.nan_to_num(x))).all()
