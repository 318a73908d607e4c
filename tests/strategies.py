"""Hypothesis strategies: random structures, circuits, data and evidence, all small."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.expand import expand
from tests.reference.nodes import Node
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.ops.sum_rules import (
    SumOpEMBackprop,
    SumOpGradBackprop,
    SumOpHardEMBackprop,
    SumOpUnweightedHardEMBackprop,
)

RULES = {
    "gradient": SumOpGradBackprop,
    "soft EM": SumOpEMBackprop,
    "hard EM": SumOpHardEMBackprop,
    "unweighted hard EM": SumOpUnweightedHardEMBackprop,
}

LEAVES = {
    "normal": lambda k, dt: layers.NormalLeaf(k, scale_trainable=True, dtype=dt),
    "laplace": lambda k, dt: layers.LaplaceLeaf(k, scale_trainable=True, dtype=dt),
    "cauchy": lambda k, dt: layers.CauchyLeaf(k, scale_trainable=True, dtype=dt),
    "bernoulli": lambda k, dt: layers.BernoulliLeaf(k, dtype=dt),
    "binomial": lambda k, dt: layers.BinomialLeaf(k, total_count=2, dtype=dt),
    "categorical": lambda k, dt: layers.CategoricalLeaf(k, num_categories=3, dtype=dt),
    "logistic": lambda k, dt: layers.DiscretizedLogisticLeaf(k, 3, dtype=dt),
    "indicator": lambda k, dt: layers.IndicatorLeaf(k, dtype=dt),
    "tfp normal": lambda k, dt: layers.DistributionLeaf("Normal", k, dtype=dt),
}
MIXED = {
    "mixed": ["tfp normal", "bernoulli", "laplace", "categorical"],
    "finite mixed": ["binomial", "categorical", "bernoulli"],
}
FINITE = [
    "bernoulli",
    "binomial",
    "categorical",
    "indicator",
    "finite mixed",
    "logistic",
]
HIGHEST = {
    "bernoulli": 1,
    "binomial": 2,
    "categorical": 2,
    "indicator": 2,
    "logistic": 2,
}


def leaf_of(kind: str, num_components: int, dtype: str, num_variables: int) -> Any:
    """A leaf layer; of a mixed kind, the variables take the families in turn."""
    if kind not in MIXED:
        return LEAVES[kind](num_components, dtype)
    groups: dict[str, list[int]] = {}
    for variable in range(num_variables):
        groups.setdefault(kind_of(kind, variable), []).append(variable)
    return layers.MixedLeaf(
        [(LEAVES[k](num_components, dtype), group) for k, group in groups.items()]
    )


def kind_of(kind: str, variable: int) -> str:
    return MIXED[kind][variable % len(MIXED[kind])] if kind in MIXED else kind


class Case:
    """A circuit, its distribution, its expansion, and examples with masks.

    Built on first use, outside the strategy: Keras' initializers draw from global
    generators, which hypothesis wants to govern itself.

    One case in four compiles its functions, where its test compiles queries at all (see
    `conftest`): each is asked a few times, and tracing takes ten times as long as
    operations do. All of them compile if TFP_SPN_OPTIMIZE is set.
    """

    def __init__(
        self, kind: str, seed: int, num_examples: int, **arguments: Any
    ) -> None:
        self.kind, self.seed, self.num_examples = kind, seed, num_examples
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"Case({self.kind}, seed={self.seed}, {self.arguments})"

    @functools.cached_property
    def circuit(self) -> Any:
        is_compiled = self.seed % 4 == 0 or "TFP_SPN_OPTIMIZE" in os.environ
        tf.config.run_functions_eagerly(not is_compiled)  # until the end of the test
        arguments = dict(self.arguments)
        dtype, num_components = arguments.pop("dtype"), arguments.pop("num_components")
        rng = np.random.default_rng(self.seed)
        graph = arguments.pop("region_graph")
        circuit = circuits.from_region_graph(
            graph,
            leaf_of(self.kind, num_components, dtype, graph.num_variables),
            sum_op=RULES[arguments.pop("rule")](),
            **arguments,
        )
        for variable in circuit.variables:
            variable.assign(rng.normal(size=variable.shape).astype(dtype))
        return circuit

    @functools.cached_property
    def distribution(self) -> SumProductNetwork:
        return SumProductNetwork(self.circuit)

    @functools.cached_property
    def root(self) -> Node:
        return expand(self.circuit)

    @functools.cached_property
    def x(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 1])
        program = self.circuit.program
        shape = (self.num_examples, *program.event_shape)
        values = rng.normal(scale=1.5, size=shape)
        for variable in range(program.num_variables):
            highest = HIGHEST.get(kind_of(self.kind, variable))
            if highest is not None:
                size = values[:, variable].shape
                values[:, variable] = rng.integers(0, highest + 1, size=size)
        return values.astype(program.dtype.as_numpy_dtype)

    @functools.cached_property
    def observed(self) -> np.ndarray:
        return np.random.default_rng([self.seed, 2]).random(self.x.shape[:2]) < 0.5


@st.composite
def region_graph(draw: Any, max_variables: int = 5) -> region_graphs.RegionGraph:
    """Any kind of region graph over 1 to `max_variables` variables."""
    kind = draw(
        st.sampled_from(
            ["random", "quad tree", "quad graph", "poon", "linear", "flat", "uneven"]
        )
    )
    seed = draw(st.integers(0, 1000))
    if kind == "random":
        size = draw(st.integers(2, max_variables))
        depth = 2 if size >= 4 and draw(st.booleans()) else 1
        return region_graphs.random_binary_trees(
            size, depth, draw(st.integers(1, 3)), seed
        )
    if kind == "quad tree":
        return region_graphs.quad_tree((2, 2), draw(st.sampled_from([2, 4])))
    if kind == "quad graph":
        return region_graphs.quad_graph(draw(st.sampled_from([(2, 2), (1, 3), (2, 1)])))
    if kind == "poon":
        return region_graphs.poon_domingos((2, 2), 1)
    if kind == "linear":
        size = draw(st.integers(1, max_variables))
        reps = draw(st.integers(1, 2)) if size > 2 else 1
        return region_graphs.linear_tree(size, reps, randomize=size > 2, seed=seed)
    if kind == "flat":
        return region_graphs.fully_factorized(draw(st.integers(1, max_variables)))
    nested = draw(
        st.sampled_from(
            [
                [0, [1, 2], (3, 4)],
                [[0, 1], 2, 3],
                [(0, 1), (2,)],
                {"partitions": [[0, 1, 2], [[0, 1], 2]]},
                {"partitions": [[(0, 1), 2], [0, [1, 2]]]},
            ]
        )
    )
    return region_graphs.from_nested_lists(nested)


@st.composite
def case(
    draw: Any,
    leaves: list[str] | None = None,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    max_classes: int = 3,
    rules: list[str] | None = None,
    num_examples: int = 3,
) -> Case:
    """A random circuit with random examples; about half of all values are hidden."""
    graph = draw(region_graph())
    kind = draw(st.sampled_from(leaves or sorted({**LEAVES, **MIXED})))
    dtype = draw(st.sampled_from(dtypes))
    num_components = 3 if kind == "indicator" else draw(st.integers(1, 3))
    sum_product = draw(st.sampled_from(["cp", "cp-t", "tucker"]))
    if max(len(p) for ps in graph.partitions for p in [*ps, ()]) > 3:
        sum_product = "cp"  # 3 ** 5 products would make the reference slow
    num_sums = draw(st.integers(1, 3))
    leaf_sums = draw(st.sampled_from([None, True, False, "per-partition"]))
    if sum_product == "cp-t":
        leaf_sums = None
    if sum_product == "cp-t" or (leaf_sums is False and sum_product == "cp"):
        num_sums = num_components
    return Case(
        kind,
        draw(st.integers(0, 2**20)),
        num_examples,
        region_graph=graph,
        num_components=num_components,
        dtype=dtype,
        num_sums=num_sums,
        sum_product=sum_product,
        num_classes=draw(st.integers(1, max_classes)),
        leaf_sums=leaf_sums,
        num_dims=draw(st.sampled_from([1, 1, 1, 2])),
        rule=draw(st.sampled_from(rules or sorted(RULES))),
    )
