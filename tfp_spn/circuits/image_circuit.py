"""Circuits over images, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import keras

from tfp_spn._arguments import LARGEST_SEED, a_count, a_seed, reads
from tfp_spn.circuits.from_region_graph import (
    RegionGraphCircuit,
    SumProduct,
    from_region_graph,
)
from tfp_spn.initializers.dirichlet import Dirichlet
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.binomial_leaf import BinomialLeaf
from tfp_spn.layers.leaves.categorical_leaf import CategoricalLeaf
from tfp_spn.layers.leaves.discretized_logistic_leaf import DiscretizedLogisticLeaf
from tfp_spn.layers.leaves.mixed_leaf import as_leaf
from tfp_spn.layers.leaves.normal_leaf import NormalLeaf
from tfp_spn.region_graphs import (
    RegionGraph,
    poon_domingos,
    quad_graph,
    quad_tree,
    random_binary_trees,
)
from tfp_spn.region_graphs.arguments import as_shape

RegionGraphName = Literal[
    "quad-graph", "quad-tree-2", "quad-tree-4", "random-binary-tree", "poon-domingos"
]
LeafName = Literal["categorical", "binomial", "normal", "discretized-logistic"]

_NUM_VALUES = 256
_NUM_UNITS = 16


@reads(
    num_leaf_units=a_count(),
    num_sum_units=a_count(),
    num_classes=a_count(),
    channels=a_count(),
    seed=a_seed(most=LARGEST_SEED),
)
def image_circuit(
    shape: Sequence[int],
    region_graph: RegionGraphName | RegionGraph = "quad-graph",
    leaf: LeafName | BaseLeaf = "categorical",
    num_leaf_units: int | None = None,
    num_sum_units: int = _NUM_UNITS,
    sum_product: SumProduct = "cp",
    num_classes: int = 1,
    channels: int = 1,
    seed: int = 0,
    **arguments: Any,
) -> RegionGraphCircuit:
    """Builds a circuit over images, whose classes share all but their roots.

    Pixel (i, j) is variable ``i * width + j``; its channels are the dimensions of that
    variable, so that they are in one leaf region, and independent within a component.
    Images ``[batch, height, width]`` become data by ``x.reshape(len(x), -1)``, those of
    several channels by ``x.reshape(len(x), -1, channels)``.

    Args:
        shape: The height and width of the images.
        region_graph: The structure. ``"quad-graph"``: `quad_graph`. ``"quad-tree-2"``
            and ``"quad-tree-4"``: `quad_tree`, in two or four parts.
            ``"random-binary-tree"``: `random_binary_trees`, a single one that is as
            deep as possible. ``"poon-domingos"``: `poon_domingos`, with cuts at an
            eighth of the longer side. Or a `RegionGraph` over all pixels.
        leaf: Components of each pixel. ``"categorical"``, ``"binomial"`` and
            ``"discretized-logistic"`` are over integers from 0 to 255, ``"normal"``
            over real numbers (with learned scales; begins around 0). Or an unused leaf
            layer, such as ``CategoricalLeaf(16, num_categories=17)``.
        num_leaf_units: Components of each leaf region. Default: those of the leaf
            layer, or 16.
        num_sum_units: Sums of each region.
        sum_product: ``"cp"``, ``"cp-t"`` or ``"tucker"``, see `from_region_graph`.
        num_classes: Number of classes. With one the circuit is ``p(x)``.
        channels: Channels of each pixel.
        seed: Seed of the random binary tree and of initial weights.
        **arguments: Passed on to `from_region_graph`, such as `class_prior`,
            `leaf_sums` or `sum_op`. `accumulator_initializer` is ``Dirichlet(alpha=1)``
            by default; from sparse weights (``alpha=0.2``) classes part sooner, and
            purely discriminative training needs them.

    Returns:
        A `keras.Model` that maps ``[batch, height * width]`` (``[batch, height * width,
        channels]`` of several channels) to ``log p(x, class)``.

    Raises:
        TypeError: An argument is of another type.
        ValueError: A name is unknown, or sizes do not fit together.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.image_circuit(
        ...     (4, 4), leaf="discretized-logistic", num_leaf_units=2, num_sum_units=2,
        ...     num_classes=10, channels=3)
        >>> colours = np.random.default_rng(0).integers(0, 256, [5, 4, 4, 3])
        >>> circuit(colours.reshape(5, -1, 3)).shape.as_list()
        [5, 10]

    References:
        [1]: The april-tools library cirkit, `cirkit.templates.data_modalities`.
            https://github.com/april-tools/cirkit
    """
    height, width = as_shape(shape)
    graph = _as_graph(region_graph, (height, width), seed)
    layer = _as_leaf(leaf, num_leaf_units, seed)
    arguments.setdefault("accumulator_initializer", Dirichlet(alpha=1.0, seed=seed))
    return from_region_graph(
        graph,
        layer,
        num_sum_units,
        sum_product,
        num_classes,
        num_dims=channels,
        **arguments,
    )


def _poon_domingos(shape: tuple[int, int], seed: int) -> RegionGraph:
    return poon_domingos(shape, delta=-(-max(shape) // 8))


def _random_binary_tree(shape: tuple[int, int], seed: int) -> RegionGraph:
    num_pixels = shape[0] * shape[1]
    return random_binary_trees(num_pixels, num_pixels.bit_length() - 1, 1, seed)


_GRAPHS: dict[str, Callable[[tuple[int, int], int], RegionGraph]] = {
    "quad-graph": lambda shape, _: quad_graph(shape),
    "quad-tree-2": lambda shape, _: quad_tree(shape, num_splits=2),
    "quad-tree-4": lambda shape, _: quad_tree(shape, num_splits=4),
    "random-binary-tree": _random_binary_tree,
    "poon-domingos": _poon_domingos,
}


def _as_graph(region_graph: object, shape: tuple[int, int], seed: int) -> RegionGraph:
    num_pixels = shape[0] * shape[1]
    if isinstance(region_graph, RegionGraph):
        if region_graph.num_variables != num_pixels:
            raise ValueError(
                "image_circuit: the region graph does not fit the images, received "
                f"one over {region_graph.num_variables} variables and shape={shape}, "
                f"expected {num_pixels}. Build it for (height, width) alone: all "
                "channels of a pixel are one variable."
            )
        return region_graph
    if not isinstance(region_graph, str):
        raise TypeError(
            "image_circuit: region_graph must be a name or a RegionGraph, received "
            f"{type(region_graph).__name__}. Known names: {_listed(_GRAPHS)}."
        )
    if region_graph not in _GRAPHS:
        raise ValueError(
            f"image_circuit: the region graph is unknown, received {region_graph!r}, "
            f"expected one of {_listed(_GRAPHS)}. Or pass a RegionGraph of "
            "tfp_spn.region_graphs."
        )
    return _GRAPHS[region_graph](shape, seed)


_LEAVES: dict[str, Callable[[int, int], BaseLeaf]] = {
    "categorical": lambda units, seed: CategoricalLeaf(
        units, _NUM_VALUES, keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    ),
    "binomial": lambda units, seed: BinomialLeaf(
        units, _NUM_VALUES - 1, keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    ),
    "normal": lambda units, seed: NormalLeaf(
        units,
        keras.initializers.TruncatedNormal(stddev=1.0, seed=seed),
        scale_trainable=True,
    ),
    "discretized-logistic": lambda units, seed: DiscretizedLogisticLeaf(
        units, _NUM_VALUES, keras.initializers.RandomUniform(0.0, 1.0, seed=seed)
    ),
}


def _as_leaf(leaf: object, num_units: int | None, seed: int) -> BaseLeaf:
    if isinstance(leaf, str):
        if leaf not in _LEAVES:
            raise ValueError(
                f"image_circuit: the leaf is unknown, received {leaf!r}, expected one "
                f"of {_listed(_LEAVES)}. Or pass a leaf layer of tfp_spn.layers."
            )
        return _LEAVES[leaf](_NUM_UNITS if num_units is None else num_units, seed)
    leaf = as_leaf(leaf)
    if not isinstance(leaf, BaseLeaf):
        raise TypeError(
            "image_circuit: leaf must be a name or a leaf layer, received "
            f"{type(leaf).__name__}. Known names: {_listed(_LEAVES)}."
        )
    if num_units not in (None, leaf.num_components):
        raise ValueError(
            "image_circuit: the leaf layer has its own number of components, received "
            f"num_leaf_units={num_units} and num_components={leaf.num_components}, "
            "expected equal ones. Leave out num_leaf_units."
        )
    return leaf


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
