"""Weights of a circuit by region, whatever variables they are kept in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tfp_spn.circuits.from_region_graph import (
    KINDS_OF_LEAF_SUMS,
    RegionGraphCircuit,
)
from tfp_spn.programs.nodes import Node, nodes_of
from tfp_spn.programs.storage import Storage, storage_of


def unfolded(circuit: RegionGraphCircuit) -> tuple[list[Node], Storage]:
    """Returns the nodes of the roots, and where the weights of all are kept."""
    config = circuit.arguments
    tops = nodes_of(
        circuit.region_graph,
        circuit.leaf.num_components,
        config["num_sums"],
        config["num_classes"],
        KINDS_OF_LEAF_SUMS[config["leaf_sums"]],
    )
    is_tucker = config["sum_product"] == "tucker"
    return tops, storage_of(tops, "kronecker" if is_tucker else "hadamard")


def regions_of_leaves(circuit: RegionGraphCircuit) -> list[int]:
    """The leaf regions in the order of the leaf layer's parameters."""
    _, storage = unfolded(circuit)
    return [node.region for node in storage.leaves]


def assign_log_weights(
    circuit: RegionGraphCircuit, log_weights: Mapping[int, npt.ArrayLike]
) -> None:
    """Gives regions their weights; those of other regions stay as they are.

    Args:
        circuit: A circuit of ``sum_product="cp"`` or ``"cp-t"``.
        log_weights: By region, ``[partitions, products, sums]``: partitions in the
            order of the region graph, products of one partition, sums of the region. A
            leaf region has one partition, of its components. They are normalised over
            the first two axes; -inf is legal.

    Raises:
        ValueError: The circuit has other products, a region has no sums, its weights
            have another shape, or those of a sum add up to zero or are not numbers.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.RegionGraph([(0,)], []),
        ...     tfp_spn.layers.BernoulliLeaf(2), num_sums=1)
        >>> tfp_spn.circuits.assign_log_weights(
        ...     circuit, {0: np.log([[[1.0], [3.0]]])})
        >>> np.exp(circuit.sums[0].accumulators.numpy()).ravel().tolist()
        [0.25, 0.75]
    """
    if circuit.arguments["sum_product"] == "tucker":
        raise ValueError(
            'assign_log_weights: received a circuit of sum_product="tucker", expected '
            '"cp" or "cp-t". Build the circuit with sum_product="cp".'
        )
    pending = {r: np.asarray(w, np.float64) for r, w in log_weights.items()}
    values = {layer.name: layer.accumulators.numpy() for layer in circuit.sums}
    unseen = set(pending)
    for name, row, node in _nodes_with_sums(circuit):
        if node.region in pending:
            unseen.discard(node.region)
            weights = _of_node(node, pending[node.region])
            _check(node, weights, values[name].shape[1:])
            total = np.logaddexp.reduce(weights, axis=0)
            values[name][row] = weights - total
    if unseen:
        raise ValueError(
            f"assign_log_weights: regions {sorted(unseen)} have no sums, expected "
            "regions that have some. Leaf regions have them with leaf_sums=True."
        )
    for layer in circuit.sums:
        value = values[layer.name]
        if not layer.sum_weights.logspace_accumulators:
            value = np.exp(value)
        layer.accumulators.assign(value)


def _nodes_with_sums(circuit: RegionGraphCircuit) -> Iterator[tuple[str, int, Node]]:
    """The variable of each node's weights, and the row there."""
    _, storage = unfolded(circuit)
    for name, group in zip(storage.sum_shapes, storage.groups, strict=True):
        for row, node in enumerate(group):
            yield name, row, node


def _of_node(node: Node, weights: np.ndarray) -> np.ndarray:
    """``[I, O]`` of a node, given the weights ``[H, P, S]`` of its region.

    Partitions of unequal arity are summed by nodes of their own first, and these by
    the region's: sum ``s`` there ranges over the sums ``s`` below.
    """
    num_sums = weights.shape[-1]
    if node.numbers:
        own = weights[list(node.numbers)].reshape(-1, num_sums)
        if len(node.numbers) < len(weights):  # sums that use no partition of this kind
            unused = np.logaddexp.reduce(own, axis=0) == -np.inf
            own = np.where(unused, 0.0, own)
        if node.width == num_sums:
            return own
        rest = np.zeros([len(own), node.width - num_sums])  # nobody reads these
        return np.concatenate([own, rest], axis=-1)
    if node.children[0].region != node.region or not node.children[0].partitions:
        return weights.reshape(-1, num_sums)  # of a leaf region
    result = np.full([len(node.children), node.children[0].width, num_sums], -np.inf)
    for number, child in enumerate(node.children):
        own = weights[list(child.numbers)].reshape(-1, num_sums)
        index = np.arange(num_sums)
        result[number, index, index] = np.logaddexp.reduce(own, axis=0)
    return result.reshape(-1, num_sums)


def _check(node: Node, weights: np.ndarray, shape: tuple[int, ...]) -> None:
    if weights.shape != shape:
        raise ValueError(
            f"assign_log_weights: weights of region {node.region} make "
            f"{weights.shape[0]} inputs of {weights.shape[1]} sums, expected "
            f"{shape[0]} and {shape[1]}. Pass [partitions, products, sums]."
        )
    total = np.logaddexp.reduce(weights, axis=0)
    if not np.all(np.isfinite(total)):
        raise ValueError(
            f"assign_log_weights: log-weights of region {node.region} add up to "
            f"{total}, expected finite numbers. Give each sum a positive weight."
        )
