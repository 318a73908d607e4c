"""Checks of a stack of layers before it is compiled.

Either ``[FlatToRegions, leaf, permutations, sums and products, RootSum]`` over regions,
or ``[leaf, spatial products and sums, SpatialToRegions, sums, RootSum]`` over images.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.regions.base_permutation import BasePermutation
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
from tfp_spn.layers.regions.undecompose import Undecompose
from tfp_spn.layers.spatial.conv2d_product import Conv2DProduct
from tfp_spn.layers.spatial.conv2d_sum import Conv2DSum
from tfp_spn.layers.spatial.local2d_sum import Local2DSum
from tfp_spn.layers.spatial.spatial_to_regions import SpatialToRegions
from tfp_spn.programs.parameter_names import PRIOR, sums_name

REGION_LAYERS = (
    PermuteAndPadScopes,
    PermuteAndPadScopesRandom,
    DenseSum,
    DenseProduct,
    ReduceProduct,
    Undecompose,
)
GRID_LAYERS = (Conv2DProduct, Local2DSum, Conv2DSum)
KNOWN_LAYERS = (
    FlatToRegions,
    BaseLeaf,
    *REGION_LAYERS,
    RootSum,
    *GRID_LAYERS,
    SpatialToRegions,
)


def check_stack(layers: Sequence[keras.layers.Layer]) -> None:
    """Checks kind, order and dtype of the layers.

    Raises:
        TypeError: If a layer is of a kind that no program can express.
        ValueError: If the layers do not follow each other as they must.
    """
    for layer in layers:
        if not isinstance(layer, KNOWN_LAYERS):
            regions = ", ".join(kind.__name__ for kind in REGION_LAYERS)
            spatial = ", ".join(kind.__name__ for kind in GRID_LAYERS)
            raise TypeError(
                f"from_layers: received a layer {label_of(layer)}, expected only "
                f"FlatToRegions, a leaf layer, {regions} and RootSum, or {spatial} and "
                "SpatialToRegions. Remove it, or use the model as a keras.Model only."
            )
    if not is_stack(layers):
        received = ", ".join(type(layer).__name__ for layer in layers) or "no layers"
        raise ValueError(
            f"from_layers: received the stack [{received}], expected [FlatToRegions, a "
            "leaf layer, permutations, sums and products, RootSum], the first two and "
            "the last once, or [a leaf layer, Conv2DProduct, Local2DSum and Conv2DSum, "
            "SpatialToRegions, DenseSum, RootSum]. Reorder the layers."
        )
    leaf = leaf_of(layers)
    for layer in layers:
        if isinstance(layer, BaseSum) and layer.compute_dtype != leaf.compute_dtype:
            raise ValueError(
                f"from_layers: received {label_of(layer)} of dtype "
                f"{layer.compute_dtype} above {label_of(leaf)} of dtype "
                f"{leaf.compute_dtype}; expected one dtype. Pass the same dtype to the "
                "leaf layer and to all sums."
            )


def is_stack(layers: Sequence[keras.layers.Layer]) -> bool:
    """Whether the layers are a complete stack, over regions or images."""
    return _is_over_regions(layers) or is_spatial(layers)


def is_spatial(layers: Sequence[keras.layers.Layer]) -> bool:
    """Whether the layers are a complete stack over images."""
    places = [n for n, la in enumerate(layers) if isinstance(la, SpatialToRegions)]
    return (
        len(places) == 1
        and isinstance(layers[0], BaseLeaf)
        and isinstance(layers[-1], RootSum)
        and all(isinstance(layer, GRID_LAYERS) for layer in layers[1 : places[0]])
        and all(_is_inner(layer) for layer in layers[places[0] + 1 : -1])
    )


def leaf_of(layers: Sequence[keras.layers.Layer]) -> BaseLeaf:
    """The leaf layer."""
    return next(layer for layer in layers if isinstance(layer, BaseLeaf))


def _is_over_regions(layers: Sequence[keras.layers.Layer]) -> bool:
    return (
        len(layers) >= 3
        and isinstance(layers[0], FlatToRegions)
        and isinstance(layers[1], BaseLeaf)
        and isinstance(layers[-1], RootSum)
        and all(_is_inner(layer) for layer in layers[2:-1])
    )


def _is_inner(layer: object) -> bool:
    return isinstance(layer, REGION_LAYERS) and not isinstance(layer, GRID_LAYERS)


def sum_names(layers: Sequence[keras.layers.Layer]) -> dict[str, BaseSum]:
    """Returns the layers with weights, by the names of their parameters."""
    names: dict[str, BaseSum] = {}
    for layer in layers:
        if isinstance(layer, RootSum) and layer.return_weighted_child_logits:
            names[PRIOR] = layer
        elif isinstance(layer, BaseSum):
            names[sums_name(len(names))] = layer
    return names


def permutation_tables(layers: Sequence[keras.layers.Layer]) -> list[np.ndarray]:
    """Returns the state of the layers that a program depends on, besides parameters."""
    tables = []
    for layer in layers:
        if isinstance(layer, BasePermutation):
            tables.append(layer.table)
        elif isinstance(layer, Conv2DProduct) and layer.combinations is not None:
            tables.append(layer.combinations)
    return tables


def check_root_scopes(
    root: RootSum, scopes: Sequence[frozenset[int]], num_variables: int
) -> None:
    """Raises a `ValueError` unless all children of the root cover everything."""
    everything = frozenset(range(num_variables))
    missing = {d: sorted(everything - scope) for d, scope in enumerate(scopes)}
    remedy = "Let the permutations hold every variable in every decomposition."
    if any(scope != scopes[0] for scope in scopes):
        listed = "; ".join(f"decomposition {d}: {m}" for d, m in missing.items() if m)
        raise ValueError(
            f"from_layers: not smooth. The children of {label_of(root)} cover "
            f"different variables, missing are {listed}; expected all {num_variables} "
            f"variables in each decomposition. {remedy}"
        )
    if missing[0]:
        raise ValueError(
            f"from_layers: the children of {label_of(root)} miss the variables "
            f"{missing[0]}; expected all {num_variables} variables. {remedy}"
        )


def check_same_scope(
    layer: Undecompose, scope: int, first: int, scopes: Sequence[frozenset[int]]
) -> None:
    """Raises a `ValueError` unless decompositions to be merged have the same variables.

    Args:
        layer: The layer that merges them.
        scope: Which scope of the layer's input they belong to.
        first: Which decomposition is the first of them.
        scopes: Their variables.
    """
    for decomp, variables in enumerate(scopes, first):
        if variables != scopes[0]:
            raise ValueError(
                f"from_layers: not smooth. {label_of(layer)} merges the decompositions "
                f"{first} and {decomp} of scope {scope}, which cover the variables "
                f"{sorted(scopes[0])} and {sorted(variables)}; expected the same. "
                "Multiply until they do, or let the permutations agree."
            )


def check_covers_all(
    label: str, scopes: Sequence[Sequence[frozenset[int]]], num_variables: int
) -> None:
    """Raises a `ValueError` unless every region covers everything.

    Args:
        label: The layer that the regions come from.
        scopes: ``[scopes][decomps]``: the variables of the regions.
        num_variables: The number of variables.
    """
    missing = {
        (s, d): sorted(frozenset(range(num_variables)) - scope)
        for s, row in enumerate(scopes)
        for d, scope in enumerate(row)
    }
    lacking = [(place, variables) for place, variables in missing.items() if variables]
    if lacking:
        (scope, decomp), variables = lacking[0]
        shown = ", ".join(map(str, variables[:8])) + ", ..." * (len(variables) > 8)
        raise ValueError(
            f"{label} ends the template in {len(scopes)} scopes and {len(scopes[0])} "
            f"decompositions, of which {len(lacking)} do not cover all {num_variables} "
            f"variables of a step: scope {scope} of decomposition {decomp} misses "
            f"{len(variables)} of them ({shown}). Add products until one scope is "
            "left, and let the permutations hold every variable."
        )


def label_of(layer: object) -> str:
    """Class and name of a layer, as messages begin."""
    name = layer.name if isinstance(layer, keras.layers.Layer) else repr(layer)
    return f'{type(layer).__name__} "{name}"'
