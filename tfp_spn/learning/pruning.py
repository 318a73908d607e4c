"""Pruning: smaller circuits that know almost as much."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_count, a_rate, one_of, reads
from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit
from tfp_spn.circuits.resized import UnitClasses, Units
from tfp_spn.learning.batch_functions import log_likelihood_under
from tfp_spn.learning.batches import Batch, Batches
from tfp_spn.learning.expectation_maximization import ExpectationMaximization
from tfp_spn.learning.expected_counts_of_data import batches_of, expected_counts
from tfp_spn.learning.log_likelihood import LogLikelihood, mean_of_examples
from tfp_spn.learning.maximization import as_circuit
from tfp_spn.learning.replicas import Replicas
from tfp_spn.ops.certainty import Certainty
from tfp_spn.programs.nodes import Node
from tfp_spn.programs.parameter_names import PRIOR, sums_name
from tfp_spn.programs.program import Program

By = Literal["flow", "edge_flow"]


@dataclass(frozen=True)
class Pruning:
    """What pruning did; log-likelihoods are means per example, in nats.

    Attributes:
        num_edges: Weights of sums that are not zero.
        num_edges_before: Those of the old circuit.
        log_likelihood: Of the data, under the new circuit.
        log_likelihood_before: Under the old one.
        bound: The most that pruning alone could have lost: ``-mean log P(no pruned edge
            is used | x)``. Renormalised weights and M-steps regain some of it.
    """

    num_edges: int
    num_edges_before: int
    log_likelihood: float
    log_likelihood_before: float
    bound: float


@reads(
    fraction=a_rate(least=0, below=1),
    by=one_of("flow", "edge_flow"),
    epochs=a_count(least=0),
)
def prune(
    circuit: Circuit,
    x: TensorLike,
    fraction: float,
    *,
    by: By = "flow",
    observed: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    epochs: int = 5,
) -> RegionGraphCircuit:
    """Removes the edges of sums that data use least [1].

    With ``by="flow"`` whole units go: in each region (together with the regions that it
    is multiplied with, whose units are the states of one latent variable) those of the
    smallest expected count, equally many everywhere, until `fraction` of the edges is
    gone. What is left is a narrower circuit of the same structure, dense and faster.

    With ``by="edge_flow"`` single edges go, those of the smallest expected counts of
    the whole circuit: their weights are zero (``-inf`` as logarithms), and stay zero
    under EM. That loses far less; the circuit is smaller to store, but no faster, save
    for units that are left without an edge.

    Args:
        circuit: A circuit of `tfp_spn.circuits.from_region_graph`, or a distribution
            over one. It is left as it is.
        x: The data, ``[N, V]``.
        fraction: Part of the edges, from 0 to below 1.
        by: What is removed, and by which measure.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each example counts, ``[N]``.
        epochs: M-steps of full-batch EM on `x` afterwards, in which what is left takes
            over from what is gone. With 0 weights are only renormalised.

    Returns:
        A new circuit, which saves and loads as any other. Its attribute `pruning` is a
        `Pruning`: what is left, and a bound on what it cost.

    Raises:
        TypeError: The circuit is of another kind, or data are of a wrong type.
        ValueError: A wrong argument, shape or value.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=4), num_sums=4)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> smaller = tfp_spn.learning.prune(circuit, x, 0.5)
        >>> smaller.count_params() < circuit.count_params()
        True

    References:
        [1]: Dang, Liu, Van den Broeck. Sparse probabilistic circuits via pruning and
        growing. NeurIPS, 2022.
    """
    circuit = as_circuit(circuit)
    classes = UnitClasses(circuit, "prune")
    batches = batches_of(circuit, x, observed, sample_weight)
    counts = expected_counts(circuit, batches)
    before = LogLikelihood(circuit)(batches())
    if by == "flow":
        new, kept = _narrower(classes, counts, fraction)
    else:
        new, kept = _sparser(classes, counts, fraction)
    bound = before - _kept_log_likelihood(circuit, batches, kept)
    em = ExpectationMaximization(new, pseudocount=0.0)
    for _ in range(epochs):
        em.epoch(batches())
    new.pruning = Pruning(
        num_edges=_num_edges(new),
        num_edges_before=_num_edges(circuit),
        log_likelihood=LogLikelihood(new)(batches()),
        log_likelihood_before=before,
        bound=bound,
    )
    return new


def _narrower(
    classes: UnitClasses, counts: dict[str, np.ndarray], fraction: float
) -> tuple[RegionGraphCircuit, dict[str, np.ndarray]]:
    flows = classes.flows(counts)
    widths = sorted({classes.sizes[c] for c in classes.resizable}, reverse=True)
    total = _edges_of(classes, {width: width for width in widths})
    # Widths in proportion, as wide as the fraction allows.
    part = 1.0
    for part in np.linspace(1.0, 0.0, 1001):
        new = {width: max(1, int(np.ceil(part * width))) for width in widths}
        if _edges_of(classes, new) <= (1 - fraction) * total + 1e-9:
            break
    units = {
        c: np.sort(np.argsort(-flows[c], kind="stable")[: new[classes.sizes[c]]])
        for c in classes.resizable
    }
    kept = {}
    for number, group in enumerate(classes.storage.groups):
        rows = []
        for node, count in zip(group, counts[sums_name(number)], strict=True):
            rows.append(_mask(classes, node, units, count.shape))
        kept[sums_name(number)] = np.stack(rows)
    return classes.resized(units), kept


def _mask(
    classes: UnitClasses, node: Node, units: Units, shape: tuple[int, ...]
) -> np.ndarray:
    """Which weights ``[I, O]`` of a node are those of units that stay."""

    def of_class(c: int) -> np.ndarray:
        size = classes.sizes[c]
        return np.isin(np.arange(size), units[c]) if c in units else np.ones(size, bool)

    inputs = []
    for each in classes.inputs_of(node):
        mask = np.ones(1, bool)
        for c in each:
            mask = np.logical_and.outer(mask, of_class(c)).ravel()
        inputs.append(mask)
    outputs = of_class(classes.class_of(node))
    if node in classes.tops:
        outputs = np.ones(shape[1], bool)
    return np.concatenate(inputs)[:, np.newaxis] & outputs


def _edges_of(classes: UnitClasses, width_of: dict[int, int]) -> int:
    """Number of weights, if classes have other widths."""

    def width(c: int) -> int:
        size = classes.sizes[c]
        return width_of[size] if c in classes.resizable else size

    return sum(
        sum(int(np.prod([width(c) for c in each])) for each in classes.inputs_of(node))
        * (node.width if node in classes.tops else width(classes.class_of(node)))
        for group in classes.storage.groups
        for node in group
    )


def _sparser(
    classes: UnitClasses, counts: dict[str, np.ndarray], fraction: float
) -> tuple[RegionGraphCircuit, dict[str, np.ndarray]]:
    circuit = classes.circuit
    if not circuit.program.sum_specs[0].logspace:
        raise ValueError(
            "prune: edges cannot be kept at zero, received a circuit whose weights are "
            "stored as they are, expected logarithms. Use by='flow', or build the "
            "circuit with another sum_op."
        )
    params = {name: circuit.live_params()[name].numpy() for name in counts}
    alive = {name: np.isfinite(value) for name, value in params.items()}
    spare = {}
    for name, count in counts.items():
        # Each sum keeps its strongest child, also one that the data never use.
        strongest = params[name] == params[name].max(-2, keepdims=True)
        unused = count.sum(-2, keepdims=True) == 0
        best = np.where(unused, strongest, count == count.max(-2, keepdims=True))
        spare[name] = alive[name] & ~best
    flat = np.sort(np.concatenate([counts[name][spare[name]] for name in counts]))
    number = int(fraction * sum(int(mask.sum()) for mask in alive.values()))
    number = min(number, len(flat))
    least = flat[number - 1] if number else -np.inf
    kept = {
        name: alive[name] & ~(spare[name] & (count <= least))
        for name, count in counts.items()
    }
    sizes = {c: np.arange(classes.sizes[c]) for c in classes.resizable}
    new = classes.resized(sizes)
    for name, mask in kept.items():
        variable = new.live_params()[name]
        variable.assign(np.where(mask, variable.numpy(), -np.inf))
    return new, kept


def _num_edges(circuit: Circuit) -> int:
    specs = circuit.program.sum_specs
    least = -np.inf if specs[0].logspace else 0.0
    names = {spec.parameter for spec in specs} - {PRIOR}
    params = circuit.live_params()
    return int(sum(np.sum(params[name].numpy() > least) for name in names))


@dataclasses.dataclass(frozen=True)
class _Kept:
    """The log-likelihood if only some edges may be used, weights as they are."""

    names: tuple[str, ...]

    def __call__(
        self,
        program: Program,
        certainty: Certainty,
        params: Params,
        values: tuple[Batch, list[Tensor]],
    ) -> tuple[Tensor, Tensor]:
        batch, masks = values
        tables = program.tables(params, certainty)
        packed = program.packed(dict(zip(self.names, masks, strict=True)))
        log_weights = {
            name: tf.where(packed[name] > 0, value, -float("inf"))
            for name, value in tables.log_weights.items()
        }
        weights = {name: v * packed[name] for name, v in tables.weights.items()}
        tables = tables.replaced(log_weights=log_weights, weights=weights)
        return log_likelihood_under(program, tables, batch)


def _kept_log_likelihood(
    circuit: Circuit, batches: Batches, kept: dict[str, np.ndarray]
) -> float:
    names = tuple(sorted(kept))
    masks = [tf.constant(kept[name], circuit.program.dtype) for name in names]
    values = ((batch, masks) for batch in batches())
    found = Replicas(circuit).total_of("prune", _Kept(names), values)
    return mean_of_examples(*map(float, found))
