"""From a stack of layers to a program.

The regions of a layer are a table ``[scopes, decomps]``, or ``[height, width]`` of
cells, of positions in the newest value of the program. Permuting changes the table
only; a product turns it into one table per factor; a sum, or the next product, closes
the step. The variables of every region are followed, so that a stack that is not
decomposable or not smooth is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import keras
import numpy as np

from tfp_spn.circuits.stack_validation import (
    check_covers_all,
    check_root_scopes,
    check_same_scope,
    label_of,
    leaf_of,
    sum_names,
)
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.regions.base_permutation import BasePermutation
from tfp_spn.layers.regions.base_product import BaseProduct
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.dense_sum import DenseSum
from tfp_spn.layers.regions.root_sum import RootSum
from tfp_spn.layers.regions.undecompose import Undecompose
from tfp_spn.layers.spatial.conv2d_product import Conv2DProduct
from tfp_spn.layers.spatial.conv2d_sum import Conv2DSum
from tfp_spn.layers.spatial.grid_scopes import GridScopes
from tfp_spn.layers.spatial.spatial_to_regions import SpatialToRegions
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.steps import MARGINALIZED, Gather, Step, SumSpec


def compile_stack(layers: Sequence[keras.layers.Layer]) -> CircuitProgram:
    """Compiles built layers, as `check_stack` wants them.

    Raises:
        ValueError: If the stack is not decomposable or not smooth.
    """
    root = layers[-1]
    stack, inner = _begin(layers)
    leaf, num_decomps = leaf_of(layers), stack.num_decomps
    num_variables = leaf.num_slots // num_decomps
    grid = stack.index.shape if stack.grid_scopes is not None else None
    for layer in inner[:-1]:
        stack.add(layer)
    check_root_scopes(root, stack.scopes[0], num_variables)
    prior = stack.close(root)
    scopes = tuple((v,) for v in range(num_variables) for _ in range(num_decomps))
    return CircuitProgram(
        leaf=leaf,
        layout=LeafLayout(scopes, num_variables, leaf.num_dims),
        steps=tuple(stack.steps),
        root=stack.gather(stack.index),
        num_classes=stack.index.size * stack.width,
        prior=prior,
        leaf_event_ndims={name: len(v.shape) for name, v in leaf.parameters.items()},
        grid=grid,
    )


def check_template(layers: Sequence[keras.layers.Layer]) -> None:
    """Checks that every region that a stack without a root ends in covers everything.

    Args:
        layers: Built layers, of `KNOWN_LAYERS` only, that begin as a stack does.

    Raises:
        ValueError: If the stack is not decomposable, or a region that it ends in does
            not cover all variables.
    """
    stack, inner = _begin(layers)
    for layer in inner:
        stack.add(layer)
    num_variables = leaf_of(layers).num_slots // stack.num_decomps
    check_covers_all(label_of(layers[-1]), stack.scopes, num_variables)


def _begin(
    layers: Sequence[keras.layers.Layer],
) -> tuple[_Stack, Sequence[keras.layers.Layer]]:
    """Returns a stack of leaves only, and the layers that are to be added."""
    names = iter(sum_names(layers))
    if isinstance(layers[0], BaseLeaf):
        leaf = layers[0]
        stack = _Stack(
            names=names,
            index=np.arange(leaf.num_slots).reshape(leaf.slot_shape),
            scopes=[],
            width=leaf.num_components,
            size=leaf.num_slots,
            grid_scopes=GridScopes.of_pixels(*leaf.slot_shape),
        )
        return stack, layers[1:]
    flat, leaf = layers[:2]
    num_decomps = flat.num_decomps
    num_variables = leaf.num_slots // num_decomps
    stack = _Stack(
        names=names,
        index=np.arange(leaf.num_slots).reshape(num_variables, num_decomps),
        scopes=[[frozenset([v])] * num_decomps for v in range(num_variables)],
        width=leaf.num_components,
        size=leaf.num_slots,
        num_decomps=num_decomps,
    )
    return stack, layers[2:]


@dataclass
class _Stack:
    """The layers compiled so far.

    Attributes:
        names: What the weights of the next sum layers are called.
        index: ``[scopes, decomps]``: positions of the regions in the newest value.
        scopes: ``[scopes][decomps]``: the variables of the regions; empty while there
            is a grid.
        width: Units of each region.
        size: Regions of the newest value.
        steps: The steps.
        factors: ``[scopes, decomps]`` each: a product that no step computes yet.
        product: How its factors are multiplied.
        grid_scopes: The same of cells, while the regions are a grid.
        factor_units: See `Step`, of the product that no step computes yet.
        merged: How many neighbouring regions the next sum ranges over.
        num_decomps: Leaf slots of each variable.
    """

    names: Iterator[str]
    index: np.ndarray
    scopes: list[list[frozenset[int]]]
    width: int
    size: int
    steps: list[Step] = field(default_factory=list)
    factors: list[np.ndarray] = field(default_factory=list)
    product: Literal["hadamard", "kronecker", "chosen"] = "hadamard"
    grid_scopes: GridScopes | None = None
    factor_units: np.ndarray | None = None
    merged: int = 1
    num_decomps: int = 1

    def add(self, layer: keras.layers.Layer) -> None:
        """Adds any layer but the first and the last ones."""
        if self.merged > 1 and not isinstance(layer, DenseSum):
            self.emit(None)
        if isinstance(layer, Conv2DProduct):
            self.convolve(layer)
        elif isinstance(layer, SpatialToRegions):
            self.leave_grid(layer)
        elif isinstance(layer, BasePermutation):
            self.permute(layer.table)
        elif isinstance(layer, BaseProduct):
            self.multiply(layer)
        elif isinstance(layer, Undecompose):
            self.merge(layer)
        else:
            self.add_sums(layer)

    def convolve(self, layer: Conv2DProduct) -> None:
        self.finish_product()
        height, width = self.index.shape
        windows = layer.windows((None, height, width, self.width))
        if self.grid_scopes is not None:
            self.grid_scopes = self.grid_scopes.product(windows, label_of(layer))
        cells = np.append(self.index.reshape(-1), MARGINALIZED)
        self.factors = list(cells[windows.positions])  # -1, padding, is the last cell
        if layer.depthwise:
            self.product = "hadamard"
        elif layer.channel_table is None:  # all combinations, the first cell fastest
            self.product, self.factors = "kronecker", self.factors[::-1]
        else:
            self.product, self.factor_units = "chosen", layer.combinations

    def leave_grid(self, layer: SpatialToRegions) -> None:
        if self.grid_scopes is not None:
            self.grid_scopes.check_complete(label_of(layer))
            height, width = self.grid_scopes.image
            everything = frozenset(range(height * width))
            self.scopes = [[everything] * self.shape[0] * self.shape[1]]
            self.grid_scopes = None
        self.index = self.index.reshape(1, -1)
        self.factors = [table.reshape(1, -1) for table in self.factors]
        self.merged = self.shape[1]

    def merge(self, layer: Undecompose) -> None:
        num_scopes, num_decomps = self.shape
        merged = num_decomps // layer.num_decomps
        for s in range(num_scopes):
            for d in range(0, num_decomps, merged):
                check_same_scope(layer, s, d, self.scopes[s][d : d + merged])
        self.merged = merged

    @property
    def shape(self) -> tuple[int, ...]:
        """``[scopes, decomps]``: regions, of an unfinished product if there is one."""
        return (self.factors[0] if self.factors else self.index).shape

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
            self.merged = 1  # each node is a class, in whatever region
            self.finish_product()
            return self.sum_spec(root, self.index.size * self.width)
        self.merged = self.shape[0] * self.shape[1]
        self.emit(self.sum_spec(root, 1))
        return None

    def sum_spec(self, layer: BaseSum, num_outputs: int) -> SumSpec:
        return SumSpec(
            next(self.names),
            num_outputs,
            layer.sum_op,
            layer.logspace_accumulators,
            event_ndims=4,
            shared=isinstance(layer, Conv2DSum),
        )

    def emit(self, sums: SumSpec | None) -> None:
        tables = self.factors or [self.index]
        num_scopes, num_decomps = tables[0].shape
        step = Step(
            factors=tuple(self.gather(table) for table in tables),
            widths=(self.width,) * len(tables),
            num_regions=tables[0].size // self.merged,
            num_partitions=self.merged,
            product=self.product if self.factors else "hadamard",
            sums=sums,
            factor_units=self.factor_units,
        )
        self.steps.append(step)
        self.size, self.width = step.num_regions, step.num_outputs
        shape = (num_scopes, num_decomps // self.merged)
        self.index = np.arange(self.size).reshape(shape)
        self.scopes = [row[:: self.merged] for row in self.scopes]
        self.factors, self.factor_units = [], None
        self.merged = 1


def _union(
    layer: BaseProduct, scope: int, decomp: int, parts: list[frozenset[int]]
) -> frozenset[int]:
    """Joins the scopes of factors, which must be disjoint."""
    union = frozenset().union(*parts)
    if len(union) < sum(map(len, parts)):
        shared = sorted(v for v in union if sum(v in part for part in parts) > 1)
        raise ValueError(
            f"from_layers: not decomposable. The factors of {label_of(layer)}, output "
            f"scope {scope}, decomposition {decomp}, share the variables {shared}; "
            "expected disjoint factors. Let each variable occur once in each "
            "decomposition of the permutations."
        )
    return union
