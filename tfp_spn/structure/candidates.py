"""The models that `learn` tries, each within seconds of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tfp_spn._arguments import LARGEST_SIZE
from tfp_spn.circuits import RegionGraphCircuit, from_region_graph
from tfp_spn.region_graphs import mixture_of_hidden_chow_liu_trees
from tfp_spn.structure.continuous_mixture import continuous_mixture
from tfp_spn.structure.leaf_estimates import leaf_layer
from tfp_spn.structure.learn_spn import learn_spn
from tfp_spn.structure.timed_fit import Task, begin_with_clusters, fit_within

_FEW_COLUMNS, _MANY_COLUMNS = 32, 200
"""Up to the first, hidden Chow-Liu trees have more states, from the second on fewer."""

_FEW_ROWS = 2000
"""Different ones."""

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


def independent_columns(task: Task) -> Learned:
    """Every column by itself: takes no time."""
    circuit = task.script.let("circuit", learn_spn, task.train, min_rows=LARGEST_SIZE)
    return Learned(lambda: circuit, (), None, str(task.script))


def hidden_chow_liu_tree(task: Task) -> Learned:
    """One tree of many states, fewer for many columns or few rows of categories.

    Numbers that depend on each other closely need many states.
    """
    train = task.train
    num_sums = 64 if train.num_variables <= _MANY_COLUMNS else 16
    if train.is_categorical and len(train.values) < _FEW_ROWS:
        num_sums = max(num_sums // 4, 8)
    elif train.num_variables <= _FEW_COLUMNS and len(train.values) >= _MANY_ROWS:
        num_sums *= 2
    return _hidden_trees(task, 1, num_sums)


def hidden_chow_liu_trees(task: Task) -> Learned:
    """A mixture of several trees of fewer states."""
    return _hidden_trees(task, 4, 16)


def _hidden_trees(task: Task, num_trees: int, num_sums: int) -> Learned:
    train, script = task.train, task.script
    graph = script.let(
        "graph",
        mixture_of_hidden_chow_liu_trees,
        train.values,
        num_trees,
        observed=train.observed,
        data_type="discrete" if train.is_categorical else "auto",
        num_bins=None if train.is_categorical else 8,
        sample_weight=train.weights,
        seed=task.seed,
    )
    leaf = leaf_layer(train, num_sums, script=script)
    circuit = script.let(
        "circuit", from_region_graph, graph, leaf, num_sums, leaf_sums=False
    )
    begin_with_clusters(circuit, task)
    return _fitted(circuit, task)


def continuous_mixtures(task: Task) -> Learned:
    """Continuous mixtures of Chow-Liu trees, or of independent columns.

    More time is first for more points, which a network needs; then for more networks.
    """
    train = task.train
    exponent = math.log2(_POINTS_BY_COLUMNS / train.num_variables)
    exponent += 0.5 * max(0.0, math.log2(task.seconds / 60))
    num_points = 2 ** min(max(int(exponent), 6), 10)
    size = num_points * train.num_variables * max(1.0, train.weights.sum() / _ROWS)
    most = int(_COMPONENTS_BY_COLUMNS / size)
    has_many_rows = len(train.values) >= _MANY_ROWS
    mixture = task.script.let(
        "mixture",
        continuous_mixture,
        train,
        validation_data=task.valid,
        num_points=num_points,
        num_networks=min(max(most, 1), _MAX_NETWORKS),
        batch_size=256 if has_many_rows else 128,
        learning_rate=2e-3 if has_many_rows or not train.is_categorical else 1e-3,
        patience=6,
        max_seconds=round(task.seconds),
        seed=task.seed,
    )
    task.script.write("circuit = ", mixture.circuit)
    return Learned(
        mixture.circuit,
        mixture.history,
        mixture.validation,
        str(task.script),
        mixture.is_interrupted,
    )


def learned_spn(task: Task) -> Learned:
    """LearnSPN, and online EM over what it found."""
    min_rows = max(50, int(task.train.weights.sum() / 50))
    circuit = task.script.let(
        "circuit", learn_spn, task.train, min_rows=min_rows, seed=task.seed
    )
    return _fitted(circuit, task)


def _fitted(circuit: RegionGraphCircuit, task: Task) -> Learned:
    curve, is_interrupted = fit_within(circuit, task)
    return Learned(lambda: circuit, curve, None, str(task.script), is_interrupted)
