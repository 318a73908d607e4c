"""`learn`: from a table to a distribution in one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfp_spn._arguments import LARGEST_SIZE, a_flag, a_rate, a_seed, reads
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.structure.candidates import (
    Learned,
    continuous_mixtures,
    hidden_chow_liu_tree,
    hidden_chow_liu_trees,
    independent_columns,
    learned_spn,
)
from tfp_spn.structure.columns import Columns, Kind
from tfp_spn.structure.script import Script
from tfp_spn.structure.timed_fit import Task
from tfp_spn.structure.validation_rows import ValidationData, split_table

_BLOCK = 1000
_MIN_SECONDS = 5.0
"""A candidate that has less is not tried."""

_SECONDS_OF_LEARN_SPN = 300.0
"""LearnSPN, which nothing interrupts, is tried if there are so many altogether."""

_FOR_THE_CIRCUIT = 0.2
"""Part of the time for building and judging circuits."""


@dataclass(frozen=True)
class Trial:
    """One model that was tried.

    Attributes:
        name: What it is.
        validation: Validation log-likelihood, in nats per row.
        seconds: That it took.
        curve: Validation log-likelihoods on the way.
        code: Python that learns it again.
    """

    name: str
    validation: float
    seconds: float
    curve: tuple[float, ...]
    code: str


@dataclass(frozen=True)
class Report:
    """What `learn` did.

    Attributes:
        kinds: What the columns were taken for.
        trials: All models, in the order in which they were tried.
        best: The one that was chosen.
    """

    kinds: tuple[Kind, ...]
    trials: tuple[Trial, ...]
    best: Trial

    def __str__(self) -> str:
        """One line for each trial, and the code of the best."""
        lines = [
            f"{t.name:24s} validation {t.validation:10.3f}  {t.seconds:6.1f} s"
            for t in self.trials
        ]
        return "\n".join([*lines, f"chosen: {self.best.name}", self.best.code])


@reads(time_budget=a_rate(above=0), seed=a_seed(most=LARGEST_SIZE), verbose=a_flag())
def learn(
    x: npt.ArrayLike,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    validation_data: ValidationData = None,
    kinds: Sequence[Kind] | None = None,
    time_budget: float = 120.0,
    seed: int = 0,
    verbose: bool = True,
) -> SumProductNetwork:
    """Learns the best model that a table and some seconds allow.

    Looks at the columns, tries models that suit them one after another, each within a
    part of the time, and takes the one of highest validation likelihood: independent
    columns; a hidden Chow-Liu tree of many states, which begins with clusters (with
    scikit-learn); a continuous mixture of Chow-Liu trees, of several networks if there
    is time; where columns are not categorical also a mixture of several hidden Chow-Liu
    trees, and LearnSPN if there are minutes. Where many rows are copies, they are
    counted (`distinct_rows`).

    Args:
        x: ``[N, V]``: an array or DataFrame of categories (integers from 0 to 31),
            counts and reals. NaN means missing.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        validation_data: Held-out rows like `x`, by which models are chosen; or a dict
            of them with keys ``x``, ``observed``, ``sample_weight``. Default: a tenth
            of `x`; rows with reals that are copies of each other stay together.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        time_budget: Seconds for all of it, about: a step that has begun is not cut.
            Models for which there is no time are left out; independent columns are
            always there.
        seed: Of all that is drawn.
        verbose: Whether to show progress. An interruption (Ctrl-C) ends the search; the
            best so far is returned.

    Returns:
        The distribution. Its attribute ``report`` says what was tried, with curves, and
        has the code of the best: ``print(learn(x).report)``.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or `time_budget` is not positive.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.random.default_rng(0).integers(0, 2, [200, 3])
        >>> spn = tfp_spn.structure.learn(x, time_budget=1, verbose=False)
        >>> spn.event_shape, spn.report.best.name
        (TensorShape([3]), 'independent columns')
    """
    ends = time.perf_counter() + time_budget
    given: dict[str, Any] = {
        "observed": observed,
        "sample_weight": sample_weight,
        "validation_data": validation_data,
        "kinds": kinds,
    }
    given = {name: value for name, value in given.items() if value is not None}
    script = Script(x=x, **given)
    train, valid = script.let("train, valid", split_table, x, **given, seed=seed)
    trials: list[Trial] = []
    best: tuple[Trial, Learned] | None = None
    candidates = _candidates_for(train, time_budget)
    total = sum(share for _, share, _ in candidates)
    bar = tqdm(candidates, disable=not verbose, leave=False)
    try:
        for name, share, candidate in bar:
            bar.set_description(name)
            left = ends - _FOR_THE_CIRCUIT * time_budget - time.perf_counter()
            seconds = left * share / total if share else left
            total -= share
            if share and seconds < _MIN_SECONDS:
                continue
            start = time.perf_counter()
            task = Task(script.copy(), train, valid, seconds, start + seconds, seed)
            try:
                learned = candidate(task)
            except Exception as error:
                if best is None:
                    raise
                warnings.warn(f"learn: {name} left out: {error}", stacklevel=4)
                continue
            value, is_interrupted = _judged(learned, valid)
            taken = time.perf_counter() - start
            trial = Trial(name, value, taken, learned.curve, learned.code)
            trials.append(trial)
            if best is None or value > best[0].validation:
                best = trial, learned
            if is_interrupted:
                break
    except KeyboardInterrupt:
        if best is None:
            raise
    if best is None:  # independent columns are always tried
        raise ValueError("learn: no model could be learned. Check the data.")
    spn = SumProductNetwork(best[1].circuit())
    spn.report = Report(train.kinds, tuple(trials), best[0])
    return spn


Candidate = Callable[[Task], Learned]


def _candidates_for(
    columns: Columns, time_budget: float
) -> list[tuple[str, float, Candidate]]:
    """Names and shares of time of the models for a table; 0 takes none."""
    found: list[tuple[str, float, Candidate]] = [
        ("independent columns", 0.0, independent_columns)
    ]
    if columns.num_variables > 1 and columns.weights.sum() > 20:
        found.append(("hidden Chow-Liu tree", 1.0, hidden_chow_liu_tree))
        if not columns.is_categorical:
            found.append(("hidden Chow-Liu trees", 1.0, hidden_chow_liu_trees))
        found.append(("continuous mixture", 2.0, continuous_mixtures))
        if not columns.is_categorical and time_budget >= _SECONDS_OF_LEARN_SPN:
            found.append(("LearnSPN", 0.5, learned_spn))
    return found


def _judged(learned: Learned, valid: Columns) -> tuple[float, bool]:
    """Validation log-likelihood, and whether the search was interrupted (Ctrl-C)."""
    if learned.validation is not None:
        return learned.validation, learned.is_interrupted
    try:
        return _validation(learned.circuit(), valid), learned.is_interrupted
    except KeyboardInterrupt:
        if not learned.curve:
            raise
        return max(learned.curve), True


def _validation(circuit: RegionGraphCircuit, valid: Columns) -> float:
    """The log-likelihood of a circuit, in nats per row."""
    spn, total = SumProductNetwork(circuit), 0.0
    for start in range(0, len(valid.values), _BLOCK):
        rows = slice(start, start + _BLOCK)
        value = spn.log_prob(
            valid.values[rows].astype(np.float32), observed=valid.observed[rows]
        )
        total += float(valid.weights[rows] @ value.numpy().astype(np.float64))
    return float(total / valid.weights.sum())
