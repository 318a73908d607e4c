"""Spatial stacks, and the same node by node: the dense circuits they stand for.

The nodes are made from the layers' arguments and weights alone, by the definition of
each layer; nothing of the package's index tables is used.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np

from tests.expand import _family, _normalized, _product, _sum
from tests.reference.nodes import Leaf, Node, Sum
from tfp_spn import layers

KERNEL = {"kernel_size": [2, 2], "depthwise": True}


def product(dilation: int = 1, padding: str = "full", **kwargs: Any) -> Any:
    arguments = {"strides": [1, 1], "dilations": [dilation] * 2, "padding": padding}
    return layers.Conv2DProduct(**{**KERNEL, **arguments, **kwargs})


def side_by_side(**kwargs: Any) -> Any:
    return product(1, "valid", strides=[2, 2], **kwargs)


# name: (image, number of dimensions, layers between leaf and SpatialToRegions)
STACKS = {
    "side by side": (
        (4, 4),
        1,
        lambda s: [side_by_side(), layers.Local2DSum(3, **s), side_by_side()],
    ),
    "overlapping": (
        (3, 3),
        1,
        lambda s: [product(), layers.Local2DSum(2, **s), product(2, "final")],
    ),
    "three overlapping": (
        (3, 3),
        1,
        lambda s: [
            product(),
            layers.Local2DSum(2, **s),
            product(2),
            layers.Conv2DSum(3, **s),
            product(4, "final"),
        ],
    ),
    "side by side, then overlapping": (
        (4, 4),
        2,
        lambda s: [
            side_by_side(),
            layers.Local2DSum(3, **s),
            product(),
            layers.Local2DSum(2, **s),
            product(2, "final"),
            layers.Conv2DSum(2, **s),
        ],
    ),
    "cells of padding only": (
        (2, 2),
        1,
        lambda s: [
            product(3),
            layers.Local2DSum(3, **s),
            product(1, "valid", kernel_size=[3, 3], strides=[2, 2]),
        ],
    ),
    "all channels": (
        (2, 3),
        1,
        lambda s: [
            product(1, "valid", kernel_size=[1, 3], strides=[1, 3], depthwise=False),
            layers.Conv2DSum(3, **s),
            product(1, "valid", kernel_size=[2, 1], depthwise=False),
        ],
    ),
    "some channels": (
        (3, 3),
        1,
        lambda s: [
            layers.Local2DSum(3, **s),
            product(depthwise=False, num_channels=7, seed=1),
            layers.Local2DSum(2, **s),
            product(2, "final", depthwise=False, num_channels=3, seed=2),
        ],
    ),
    "products of products": (
        (2, 4),
        1,
        lambda s: [
            product(1, "valid", kernel_size=[1, 2], strides=[1, 2]),
            side_by_side(depthwise=False, num_channels=3, seed=3),
        ],
    ),
    "one cell": ((1, 1), 1, lambda s: [product(1, "valid", kernel_size=[1, 1])]),
}
# What follows SpatialToRegions.
TOPS = {
    "sums": lambda s: [layers.DenseSum(2, **s), layers.RootSum(False, **s)],
    "root": lambda s: [layers.RootSum(False, **s)],
    "classes": lambda s: [layers.DenseSum(3, **s), layers.RootSum(**s)],
    "cells as classes": lambda s: [layers.RootSum(**s)],
}
LEAVES = {
    "normal": lambda dt: layers.NormalLeaf(2, scale_trainable=True, dtype=dt),
    "bernoulli": lambda dt: layers.BernoulliLeaf(2, dtype=dt),
    "indicator": lambda dt: layers.IndicatorLeaf(2, dtype=dt),
}


def make_model(
    name: str,
    top: str = "sums",
    leaf: str = "normal",
    dtype: str = "float64",
    sum_op: Any = None,
    seed: int = 0,
) -> keras.Sequential:
    """A stack with parameters away from their initial values."""
    image, num_dims, body = STACKS[name]
    arguments = {"dtype": dtype, "sum_op": sum_op}
    model = keras.Sequential(
        [
            keras.Input((*image, num_dims), dtype=dtype),
            LEAVES[leaf](dtype),
            *body(arguments),
            layers.SpatialToRegions(),
            *TOPS[top](arguments),
        ]
    )
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        positive = getattr(variable, "is_em_accumulator", False)
        draw = rng.gamma if positive else rng.normal
        variable.assign(draw(1.0, size=variable.shape))
    return model


def examples(model: keras.Sequential, count: int = 4, seed: int = 1) -> tuple:
    """Images ``[N, h, w, D]`` and a mask ``[N, h, w]`` of half of the pixels each."""
    rng = np.random.default_rng(seed)
    shape = (count, *model.input_shape[1:])
    if isinstance(model.layers[0], layers.NormalLeaf):
        x = rng.normal(size=shape)
    else:
        x = rng.integers(0, 2, size=shape)
    return x.astype(model.layers[0].compute_dtype), rng.random(shape[:3]) < 0.5


def as_rows(x: np.ndarray) -> Any:
    """Images as examples of the reference: one value (or vector) per pixel."""
    flat = x.reshape(len(x), -1, x.shape[-1])
    return flat[..., 0] if x.shape[-1] == 1 else flat


def nodes_of_model(model: keras.Sequential) -> tuple:
    """The root over all classes, each class, and each sum layer's nodes by position.

    Nodes of layers with shared weights are listed cell by cell as well.
    """
    sums: dict[str, np.ndarray] = {}
    grid: Any = None
    for layer in model.layers:
        if grid is None:
            grid = _leaves(layer)
        elif isinstance(layer, layers.Conv2DProduct):
            grid = _windows(layer, grid)
        elif isinstance(layer, layers.SpatialToRegions):
            grid = [[list(itertools.chain(*itertools.chain(*grid)))]]
        elif isinstance(layer, layers.RootSum):
            weights = _weights(layer)[0, 0, :, 0]
            root = Sum(grid[0][0], weights)
            classes = [root]
            if layer.return_weighted_child_logits:
                classes = grid[0][0]
            sums[layer.name] = np.array([[[root]]], object)
            return root, classes, weights, sums
        else:
            grid = _sums(layer, grid)
            sums[layer.name] = np.array(grid, object)
    raise AssertionError("no RootSum")


def _leaves(leaf: Any) -> list[list[list[Node]]]:
    height, width = leaf.slot_shape
    params = leaf.canonical(leaf.live_params())

    def component(i: int, j: int, k: int) -> Node:
        slot = i * width + j
        return Leaf(slot, _family(leaf, params, slot, k, leaf.num_dims))

    return [
        [[component(i, j, k) for k in range(leaf.num_components)] for j in range(width)]
        for i in range(height)
    ]


def _windows(layer: Any, grid: list) -> list:
    size = (len(grid), len(grid[0]))
    lead, count = [], []
    for axis in range(2):
        reach = (layer.kernel_size[axis] - 1) * layer.dilations[axis]
        pad = {"valid": (0, 0), "full": (reach, reach)}.get(layer.padding)
        if pad is None:
            pad = (2 * reach - size[axis], 0) if reach else (0, 0)
        lead.append(pad[0])
        room = size[axis] + sum(pad) - reach
        count.append(-(-room // layer.strides[axis]))

    def cell(i: int, j: int) -> list | None:
        inside = 0 <= i < size[0] and 0 <= j < size[1]
        return grid[i][j] if inside else None

    def output(i: int, j: int) -> list:
        i, j = i * layer.strides[0] - lead[0], j * layer.strides[1] - lead[1]
        cells = [
            cell(i + a * layer.dilations[0], j + b * layer.dilations[1])
            for a in range(layer.kernel_size[0])
            for b in range(layer.kernel_size[1])
        ]
        channels = len(grid[0][0])
        if layer.depthwise:
            chosen = [[k] * len(cells) for k in range(channels)]
        elif layer.channel_table is None:  # the first cell is the fastest digit
            digits = itertools.product(range(channels), repeat=len(cells))
            chosen = [d[::-1] for d in digits]
        else:
            chosen = np.array(layer.channel_table).T.tolist()
        return [
            _product([c[k] for c, k in zip(cells, ks, strict=True) if c is not None])
            for ks in chosen
        ]

    return [[output(i, j) for j in range(count[1])] for i in range(count[0])]


def _sums(layer: Any, grid: list) -> list:
    weights = _weights(layer)

    def cell(i: int, j: int) -> list:
        own = weights[0, 0] if isinstance(layer, layers.Conv2DSum) else weights[i, j]
        return [_sum(grid[i][j], own[:, o]) for o in range(layer.num_sums)]

    return [[cell(i, j) for j in range(len(grid[0]))] for i in range(len(grid))]


def _weights(layer: Any) -> np.ndarray:
    weights = np.array(layer.accumulators, np.float64)
    if layer.logspace_accumulators:
        weights = np.exp(weights - weights.max(-2, keepdims=True))
    weights = weights / weights.sum(-2, keepdims=True)
    return np.apply_along_axis(_normalized, -2, weights)
