"""One registry of distributions that the contract suites run over.

Each entry builds a small distribution of one kind; `tests/test_completeness.py` checks
that no public leaf, rule or view is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn import circuits, layers, region_graphs, sum_ops
from tfp_spn.distributions import (
    ConditionalSumProductNetwork,
    DynamicSumProductNetwork,
    SumProductNetwork,
)


@dataclass(frozen=True)
class Case:
    """A circuit, a distribution over it, and examples of one distribution.

    Attributes:
        circuit: The circuit that owns the variables.
        distribution: The distribution.
        x: ``[4, *event_shape]``: values of positive density, without batch dimensions.
    """

    circuit: Any
    distribution: Any
    x: np.ndarray

    @property
    def batched_x(self) -> np.ndarray:
        """``[4, 1, ..., 1, *event_shape]``: broadcasts with the batch shape."""
        ones = [1] * self.distribution.batch_shape.rank
        return self.x.reshape(4, *ones, *self.x.shape[1:])


GRAPH = region_graphs.random_binary_trees(4, depth=1, num_repetitions=2, seed=1)
DEEP = region_graphs.random_binary_trees(4, depth=2, num_repetitions=2, seed=1)
SQUARE = region_graphs.quad_graph((2, 2))
UNEVEN = region_graphs.from_nested_lists({"partitions": [[0, 1, 2], [[0, 1], 2]]})

LEAVES = {
    "normal": lambda **kw: layers.NormalLeaf(2, scale_trainable=True, **kw),
    "laplace": lambda **kw: layers.LaplaceLeaf(2, scale_trainable=True, **kw),
    "cauchy": lambda **kw: layers.CauchyLeaf(2, scale_trainable=True, **kw),
    "bernoulli": lambda **kw: layers.BernoulliLeaf(2, **kw),
    "binomial": lambda **kw: layers.BinomialLeaf(2, total_count=3, **kw),
    "categorical": lambda **kw: layers.CategoricalLeaf(2, num_categories=3, **kw),
    "discretized logistic": lambda **kw: layers.DiscretizedLogisticLeaf(2, 4, **kw),
    "indicator": lambda **kw: layers.IndicatorLeaf(3, **kw),
    "intervals": lambda **kw: layers.MixedLeaf(
        [
            (layers.HistogramLeaf(2, edges=[-1.0, 0.0, 0.5, 2.0], **kw), [0, 3]),
            (layers.PiecewiseLinearLeaf(2, knots=[-1.0, 0.5, 1.0], **kw), [1, 2]),
        ]
    ),
    "many trials": lambda **kw: layers.BinomialLeaf(2, total_count=50, **kw),
    "mixed": lambda **kw: layers.MixedLeaf(
        [
            (layers.NormalLeaf(2, scale_trainable=True, **kw), [2]),
            (layers.BernoulliLeaf(2, **kw), [0]),
            (layers.CategoricalLeaf(2, num_categories=3, **kw), [3]),
            (layers.DistributionLeaf("Weibull", 2, **kw), [1]),
        ]
    ),
}


def _circuit(leaf: str = "normal", graph: Any = GRAPH, **arguments: Any) -> Any:
    dtype = arguments.pop("dtype", "float32")
    keras.utils.set_random_seed(1)
    circuit = circuits.from_region_graph(
        graph, LEAVES[leaf](dtype=dtype), arguments.pop("num_sums", 3), **arguments
    )
    rng = np.random.default_rng(2)
    for variable in circuit.trainable_variables:  # also the prior, away from uniform
        variable.assign_add(rng.normal(scale=0.5, size=variable.shape))
    return circuit


def _examples(circuit: Any) -> np.ndarray:
    program, rng = circuit.program, np.random.default_rng(3)
    shape = (4, *program.event_shape)
    if isinstance(program.leaf, layers.MixedLeaf):
        return np.asarray(SumProductNetwork(circuit).sample(4, seed=(3, 4)))
    if program.leaf.is_discrete:
        top = 2 if isinstance(program.leaf, layers.BernoulliLeaf) else 3
        return rng.integers(0, top, size=shape).astype(np.int32)
    return rng.normal(size=shape).astype(program.dtype.name)


def _plain(leaf: str = "normal", **arguments: Any) -> Case:
    circuit = _circuit(leaf, **arguments)
    return Case(circuit, SumProductNetwork(circuit), _examples(circuit))


def stacked_params(circuit: Any, batch: tuple[int, ...], seed: int = 0) -> dict:
    """The circuit's parameters, disturbed, for a batch of circuits."""
    rng = np.random.default_rng(seed)
    stacked = {}
    for name, value in circuit.live_params().items():
        noise = rng.normal(scale=0.3, size=(*batch, *value.shape))
        stacked[name] = tf.constant(value.numpy() + noise, value.dtype)
    return stacked


def _batched(
    batches: Callable[[str], tuple[int, ...] | None], leaf: str = "normal", **arguments
) -> Case:
    """`batches` tells the batch shape of a parameter, `None`: the variable itself."""
    circuit = _circuit(leaf, **arguments)
    params = circuit.live_params()
    for number, name in enumerate(list(params)):
        batch = batches(name)
        if batch is not None:
            params[name] = stacked_params(circuit, batch, number)[name]
    return Case(circuit, SumProductNetwork(circuit, params), _examples(circuit))


def _image() -> Case:
    circuit = circuits.image_circuit((2, 2), "quad-tree-4", LEAVES["categorical"]())
    return Case(circuit, SumProductNetwork(circuit), _examples(circuit))


def _marginal(**arguments: Any) -> Case:
    case = _plain(**arguments)
    variables = [3, 0, 1]
    return Case(
        case.circuit, case.distribution.marginal(variables), case.x[:, variables]
    )


def _conditioned(case: Case, observed: Any) -> Case:
    """Evidence is the first example; the examples agree with it."""
    mask_shape = case.circuit.program.mask_shape
    mask_shape = mask_shape if len(mask_shape) > 1 else case.x.shape[1:2]
    observed = np.asarray(observed)
    known = observed.reshape(-1, *mask_shape).any(0)
    known = known.reshape(*mask_shape, *[1] * (case.x.ndim - 1 - len(mask_shape)))
    x = np.where(known, case.x[:1], case.x)
    return Case(case.circuit, case.distribution.condition(x[0], observed), x)


def _conditional_marginal() -> Case:
    case, variables = _conditioned(_plain("normal"), HALF), [2, 0]
    x = case.x[:, variables]
    return Case(case.circuit, case.distribution.marginal(variables), x)


def _components() -> Case:
    case = _plain("categorical", num_classes=3)
    return Case(case.circuit, case.distribution.components_distribution, case.x)


def _layered(**arguments: Any) -> Case:
    keras.utils.set_random_seed(1)
    stack = [
        layers.FlatToRegions(num_decomps=2),
        layers.NormalLeaf(2),
        layers.PermuteAndPadScopesRandom([2, 2], seed=3),
        layers.DenseProduct(2),
        layers.DenseSum(3, **arguments),
        layers.ReduceProduct(2),
        layers.Undecompose(),
        layers.RootSum(return_weighted_child_logits=False),
    ]
    model = keras.Sequential([keras.Input((4,)), *stack])
    circuit = circuits.from_layers(model)
    return Case(circuit, SumProductNetwork(model), _examples(circuit))


def _spatial(leaf: str = "normal", logits: bool = False) -> Case:
    """A 3 by 3 image under overlapping windows, with weights of each kind."""
    keras.utils.set_random_seed(1)
    stack = [
        LEAVES[leaf](),
        layers.Conv2DProduct([1, 1], [1, 1], [2, 2], padding="full", depthwise=True),
        layers.Local2DSum(2),
        layers.Conv2DProduct([1, 1], [2, 2], [2, 2], 5, padding="final", seed=1),
        layers.Conv2DSum(2),
        layers.SpatialToRegions(),
        layers.DenseSum(2),
        layers.RootSum(logits),
    ]
    model = keras.Sequential([keras.Input((3, 3, 1)), *stack])
    circuit = circuits.from_layers(model)
    return Case(circuit, SumProductNetwork(model), _examples(circuit))


def _accumulators(leaf: Any, batched: bool = False) -> Case:
    keras.utils.set_random_seed(1)
    circuit = circuits.from_region_graph(
        GRAPH, leaf(2, scale_trainable=True, use_accumulators=True), 3
    )
    params = circuit.live_params()
    if batched:  # counts stay positive
        params = {k: tf.stack([v, v * 1.5]) for k, v in params.items()}
    return Case(circuit, SumProductNetwork(circuit, params), _examples(circuit))


def _dynamic(leaf: str = "normal", batched: bool = False, **arguments: Any) -> Case:
    """Three steps of two variables, two roots."""
    graph = region_graphs.fully_factorized(2)
    template = _circuit(leaf, graph=graph, num_sums=2, num_classes=2)
    circuit = circuits.dynamic_from_circuit(template, 3, **arguments)
    params = circuit.live_params()
    if batched:
        params = stacked_params(circuit, (2,))
        initial, transition = [[0.9, 0.1], [0.4, 0.6]], [[[0.9, 0.1], [0.2, 0.8]]]
        params.update(circuits.chain_params(initial, np.stack([transition] * 2)))
    return Case(circuit, DynamicSumProductNetwork(circuit, params), _examples(circuit))


def _conditional(leaf: str = "normal", **arguments: Any) -> Case:
    """A circuit for each of two feature vectors."""
    predicted = arguments.pop("predicted")
    circuit = _circuit(leaf, **arguments)
    layer = ConditionalSumProductNetwork(circuit, predicted)
    features = np.random.default_rng(4).normal(size=[2, 3])
    return Case(circuit, layer(features.astype("float32")), _examples(circuit))


HALF = [True, False, False, True]
CASES: dict[str, Callable[[], Case]] = {
    **{leaf: lambda leaf=leaf: _plain(leaf) for leaf in LEAVES},
    "indicator": lambda: _plain("indicator", graph=DEEP),  # one variable per region
    "deep": lambda: _plain("normal", graph=DEEP),
    "tucker": lambda: _plain("categorical", sum_product="tucker", num_sums=2),
    "products first": lambda: _plain("bernoulli", sum_product="cp-t", graph=SQUARE),
    "leaf sums per partition": lambda: _plain(
        "normal",
        leaf_sums="per-partition",
        graph=SQUARE,
        num_classes=2,
        class_prior=[0.25, 0.75],
    ),
    "quad graph": lambda: _plain("bernoulli", graph=region_graphs.quad_graph((2, 2))),
    "image": _image,
    "classes": lambda: _plain("categorical", num_classes=3),
    "float64": lambda: _plain("normal", dtype="float64"),
    "float64 discrete": lambda: _plain("binomial", dtype="float64", num_classes=2),
    "vectors": lambda: _plain("normal", num_dims=2),
    "one variable": lambda: _plain("normal", graph=region_graphs.fully_factorized(1)),
    "uneven partitions": lambda: _plain("normal", graph=UNEVEN),
    "accumulators": lambda: _accumulators(layers.NormalLeaf),
    "accumulators, batched": lambda: _accumulators(layers.NormalLeaf, batched=True),
    "soft EM": lambda: _plain("normal", sum_op=sum_ops.SumOpEMBackprop()),
    "hard EM": lambda: _plain("normal", sum_op=sum_ops.SumOpHardEMBackprop()),
    "unweighted hard EM": lambda: _plain(
        "bernoulli", sum_op=sum_ops.SumOpUnweightedHardEMBackprop()
    ),
    "sampled flows": lambda: _plain("normal", sum_op=sum_ops.SumOpSampleBackprop()),
    "batched": lambda: _batched(lambda name: (2,)),
    "batched discrete": lambda: _batched(
        lambda name: (2,),
        "categorical",
        num_classes=2,
        sum_product="tucker",
        num_sums=2,
    ),
    "batched leaves only": lambda: _batched(
        lambda name: (2,) if name.startswith("leaf") else None, "bernoulli"
    ),
    "batched sums only": lambda: _batched(
        lambda name: (2,) if name == "sums_1" else None, "normal", graph=UNEVEN
    ),
    "batched mixed": lambda: _batched(
        lambda name: (2,) if name.startswith("leaf_3") else None, "mixed", graph=DEEP
    ),
    "batched vectors": lambda: _batched(lambda name: (2,), num_dims=2),
    "broadcast batches": lambda: _batched(
        lambda name: (2, 1) if name.startswith("leaf") else (3,)
    ),
    "conditional batch": lambda: _conditional(predicted="leaves", graph=DEEP),
    "conditional batch, discrete": lambda: _conditional(
        "categorical", predicted=["root", "sums_0"], num_classes=2
    ),
    "marginal": _marginal,
    "marginal discrete": lambda: _marginal(leaf="categorical", num_classes=2),
    "conditioned": lambda: _conditioned(_plain("normal"), HALF),
    "conditioned discrete": lambda: _conditioned(
        _plain("categorical", num_classes=3), [HALF, [False] * 4]
    ),
    "conditioned batched": lambda: _conditioned(_batched(lambda name: (2,)), HALF),
    "marginal of a conditional": _conditional_marginal,
    "conditioned marginal": lambda: _conditioned(_marginal(), [True, False, False]),
    "conditioned mixed": lambda: _conditioned(_plain("mixed", num_classes=2), HALF),
    "conditioned vectors": lambda: _conditioned(_plain("normal", num_dims=2), HALF),
    "components": _components,
    "layers": _layered,
    "spatial": _spatial,
    "spatial discrete": lambda: _spatial("categorical", logits=True),
    "conditioned spatial": lambda: _conditioned(_spatial(), np.eye(3) > 0),
    "dynamic": _dynamic,
    "dynamic batched": lambda: _dynamic(batched=True),
    "conditioned dynamic": lambda: _conditioned(
        _dynamic("categorical", num_interfaces=3, sum_product="tucker"),
        [[True, False], [False, False], [False, True]],
    ),
    "layers with linear weights": lambda: _layered(
        sum_op=sum_ops.SumOpGradBackprop(logspace_accumulators=False)
    ),
}
