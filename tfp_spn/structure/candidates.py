"""The models that `learn` tries, each within seconds of its own."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfp_spn._typing import Config
from tfp_spn.circuits import RegionGraphCircuit, assign_log_weights, from_region_graph
from tfp_spn.learning import History, fit
from tfp_spn.learning.even_batches import EvenBatches
from tfp_spn.learning.rounds import default_batch_size
from tfp_spn.region_graphs import RegionGraph, mixture_of_hidden_chow_liu_trees
from tfp_spn.region_graphs.mutual_information import DataType
from tfp_spn.structure.columns import Columns
from tfp_spn.structure.continuous_mixture import continuous_mixture
from tfp_spn.structure.leaf_estimates import (
    assign_leaves,
    estimate,
    leaf_code,
    leaf_layer,
)
from tfp_spn.structure.learn_spn import learn_spn

_STEP_SIZE = 0.3
_MAX_EPOCHS = 200
_UPDATES = 1500
_UPDATES_BY_SECOND = 50
"""Of online EM where there is time for more; each takes a part of that."""

_PREFACE = (
    "# x, validation_data: rows to learn from and to judge by\n"
    "# observed, sample_weight: of x, or None\n"
    "import keras\nimport tfp_spn\n"
    "x, observed, sample_weight = tfp_spn.structure.distinct_rows(\n"
    "    x, observed, sample_weight)\n"
    "held_out = tfp_spn.structure.distinct_rows(validation_data)\n"
    'validation_data = dict(zip(["x", "observed", "sample_weight"], held_out))\n'
)

_POINTS_BY_COLUMNS = 2**16
"""Points times columns of the network of a continuous mixture, in two minutes."""

_COMPONENTS_BY_COLUMNS = 2**19
_ROWS = 2**13
"""Of all its networks, and fewer from so many rows on: answers would take too long."""

_MAX_NETWORKS = 8

_MANY_ROWS = 4000
"""From so many on larger batches are as good, and a network is read less often."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What a candidate found.

    Attributes:
        circuit: Makes the circuit.
        curve: Validation log-likelihoods on the way, in nats per row.
        validation: That of the result, if it is known without the circuit.
        code: Python that learns it again from ``x``.
        is_interrupted: Whether learning was (Ctrl-C), with the best until then.
    """

    circuit: Callable[[], RegionGraphCircuit]
    curve: tuple[float, ...]
    validation: float | None
    code: str
    is_interrupted: bool = False


def independent_columns(
    train: Columns, valid: Columns, seconds: float, seed: int
) -> Learned:
    """Every column by itself: takes no time."""
    graph = RegionGraph([tuple(range(train.num_variables))], [])
    circuit = from_region_graph(graph, leaf_layer(train, 1), num_sums=1)
    assign_log_weights(circuit, {0: [[[0.0]]]})
    rows = np.arange(len(train.values))
    assign_leaves(circuit, lambda _, variable: estimate(train, variable, rows))
    code = (
        "circuit = tfp_spn.structure.learn_spn(\n"
        f"    x, observed=observed{_weight_code(train)},\n"
        f"    kinds={list(train.kinds)}, min_rows=2**31 - 1)"
    )
    return Learned(lambda: circuit, (), None, _PREFACE + code)


def hidden_chow_liu_trees(
    train: Columns, valid: Columns, seconds: float, seed: int
) -> Learned:
    """A mixture of hidden Chow-Liu trees, by online EM with a falling step."""
    num_trees = 4 if train.num_variables <= 200 else 1
    num_sums = 16 if train.weights.sum() >= 2000 else 8
    return _hidden_trees(train, valid, seconds, seed, num_trees, num_sums)


def wide_hidden_chow_liu_tree(
    train: Columns, valid: Columns, seconds: float, seed: int
) -> Learned:
    """One tree of many states.

    Numbers that depend on each other closely need them, and many rows can fill them.
    """
    num_sums = 64 if train.num_variables <= 128 else 32
    return _hidden_trees(train, valid, seconds, seed, 1, num_sums)


def _hidden_trees(
    train: Columns,
    valid: Columns,
    seconds: float,
    seed: int,
    num_trees: int,
    num_sums: int,
) -> Learned:
    start = time.perf_counter()
    num_bins = None if train.is_categorical else 8
    data_type: DataType = "discrete" if train.is_categorical else "auto"
    graph = mixture_of_hidden_chow_liu_trees(
        train.values.astype(np.int64) if train.is_categorical else train.values,
        num_trees,
        observed=train.observed,
        data_type=data_type,
        num_bins=num_bins,
        sample_weight=train.weights,
        seed=seed,
    )
    circuit = from_region_graph(
        graph, leaf_layer(train, num_sums), num_sums, leaf_sums=False
    )
    curve, em_code, is_interrupted = _online_em(
        circuit, train, valid, start + seconds, seed
    )
    code = (
        "graph = tfp_spn.region_graphs.mixture_of_hidden_chow_liu_trees(\n"
        f"    x, {num_trees}, observed=observed{_weight_code(train)},\n"
        f"    data_type={data_type!r}, num_bins={num_bins}, seed={seed})\n"
        f"leaf = {leaf_code(train, num_sums)}\n"
        "circuit = tfp_spn.circuits.from_region_graph(\n"
        f"    graph, leaf, {num_sums}, leaf_sums=False)\n"
        f"{em_code}"
    )
    return Learned(lambda: circuit, curve, None, _PREFACE + code, is_interrupted)


def continuous_mixtures(
    train: Columns, valid: Columns, seconds: float, seed: int
) -> Learned:
    """Continuous mixtures of Chow-Liu trees, or of independent columns.

    More time is first for more points, which a network needs; then for more networks.
    """
    exponent = math.log2(_POINTS_BY_COLUMNS / train.num_variables)
    exponent += 0.5 * max(0.0, math.log2(seconds / 60))
    num_points = 2 ** min(max(int(exponent), 6), 10)
    size = num_points * train.num_variables * max(1.0, train.weights.sum() / _ROWS)
    most = int(_COMPONENTS_BY_COLUMNS / size)
    has_many_rows = len(train.values) >= _MANY_ROWS
    settings = {
        "kinds": train.kinds,
        "num_points": num_points,
        "num_networks": min(max(most, 1), _MAX_NETWORKS),
        "batch_size": 256 if has_many_rows else 128,
        "learning_rate": 2e-3 if has_many_rows or not train.is_categorical else 1e-3,
        "patience": 6,
        "max_seconds": round(seconds),
        "seed": seed,
    }
    table: Any = train  # of categories, too, that are in held-out rows alone
    mixture = continuous_mixture(
        table,
        validation_data=_as_data(valid),
        **settings,
    )
    named = "".join(f"    {key}={value!r},\n" for key, value in settings.items())
    code = (
        "mixture = tfp_spn.structure.continuous_mixture(\n"
        f"    x, observed=observed{_weight_code(train)},\n"
        f"    validation_data=validation_data,\n{named})\n"
        "circuit = mixture.circuit()"
    )
    return Learned(
        mixture.circuit,
        mixture.history,
        mixture.validation,
        _PREFACE + code,
        mixture.is_interrupted,
    )


def learned_spn(train: Columns, valid: Columns, seconds: float, seed: int) -> Learned:
    """LearnSPN, and online EM over what it found."""
    start = time.perf_counter()
    min_rows = max(50, int(train.weights.sum() / 50))
    circuit = learn_spn(
        np.where(train.observed, train.values, np.nan),
        sample_weight=train.weights,
        kinds=train.kinds,
        min_rows=min_rows,
        seed=seed,
    )
    curve, em_code, is_interrupted = _online_em(
        circuit, train, valid, start + seconds, seed
    )
    code = (
        "circuit = tfp_spn.structure.learn_spn(\n"
        f"    x, observed=observed{_weight_code(train)}, kinds={list(train.kinds)},\n"
        f"    min_rows={min_rows}, seed={seed})\n"
        f"{em_code}"
    )
    return Learned(lambda: circuit, curve, None, _PREFACE + code, is_interrupted)


def _online_em(
    circuit: RegionGraphCircuit,
    train: Columns,
    valid: Columns,
    ends: float,
    seed: int,
) -> tuple[tuple[float, ...], str, bool]:
    """As many epochs as there is time for; the best parameters are kept.

    Returns:
        Validation log-likelihoods, the code, and whether it was interrupted.
    """
    batch_size = default_batch_size(train.values, False)
    num_updates = EvenBatches(len(train.values), batch_size, train.weights).count
    shared: Config = {
        "method": "online_em",
        "observed": train.observed,
        "sample_weight": train.weights if train.is_weighted else None,
        "validation_data": _as_data(valid),
        "batch_size": batch_size,
        "pseudocount": 0.05,
        "patience": 10,
        "seed": seed,
        "verbose": False,
        "callbacks": [_Deadline(ends)],
    }
    curve: list[float] = []
    epochs, is_interrupted = 0, False
    try:
        start = time.perf_counter()
        for _ in range(2):  # what is compiled at first takes no time in the second
            start = time.perf_counter()
            history = _fit(
                circuit, _values(train), epochs=1, step_size=_STEP_SIZE, **shared
            )
            curve += history.validation_log_likelihood
        of_epoch = time.perf_counter() - start
        left = ends - time.perf_counter()
        updates = max(_UPDATES, int(_UPDATES_BY_SECOND * left))
        wanted = min(_MAX_EPOCHS, max(15, updates // num_updates))
        epochs = min(wanted, int(0.9 * left / of_epoch))
        if epochs > 0:
            schedule = keras.optimizers.schedules.CosineDecay(
                _STEP_SIZE, epochs * num_updates, alpha=0.02
            )
            history = _fit(
                circuit, _values(train), epochs=epochs, step_size=schedule, **shared
            )
            curve += history.validation_log_likelihood
    except KeyboardInterrupt:  # `fit` has left the best of its epochs
        is_interrupted = True
    phases = [f"({_STEP_SIZE}, 2)"]
    if epochs > 0:
        decay = f"{_STEP_SIZE}, {epochs * num_updates}, alpha=0.02"
        schedule_code = f"keras.optimizers.schedules.CosineDecay({decay})"
        phases.append(f"({schedule_code}, {epochs})")
    sample_weight = "sample_weight=sample_weight, " if train.is_weighted else ""
    code = (
        f"for step_size, epochs in [{', '.join(phases)}]:\n"
        "    tfp_spn.learning.fit(\n"
        '        circuit, x, method="online_em", observed=observed, epochs=epochs,\n'
        f"        {sample_weight}step_size=step_size,\n"
        "        validation_data=validation_data,\n"
        f"        batch_size={batch_size}, pseudocount=0.05, patience=10, seed={seed})"
    )
    return tuple(curve), code, is_interrupted


def _fit(circuit: RegionGraphCircuit, x: np.ndarray, **arguments: Any) -> History:
    """A fit that does not warn of ending before it converges: time is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fit(circuit, x, **arguments)


class _Deadline(keras.callbacks.Callback):
    """Ends a fit after the epoch in which time runs out."""

    def __init__(self, ends: float) -> None:
        super().__init__()
        self._ends = ends

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the clock."""
        if time.perf_counter() > self._ends:
            self.model.stop_training = True


def _as_data(columns: Columns) -> dict[str, np.ndarray]:
    return {
        "x": _values(columns),
        "observed": columns.observed,
        "sample_weight": columns.weights,
    }


def _weight_code(columns: Columns) -> str:
    return ", sample_weight=sample_weight" if columns.is_weighted else ""


def _values(columns: Columns) -> np.ndarray:
    return columns.values.astype(np.float32)
