"""Latent variables that begin as clusters of the data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_spn._arguments import a_count, a_seed, reads
from tfp_spn._clustering import cluster_labels, drawn_rows, import_cluster, points_of
from tfp_spn._typing import Expectations, TensorLike
from tfp_spn.circuits.data import Data
from tfp_spn.circuits.resized import UnitClasses
from tfp_spn.learning.batches import Batches
from tfp_spn.learning.data_validation import flattened, validated
from tfp_spn.learning.expectations import add_expectations, to_float64
from tfp_spn.learning.initialization import initialize_leaves
from tfp_spn.learning.maximization import as_circuit, maximize, trainable_names
from tfp_spn.learning.starting_point import is_new, start_from
from tfp_spn.programs.nodes import Node
from tfp_spn.programs.parameter_names import PRIOR, sums_name

_OWNER = "distill"
_PSEUDOCOUNT = 1.0
_NUM_ITERATIONS = 10
_NUM_M_STEPS = 3
"""At most: those of some families depend on where the parameters are."""

_MAX_INDICATORS = 16
"""Integers with more different values are numbers rather than categories."""

_MAX_FLOW = 2**24
"""Numbers in the responsibilities of a batch."""

_MAX_BATCH = 1000

_Codes = dict[int, npt.NDArray[np.int64]]
"""The state of each latent variable, by class of units, in each row."""


@reads(max_rows=a_count(), seed=a_seed())
def distill(
    spn: object,
    x: TensorLike,
    *,
    observed: TensorLike = None,
    labels: TensorLike = None,
    sample_weight: TensorLike = None,
    max_rows: int = 10_000,
    seed: int = 0,
) -> None:
    """Sets all parameters so that latent variables are clusters of the data.

    A circuit is a mixture over latent variables: their states are the units that are
    multiplied one by one. EM begins with states that mean nothing, and has to find a
    meaning for all of them at once. Here each gets one first [1]: k-means clusters the
    rows by the variables below it, and the clusters are its states,

        p(z = j | parent = k) = (N[j, k] + 1 / I) / (N[k] + 1)

    over ``I`` inputs of a sum, with the counts ``N`` of rows in both clusters (each of
    several partitions adds its own to both); leaves begin with M-steps on their
    clusters, from where `initialize_leaves` has put them. A state without rows keeps
    its weights, in a new circuit random ones. `fit` goes on from here, if not told to
    initialize, in a fraction of the updates, and mostly to a better end. Online EM
    should take small steps: 0.1 to 0.3.

    Rows are compared in squared distance: integers with at most 16 different values (of
    variables of one dimension) as indicators, other values in standard deviations,
    missing ones at the mean. On an error or Ctrl-C parameters are as before.

    Args:
        spn: A circuit of `tfp_spn.circuits.from_region_graph`, or a distribution over
            one. Only trainable parameters are set.
        x: ``[N, V]``, ``[N, V, D]`` or ``[N, height, width, D]``.
        observed: bool ``[N, V]`` or ``[N, height, width]``: which values count.
            Default: all.
        labels: Classes, int ``[N]``, of a circuit with several roots. Default: roots
            are states like others.
        sample_weight: How often each row counts, ``[N]``. Default: once.
        max_rows: Of more rows so many are drawn, by their weights.
        seed: Of all that is drawn.

    Raises:
        ImportError: scikit-learn is not installed.
        TypeError: The circuit is of another kind, or the data are not numbers.
        ValueError: Data of a wrong shape, or with impossible values.
        NotImplementedError: The leaves have no M-step.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.repeat([[0, 0, 1], [1, 1, 0]], 50, axis=0)
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.hidden_chow_liu_tree(x),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2,
        ...     leaf_sums=False)
        >>> tfp_spn.learning.distill(circuit, x)
        >>> spn = tfp_spn.distributions.SumProductNetwork(circuit)
        >>> round(float(spn.prob([1, 1, 0])), 1)
        0.5

    References:
        [1]: Liu, Zhang, Van den Broeck. Scaling up probabilistic circuits by latent
        variable distillation. ICLR 2023. (There the clusters are of a neural network's
        embeddings.)
    """
    circuit = as_circuit(spn)
    classes = UnitClasses(circuit, _OWNER)
    data = validated(circuit.program, Data(x, observed, labels, sample_weight))
    import_cluster(_OWNER)  # before anything is changed
    rng = np.random.default_rng([seed, 3])
    before = circuit.get_weights()
    try:
        _distill(classes, _some_rows(data, max_rows, rng), seed, rng)
    except BaseException:
        circuit.set_weights(before)
        raise


def _distill(
    classes: UnitClasses, data: Data, seed: int, rng: np.random.Generator
) -> None:
    circuit = classes.circuit
    if is_new(circuit):
        start_from(circuit, data, seed)
    else:
        initialize_leaves(
            circuit, data.x, data.observed, seed, sample_weight=data.sample_weight
        )
    weights = np.asarray(data.sample_weight, np.float64)
    codes = _codes(classes, flattened(circuit.program, data), weights, rng)
    counts = _counts(classes, codes, weights)
    params, names = circuit.live_params(), trainable_names(circuit)
    for _ in range(_NUM_M_STEPS):
        statistics = _leaf_statistics(classes, data, codes)
        found: Expectations = {"sums": counts, "leaf": statistics}
        new = maximize(circuit.program, params, found, 1.0, _PSEUDOCOUNT, names)
        is_same = all(
            np.allclose(value, params[name], 1e-4, 1e-5) for name, value in new.items()
        )
        for name, value in new.items():
            params[name].assign(value)
        if is_same:
            break


def _some_rows(data: Data, max_rows: int, rng: np.random.Generator) -> Data:
    """At most so many of the rows that count, and their weights."""
    weights = np.ones(len(data.x))
    if data.sample_weight is not None:
        weights = np.asarray(data.sample_weight, np.float64)
    counted = np.flatnonzero(weights)
    rows, weights = drawn_rows(weights[counted], max_rows, rng)
    rows = counted[rows]
    taken = (None if value is None else value[rows] for value in data)
    return Data(*taken)._replace(sample_weight=weights)


def _codes(
    classes: UnitClasses,
    data: Data,
    weights: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> _Codes:
    """Clusters of the rows by the variables of each class of units."""
    points = _points(data, weights)
    codes: _Codes = {}
    for number, scope in classes.scopes.items():
        size = classes.sizes[number]
        if size == 1:
            codes[number] = np.zeros(len(weights), np.int64)
        elif data.labels is not None and number not in classes.resizable:
            codes[number] = np.asarray(data.labels, np.int64)
        else:
            own = np.concatenate([points[v] for v in sorted(scope)], axis=1)
            codes[number] = cluster_labels(
                own, weights, size, rng, _OWNER, n_init=1, max_iter=_NUM_ITERATIONS
            )
    return codes


def _points(
    data: Data, weights: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float32]]:
    """What each variable adds to the points that are clustered, ``[N, F]``."""
    points = []
    for v in range(data.x.shape[1]):
        own = data.x[:, v].reshape(len(weights), -1)
        seen = np.ones(len(own), bool) if data.observed is None else data.observed[:, v]
        values = np.unique(own[seen])
        is_category = own.shape[1] == 1 and not np.any(values % 1)
        is_category &= len(values) <= _MAX_INDICATORS
        points.append(points_of(own, seen, weights, is_category))
    return points


def _counts(
    classes: UnitClasses, codes: _Codes, weights: npt.NDArray[np.float64]
) -> dict[str, tf.Tensor]:
    """Rows in a cluster of each input and of each sum, ``[R, I, O]`` by parameter."""

    def of_node(node: Node) -> npt.NDArray[np.float64]:
        own = classes.class_of(node)
        parts = []
        for inputs in classes.inputs_of(node):
            sizes = [*(classes.sizes[c] for c in inputs), classes.sizes[own]]
            cell = np.ravel_multi_index(
                [*(codes[c] for c in inputs), codes[own]], sizes
            )
            count = np.bincount(cell, weights, int(np.prod(sizes)))
            parts.append(count.reshape(-1, sizes[-1]))
        return np.concatenate(parts)

    counts = {
        sums_name(number): tf.constant(np.stack([of_node(node) for node in group]))
        for number, group in enumerate(classes.storage.groups)
    }
    if classes.circuit.program.prior is not None:
        [top] = {classes.class_of(node) for node in classes.tops}
        size = classes.sizes[top]
        counts[PRIOR] = tf.constant(np.bincount(codes[top], weights, size))
    return counts


def _leaf_statistics(classes: UnitClasses, data: Data, codes: _Codes) -> Expectations:
    """Statistics of leaves, each component of the rows of its cluster."""
    program = classes.circuit.program
    layout, num_components = program.layout, program.leaf.num_components
    leaves = [classes.class_of(node) for node in classes.storage.leaves]
    states = np.stack([codes[c] for c in leaves])
    leaf = program.tables(classes.circuit.live_params()).leaf
    size = max(1, _MAX_FLOW // (layout.num_regions * num_components))
    total: Expectations | None = None
    batches = Batches(program, data._replace(labels=None), min(size, _MAX_BATCH))
    for number, batch in enumerate(batches()):
        rows = slice(number * batches.batch_size, (number + 1) * batches.batch_size)
        own = states[:, rows]  # the last batch is filled up
        own = np.pad(own, [(0, 0), (0, batches.batch_size - own.shape[1])])
        flow = tf.one_hot(own, num_components, axis=1, dtype=program.dtype)
        evidence = batch.evidence(program)
        found = program.leaf.expected_statistics(
            leaf, evidence.x, evidence.observed, flow * batch.weights, layout
        )
        found = to_float64(found)
        total = found if total is None else add_expectations(total, found)
    return total or {}
