"""From region trees to stacks of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from tfp_spn._keras_typing import ConstraintLike, InitializerLike
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.regions.dense_product import DenseProduct
from tfp_spn.layers.regions.dense_sum import DenseSum
from tfp_spn.layers.regions.flat_to_regions import FlatToRegions
from tfp_spn.layers.regions.permute_and_pad_scopes import PermuteAndPadScopes
from tfp_spn.layers.regions.root_sum import RootSum
from tfp_spn.region_graphs import RegionNode, RegionVariable
from tfp_spn.sum_ops import SumRule


def region_graph_to_dense_spn(
    region_graph_root: RegionNode,
    leaf_node: BaseLeaf,
    num_sums_iterable: Iterable[int],
    return_weighted_child_logits: bool,
    logspace_accumulators: bool | None = None,
    accumulator_initializer: InitializerLike = None,
    linear_accumulator_constraint: ConstraintLike = None,
    product_first: bool = True,
    num_classes: int | None = None,
    with_root: bool = True,
    sum_op: SumRule | None = None,
    num_dims: int = 1,
) -> keras.Sequential:
    """A stack of dense products and sums over a tree of regions.

    Every level of the tree is one product over as many factors as the widest of its
    nodes has children; missing children are padded, as variables integrated out. A
    product of ``F`` factors of ``n`` nodes has ``n ** F`` nodes. (For graphs with
    shared regions or several partitions, and for products that do not grow, pass
    ``region_graph_root.to_region_graph()`` to `tfp_spn.circuits.from_region_graph`.)

    In contrast to LibSPN-Keras `logspace_accumulators` defaults to what the learning
    rule asks for.

    Args:
        region_graph_root: Root of the tree; its variables are numbered from 0.
        leaf_node: The leaf layer.
        num_sums_iterable: Sums per region of each layer of sums but the classes and
            the root, from bottom to top: one less than the tree is deep, and one more
            if `product_first` is `False`. Further numbers are not used.
        return_weighted_child_logits: Argument of the `RootSum`.
        logspace_accumulators: Argument of all sums.
        accumulator_initializer: Argument of all sums.
        linear_accumulator_constraint: Argument of all sums.
        product_first: Whether products come right after the leaves; else sums.
        num_classes: Sums below the root, one for each class. `None`: no such layer.
        with_root: Whether to end with a `RootSum`.
        sum_op: Learning rule of all sums.
        num_dims: Dimensions of each variable.

    Returns:
        The model, over data ``[batch, num_variables]`` (``[batch, num_variables,
        num_dims]`` if `num_dims` > 1).

    Raises:
        TypeError: `region_graph_root` is no `RegionNode`.
        ValueError: The variables are not numbered from 0, or there are too few
            `num_sums_iterable`.

    Example:
        >>> import tfp_spn
        >>> a, b, c = map(tfp_spn.RegionVariable, range(3))
        >>> root = tfp_spn.RegionNode([tfp_spn.RegionNode([a, b]), c])
        >>> model = tfp_spn.region_graph_to_dense_spn(
        ...     root, tfp_spn.layers.NormalLeaf(num_components=2), [4],
        ...     return_weighted_child_logits=False)
        >>> [type(layer).__name__ for layer in model.layers]  # doctest: +ELLIPSIS
        ['FlatToRegions', 'NormalLeaf', 'PermuteAndPadScopes', 'DenseProduct', ...]
        >>> model.output_shape
        (None, 1)
    """
    if not isinstance(region_graph_root, RegionNode):
        raise TypeError(
            "region_graph_to_dense_spn: received a root of type "
            f"{type(region_graph_root).__name__}, expected a RegionNode. Build one of "
            "RegionNode and RegionVariable; for a RegionGraph use "
            "tfp_spn.circuits.from_region_graph."
        )
    num_variables = region_graph_root.to_region_graph().num_variables  # and checks
    factors = _factors(region_graph_root)
    permutation = _scopes(region_graph_root, len(factors), factors)
    numbers = iter(num_sums_iterable)
    arguments: dict[str, Any] = {
        "logspace_accumulators": logspace_accumulators,
        "accumulator_initializer": accumulator_initializer,
        "linear_accumulator_constraint": linear_accumulator_constraint,
        "sum_op": sum_op,
        "dtype": leaf_node.compute_dtype,
    }
    shape = (num_variables,) if num_dims == 1 else (num_variables, num_dims)
    layers: list[keras.layers.Layer] = [
        keras.Input(shape, dtype=leaf_node.compute_dtype),
        FlatToRegions(num_decomps=1),
        leaf_node,
        PermuteAndPadScopes([permutation]),
    ]
    needed = len(factors) - (1 if product_first else 0)
    if not product_first:
        layers.append(DenseSum(_next(numbers, needed), **arguments))
    for level, num_factors in enumerate(factors):
        layers.append(DenseProduct(num_factors))
        if level < len(factors) - 1:
            layers.append(DenseSum(_next(numbers, needed), **arguments))
    if num_classes is not None:
        layers.append(DenseSum(num_classes, **arguments))
    if with_root:
        layers.append(RootSum(return_weighted_child_logits, **arguments))
    return keras.Sequential(layers)


def _factors(root: RegionNode) -> list[int]:
    """The most children of a node at each level, bottom to top."""
    widths = [0] * root.depth
    waiting: list[tuple[RegionNode | RegionVariable, int]] = [(root, root.depth)]
    while waiting:
        node, height = waiting.pop()
        if node.children:
            widths[height - 1] = max(widths[height - 1], len(node.children))
            waiting += [(child, height - 1) for child in node.children]
    return widths


def _scopes(
    node: RegionNode | RegionVariable, height: int, factors: list[int]
) -> list[int]:
    """The variables below a node in the order of the leaves, -1 where padded."""
    size = 1
    for factor in factors[:height]:
        size *= factor
    if isinstance(node, RegionVariable):
        found = [node.index]
    else:
        found = [
            variable
            for child in node.children
            for variable in _scopes(child, height - 1, factors)
        ]
    return found + [-1] * (size - len(found))


def _next(numbers: Iterator[int], needed: int) -> int:
    try:
        return next(numbers)
    except StopIteration:
        raise ValueError(
            "region_graph_to_dense_spn: received too few num_sums_iterable, expected "
            f"{needed} numbers, one for each layer of sums from bottom to top. Pass, "
            f"for example, {[8] * needed}."
        ) from None
