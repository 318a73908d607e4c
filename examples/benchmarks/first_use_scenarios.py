"""The circuits that the benchmark of first use meets, with data for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import speed_workloads as workloads

from tfp_spn import circuits, distributions, layers, region_graphs

_RNG_SEED = 0


@dataclass(frozen=True)
class Scenario:
    """A circuit as its user meets it.

    Attributes:
        circuit: Builds it.
        data: Makes so many examples.
        num_rows: Rows to fit.
        methods: Methods of `learning.fit` to try.
        epochs: Epochs of each call of `fit`.
    """

    circuit: Callable[[], circuits.Circuit]
    data: Callable[[int], np.ndarray]
    num_rows: int = 1_500
    methods: tuple[str, ...] = ("em", "online_em", "gradient")
    epochs: int = 1

    def distribution(self, circuit: circuits.Circuit) -> Any:
        """Of the circuit's kind."""
        if len(circuit.program.chain_specs):
            return distributions.DynamicSumProductNetwork(circuit)
        return distributions.SumProductNetwork(circuit)


def _rng() -> np.random.Generator:
    return np.random.default_rng(_RNG_SEED)


def readme_circuit() -> circuits.Circuit:
    """Ten Gaussian variables in random trees."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.random_binary_trees(10, depth=2, num_repetitions=5)
    leaf = layers.NormalLeaf(num_components=8, scale_trainable=True)
    return circuits.from_region_graph(graph, leaf, num_sums=8)


def small_quad_graph() -> circuits.Circuit:
    """A quad graph over 8 x 8 pixels."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.quad_graph((8, 8))
    return circuits.from_region_graph(graph, layers.NormalLeaf(8), num_sums=8)


def linear_tree() -> circuits.Circuit:
    """A chain of 300 steps."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.linear_tree(300)
    return circuits.from_region_graph(graph, layers.NormalLeaf(4), num_sums=4)


def hidden_markov_model() -> circuits.Circuit:
    """Fifty steps of two Gaussian variables, 16 states."""
    keras.utils.set_random_seed(0)
    template = circuits.from_region_graph(
        region_graphs.fully_factorized(2), layers.NormalLeaf(16), 16, num_classes=16
    )
    return circuits.dynamic_from_circuit(template, 50)


def mixed_table() -> circuits.Circuit:
    """Real numbers, counts and categories."""
    keras.utils.set_random_seed(0)
    leaf = layers.MixedLeaf(
        [
            (layers.NormalLeaf(6, scale_trainable=True), range(4)),
            (layers.DistributionLeaf("Poisson", 6), range(4, 6)),
            (layers.CategoricalLeaf(6, num_categories=5), range(6, 10)),
        ]
    )
    graph = region_graphs.random_binary_trees(10, depth=3, num_repetitions=4)
    return circuits.from_region_graph(graph, leaf, num_sums=6)


def tree_of_16(seed: int) -> circuits.Circuit:
    """One of many small circuits, each of another structure."""
    keras.utils.set_random_seed(0)
    graph = region_graphs.random_binary_trees(16, 3, 2, seed=seed)
    return circuits.from_region_graph(graph, layers.NormalLeaf(4), num_sums=4)


def _normal(*shape: int) -> Callable[[int], np.ndarray]:
    return lambda n: _rng().normal(size=(n, *shape)).astype(np.float32)


def _table(n: int) -> np.ndarray:
    rng = _rng()
    columns = [rng.normal(size=(n, 4)), rng.poisson(2.0, (n, 2))]
    return np.concatenate([*columns, rng.integers(0, 5, (n, 4))], 1).astype(np.float32)


SCENARIOS = {
    "readme": Scenario(readme_circuit, _normal(10)),
    "tree of 100": Scenario(
        lambda: workloads.chow_liu_tree(100),
        lambda n: workloads.correlated_bits(n, 100),
        15_000,
        ("online_em",),
    ),
    "tree of 500": Scenario(
        lambda: workloads.chow_liu_tree(500),
        lambda n: workloads.correlated_bits(n, 500),
        15_000,
        ("online_em",),
    ),
    "quad graph 8 x 8": Scenario(small_quad_graph, _normal(64)),
    "linear tree of 300": Scenario(linear_tree, _normal(300), 20, ("em",), 4),
    "quad graph 28 x 28": Scenario(
        workloads.pixel_quad_graph,
        lambda n: _rng().integers(0, 256, (n, 784)).astype(np.int32),
        256,
        ("online_em",),
    ),
    "hidden Markov model": Scenario(hidden_markov_model, _normal(50, 2), 200),
    "convolutional": Scenario(
        workloads.dgc_spn, _normal(28, 28, 1), 256, ("online_em",)
    ),
    "mixed table": Scenario(mixed_table, _table),
}
