"""From a stack of region layers to a program.

The regions of a layer are a table ``[scopes, decomps]`` of positions in the newest
value of the program. Permuting changes the table only; a product turns it into one
table per factor; a sum, or the next product, closes the step. The variables of every
region are followed, so that a stack that is not decomposable or not smooth is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from tfp_spn.circuits.program import MARGINALIZED, Gather, Program, Step, SumSpec
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.regions.base_permutation import BasePermutation
from tfp_spn.layers.regions.base_product import BaseProduct
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.dense_product import DenseProduct
from tfp_spn.layers.regions.dense_sum import DenseSum
from tfp_spn.layers.regions.flat_to_regions import FlatToRegions
from tfp_spn.layers.regions.permute_and_pad_scopes import PermuteAndPadScopes
from tfp_spn.layers.regions.permute_and_pad_scopes_random import (
    PermuteAndPadScopesRandom,
)
from tfp_spn.layers.regions.reduce_product import ReduceProduct
from tfp_spn.layers.regions.root_sum import RootSum

INNER_LAYERS = (
    PermuteAndPadScopes,
    PermuteAndPadScopesRandom,
    DenseSum,
    DenseProduct,
    ReduceProduct,
)


def check_stack(layers: Sequence[Any]) -> None:
    """Checks kind, order and dtype of the layers.

    Raises:
        TypeError: If a layer is of a kind that no program can express.
        ValueError: If the layers do not follow each other as they must.
    """
    for layer in layers:
        if not isinstance(layer, (FlatToRegions, BaseLeaf, *INNER_LAYERS, RootSum)):
            inner = ", ".join(kind.__name__ for kind in INNER_LAYERS)
            raise TypeError(
                f"from_layers: received a layer {_label(layer)}, expected only "
                f"FlatToRegions, a leaf layer, {inner} and RootSum. Remove it, or use "
                "the model as a keras.Model only."
            )
    if (
        len(layers) < 3
        or not isinstance(layers[0], FlatToRegions)
        or not isinstance(layers[1], BaseLeaf)
        or not isinstance(layers[-1], RootSum)
        or not all(isinstance(layer, INNER_LAYERS) for layer in layers[2:-1])
    ):
        received = ", ".join(type(layer).__name__ for layer in layers) or "no layers"
        raise ValueError(
            f"from_layers: received the stack [{received}], expected [FlatToRegions, a "
            "leaf layer, permutations, sums and products, RootSum], the first two and "
            "the last once. Reorder the layers."
        )
    leaf = layers[1]
    for layer in layers[2:]:
        if isinstance(layer, BaseSum) and layer.compute_dtype != leaf.compute_dtype:
            raise ValueError(
                f"from_layers: received {_label(layer)} of dtype {layer.compute_dtype} "
                f"above {_label(leaf)} of dtype {leaf.compute_dtype}; expected one "
                "dtype. Pass the same dtype to the leaf layer and to all sums."
            )


def sum_names(layers: Sequence[Any]) -> dict[str, BaseSum]:
    """The layers with weights by the names of their parameters."""
    names: dict[str, BaseSum] = {}
    for layer in layers:
        if isinstance(layer, RootSum) and layer.return_weighted_child_logits:
            names["prior"] = layer
        elif isinstance(layer, BaseSum):
            names[f"sums_{len(names)}"] = layer
    return names


def permutation_tables(layers: Sequence[Any]) -> list[np.ndarray]:
    """What a program takes from the state of the layers, besides parameters."""
    return [layer.table for layer in layers if isinstance(layer, BasePermutation)]


def compile_stack(layers: Sequence[Any]) -> Program:
    """Compiles built layers, as `check_stack` wants them.

    Raises:
        ValueError: If the stack is not decomposable or not smooth.
    """
    flat, leaf, *inner, root = layers
    num_decomps = flat.num_decomps
    num_variables = leaf.num_slots // num_decomps
    scopes = tuple((v,) for v in range(num_variables) for _ in range(num_decomps))
    stack = _Stack(
        index=np.arange(leaf.num_slots).reshape(num_variables, num_decomps),
        scopes=[
            [frozenset([v]) for _ in range(num_decomps)] for v in range(num_variables)
        ],
        width=leaf.num_components,
        size=leaf.num_slots,
    )
    for layer in inner:
        if isinstance(layer, BasePermutation):
            stack.permute(layer.table)
        elif isinstance(layer, BaseProduct):
            stack.multiply(layer)
        else:
            stack.add_sums(layer)
    _check_root_scopes(root, stack.scopes[0], num_variables)
    prior = stack.close(root)
    return Program(
        leaf=leaf,
        layout=LeafLayout(scopes, num_variables, leaf.num_dims),
        steps=tuple(stack.steps),
        root=stack.gather(stack.index),
        num_classes=stack.index.size * stack.width,
        prior=prior,
        leaf_event_ndims={name: len(v.shape) for name, v in leaf.parameters.items()},
    )


@dataclass
class _Stack:
    """The layers compiled so far.

    Attributes:
        index: ``[S, D]``: positions of the regions in the newest value.
        scopes: ``[S][D]``: the variables of the regions.
        width: Units of each region.
        size: Regions of the newest value.
        steps: The steps.
        factors: ``[S, D]`` each: a product that no step computes yet.
        product: How its factors are multiplied.
        num_sums: Sum layers so far.
    """

    index: np.ndarray
    scopes: list[list[frozenset[int]]]
    width: int
    size: int
    steps: list[Step] = field(default_factory=list)
    factors: list[np.ndarray] = field(default_factory=list)
    product: Literal["hadamard", "kronecker"] = "hadamard"
    num_sums: int = 0

    def gather(self, index: np.ndarray) -> Gather:
        positions = index.reshape(-1).astype(np.int32)
        return Gather((len(self.steps),), (self.size,), positions)

    def permute(self, table: np.ndarray) -> None:
        self.finish_product()
        num_decomps = self.index.shape[1]
        moved = [
            [
                (MARGINALIZED, frozenset())
                if table[d, s] < 0
                else (self.index[table[d, s], d], self.scopes[table[d, s]][d])
                for d in range(num_decomps)
            ]
            for s in range(table.shape[1])
        ]
        self.index = np.array([[position for position, _ in row] for row in moved])
        self.scopes = [[frozenset(scope) for _, scope in row] for row in moved]

    def multiply(self, layer: BaseProduct) -> None:
        self.finish_product()
        num_factors = layer.num_factors
        self.factors = [self.index[a::num_factors] for a in range(num_factors)]
        self.product = layer.product
        self.scopes = [
            [
                _union(layer, s // num_factors, d, list(parts))
                for d, parts in enumerate(
                    zip(*self.scopes[s : s + num_factors], strict=True)
                )
            ]
            for s in range(0, len(self.scopes), num_factors)
        ]

    def finish_product(self) -> None:
        """Makes a step of a product without sums."""
        if self.factors:
            self.emit(None)

    def add_sums(self, layer: DenseSum) -> None:
        self.emit(self.sum_spec(layer, layer.num_sums))

    def close(self, root: RootSum) -> SumSpec | None:
        """Adds the root; returns the prior if the root keeps its children apart."""
        if root.return_weighted_child_logits:
            self.finish_product()
            return _spec("prior", self.index.size * self.width, root)
        self.emit(self.sum_spec(root, 1), num_partitions=self.index.shape[1])
        return None

    def sum_spec(self, layer: BaseSum, num_outputs: int) -> SumSpec:
        self.num_sums += 1
        return _spec(f"sums_{self.num_sums - 1}", num_outputs, layer)

    def emit(self, sums: SumSpec | None, num_partitions: int = 1) -> None:
        tables = self.factors or [self.index]
        step = Step(
            factors=tuple(self.gather(table) for table in tables),
            widths=(self.width,) * len(tables),
            num_regions=tables[0].size // num_partitions,
            num_partitions=num_partitions,
            product=self.product if self.factors else "hadamard",
            sums=sums,
        )
        self.steps.append(step)
        self.size, self.width = step.num_regions, step.num_outputs
        shape = tables[0].shape if num_partitions == 1 else (1, 1)
        self.index = np.arange(self.size).reshape(shape)
        self.factors = []


def _spec(parameter: str, num_outputs: int, layer: BaseSum) -> SumSpec:
    logspace = layer.logspace_accumulators
    return SumSpec(parameter, num_outputs, layer.sum_op, logspace, event_ndims=4)


def _union(
    layer: BaseProduct, scope: int, decomp: int, parts: list[frozenset[int]]
) -> frozenset[int]:
    union = frozenset().union(*parts)
    if len(union) < sum(map(len, parts)):
        shared = sorted(v for v in union if sum(v in part for part in parts) > 1)
        raise ValueError(
            f"from_layers: not decomposable. The factors of {_label(layer)}, output "
            f"scope {scope}, decomposition {decomp}, share the variables {shared}; "
            "expected disjoint factors. Let each variable occur once in each "
            "decomposition of the permutations."
        )
    return union


def _check_root_scopes(
    root: RootSum, scopes: list[frozenset[int]], num_variables: int
) -> None:
    everything = frozenset(range(num_variables))
    missing = {d: sorted(everything - scope) for d, scope in enumerate(scopes)}
    remedy = "Let the permutations hold every variable in every decomposition."
    if any(scope != scopes[0] for scope in scopes):
        listed = "; ".join(f"decomposition {d}: {m}" for d, m in missing.items() if m)
        raise ValueError(
            f"from_layers: not smooth. The children of {_label(root)} cover different "
            f"variables, missing are {listed}; expected all {num_variables} variables "
            f"in each decomposition. {remedy}"
        )
    if missing[0]:
        raise ValueError(
            f"from_layers: the children of {_label(root)} miss the variables "
            f"{missing[0]}; expected all {num_variables} variables. {remedy}"
        )


def _label(layer: Any) -> str:
    name = layer.name if isinstance(layer, keras.layers.Layer) else repr(layer)
    return f'{type(layer).__name__} "{name}"'
