"""The models that `learn` tries, each within seconds of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfp_spn.circuits import RegionGraphCircuit, assign_log_weights, from_region_graph
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
from tfp_spn.structure.timed_fit import (
    AS_FLOAT32,
    as_data,
    begin_with_clusters,
    fit_within,
    weight_code,
)

_FEW_COLUMNS, _MANY_COLUMNS = 32, 200
"""Up to the first, hidden Chow-Liu trees have more states, from the second on fewer."""

_FEW_ROWS = 2000
"""Different ones."""

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
        f"    x, observed=observed{weight_code(train)},\n"
        f"    kinds={list(train.kinds)}, min_rows=2**31 - 1)"
    )
    return Learned(lambda: circuit, (), None, _PREFACE + code)


def hidden_chow_liu_tree(
    train: Columns, valid: Columns, seconds: float, seed: int
) -> Learned:
    """One tree of many states, fewer for many columns or few rows of categories.

    Numbers that depend on each other closely need many states.
    """
    num_sums = 64 if train.num_variables <= _MANY_COLUMNS else 16
    if train.is_categorical and len(train.values) < _FEW_ROWS:
        num_sums = max(num_sums // 4, 8)
    elif train.num_variables <= _FEW_COLUMNS and len(train.values) >= _MANY_ROWS:
        num_sums *= 2
    return _hidden_trees(train, valid, seconds, seed, 1, num_sums)


def hidden_chow_liu_trees(
    train: Columns, valid: Columns, seconds: float, seed: int
) -> Learned:
    """A mixture of several trees of fewer states."""
    return _hidden_trees(train, valid, seconds, seed, 4, 16)


def _hidden_trees(
    train: Columns,
    valid: Columns,
    seconds: float,
    seed: int,
    num_trees: int,
    num_sums: int,
) -> Learned:
    ends = time.perf_counter() + seconds
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
    start_code = begin_with_clusters(circuit, train, seconds, seed)
    found = fit_within(circuit, train, valid, ends, seed)
    code = (
        "graph = tfp_spn.region_graphs.mixture_of_hidden_chow_liu_trees(\n"
        f"    x, {num_trees}, observed=observed{weight_code(train)},\n"
        f"    data_type={data_type!r}, num_bins={num_bins}, seed={seed})\n"
        f"{AS_FLOAT32}leaf = {leaf_code(train, num_sums)}\n"
        "circuit = tfp_spn.circuits.from_region_graph(\n"
        f"    graph, leaf, {num_sums}, leaf_sums=False)\n"
        f"{start_code}{found.code}"
    )
    return Learned(
        lambda: circuit, found.curve, None, _PREFACE + code, found.is_interrupted
    )


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
        validation_data=as_data(valid),
        **settings,
    )
    named = "".join(f"    {key}={value!r},\n" for key, value in settings.items())
    code = (
        "mixture = tfp_spn.structure.continuous_mixture(\n"
        f"    x, observed=observed{weight_code(train)},\n"
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
    ends = time.perf_counter() + seconds
    min_rows = max(50, int(train.weights.sum() / 50))
    circuit = learn_spn(
        np.where(train.observed, train.values, np.nan),
        sample_weight=train.weights,
        kinds=train.kinds,
        min_rows=min_rows,
        seed=seed,
    )
    found = fit_within(circuit, train, valid, ends, seed)
    code = (
        "circuit = tfp_spn.structure.learn_spn(\n"
        f"    x, observed=observed{weight_code(train)}, kinds={list(train.kinds)},\n"
        f"    min_rows={min_rows}, seed={seed})\n"
        f"{AS_FLOAT32}{found.code}"
    )
    return Learned(
        lambda: circuit, found.curve, None, _PREFACE + code, found.is_interrupted
    )
