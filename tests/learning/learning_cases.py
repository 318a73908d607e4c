"""Small circuits and data that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfp_spn import layers, region_graphs
from tfp_spn.circuits.from_region_graph import from_region_graph
from tfp_spn.learning import History, fit
from tfp_spn.ops.sum_rules import SumOpHardEMBackprop, SumOpUnweightedHardEMBackprop

NUM_VARIABLES = 4


def leaf_of(family: str, num_components: int = 2, **kwargs: Any) -> Any:
    trainable = {"scale_trainable": True, **kwargs}
    return {
        "bernoulli": lambda: layers.BernoulliLeaf(num_components, **kwargs),
        "binomial": lambda: layers.BinomialLeaf(num_components, 3, **kwargs),
        "categorical": lambda: layers.CategoricalLeaf(num_components, 3, **kwargs),
        "logistic": lambda: layers.DiscretizedLogisticLeaf(num_components, 4, **kwargs),
        "indicator": lambda: layers.IndicatorLeaf(num_components, **kwargs),
        "normal": lambda: layers.NormalLeaf(num_components, **trainable),
        "laplace": lambda: layers.LaplaceLeaf(num_components, **trainable),
        "cauchy": lambda: layers.CauchyLeaf(num_components, **trainable),
    }[family]()


FAMILIES = (
    "bernoulli",
    "binomial",
    "categorical",
    "logistic",
    "indicator",
    "normal",
    "laplace",
    "cauchy",
)
HIGHEST = {
    "bernoulli": 1,
    "binomial": 3,
    "categorical": 2,
    "indicator": 1,
    "logistic": 3,
}
HARD_RULES = (SumOpHardEMBackprop, SumOpUnweightedHardEMBackprop)


def data_of(family: str, num_examples: int = 40, seed: int = 0) -> np.ndarray:
    """Two clusters, ``[N, 4]``."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 2, [num_examples, 1])
    if family in HIGHEST:
        probs = np.where(cluster, [0.9, 0.1, 0.7, 0.8], [0.2, 0.6, 0.1, 0.3])
        return rng.binomial(HIGHEST[family], probs)
    return rng.normal(2.0 * cluster, 0.5 + cluster, [num_examples, NUM_VARIABLES])


def circuit_of(
    family: str = "bernoulli",
    seed: int = 0,
    num_classes: int = 1,
    graph: Any = None,
    leaf: dict[str, Any] | None = None,
    num_components: int = 2,
    **kwargs: Any,
) -> Any:
    keras.utils.set_random_seed(seed)
    graph = graph or region_graphs.random_binary_trees(NUM_VARIABLES, 2, 2, seed=seed)
    return from_region_graph(
        graph,
        leaf=leaf_of(family, num_components, **(leaf or {})),
        num_sums=2,
        num_classes=num_classes,
        **kwargs,
    )


def run(circuit: Any, x: Any = None, **kwargs: Any) -> History:
    """`fit` in small batches from where the circuit is; of 100 examples by default."""
    settings = {"initialize": False, "verbose": False, "batch_size": 32, **kwargs}
    return fit(circuit, data_of("bernoulli", 100) if x is None else x, **settings)


def values_of(circuit: Any) -> dict[str, np.ndarray]:
    return {name: v.numpy() for name, v in circuit.live_params().items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)
