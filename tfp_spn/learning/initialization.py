"""A starting point for leaves, taken from the data."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_flag, a_seed, reads
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.data import Data
from tfp_spn.layers.leaves.initial_parameters import LeafData
from tfp_spn.learning.data_validation import flattened, validated
from tfp_spn.learning.maximization import as_circuit, trainable_names
from tfp_spn.learning.seeding import seeds_of_regions
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.parameter_names import leaf_name
from tfp_spn.programs.program import Program

_MAX_ROWS = 20_000
_MAX_SEEDS = 1000


@reads(seed=a_seed(), default_only=a_flag())
def initialize_leaves(
    spn: object,
    x: TensorLike,
    observed: TensorLike = None,
    seed: int = 0,
    *,
    default_only: bool = False,
    sample_weight: TensorLike = None,
) -> None:
    """Sets leaf components to where the data are.

    Without it, EM on data far from 0 first has to find them, and components that start
    alike compete for the same examples. By family:

    - location and scale, also of `DiscretizedLogisticLeaf`: each component of a leaf
      region takes its locations from one example, and its scales are the variables'
      standard deviations within the clusters of these examples;
    - counts and categories: each component's probabilities are drawn from a Dirichlet
      distribution around the variable's frequencies;
    - any other family that has an M-step: the M-step on data half of which are one
      example;
    - families of `tfd` over the real line with a location and a scale: both as above,
      before the M-step if there is one.

    The examples are drawn by k-means++ [1] and local search [2], of variables divided
    by their standard deviations, among at most 1,000 of the data: they lie far from
    each other, so that each of several clusters has a component to begin with. Regions
    without common variables (those of a repetition) take the same examples in the same
    order, so that their components fit together; in no region are two alike, unless it
    has fewer different values than components.

    A leaf layer of your own starts otherwise by its method `initial_parameters`. A
    `MixedLeaf` treats each variable by its own family. Only trainable parameters are
    set; other families without an M-step keep theirs.

    Args:
        spn: A circuit, or a distribution over one.
        x: ``[N, V]``, ``[N, V, D]`` or ``[N, height, width, D]``; of sequences ``[N, T,
            ...]``, whose steps are all alike here.
        observed: bool ``[N, V]`` or ``[N, height, width]``: which values count.
            Default: all.
        seed: Seed of the draws.
        default_only: Whether leaf layers that were given initializers keep what these
            made.
        sample_weight: How often each example counts, ``[N]``: the same as repeated
            examples. Default: once.

    Raises:
        TypeError: Data of a wrong type.
        ValueError: Data of a wrong shape, or with impossible values.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.NormalLeaf(num_components=2), num_sums=2)
        >>> x = np.random.default_rng(0).normal(1000.0, 1.0, [100, 4])
        >>> tfp_spn.learning.initialize_leaves(circuit, x)
        >>> bool((circuit.live_params()["leaf_location"] > 900).numpy().all())
        True

    References:
        [1]: Arthur, Vassilvitskii. k-means++: the advantages of careful seeding. SODA
        2007.
        [2]: Lattanzi, Sohler. A better k-means++ algorithm via local search. ICML 2019.
    """
    circuit = as_circuit(spn)
    data = validated(circuit.program, Data(x, observed, None, sample_weight))
    initialize_from(circuit, data, seed, default_only)


def initialize_from(
    circuit: Circuit, data: Data, seed: int, default_only: bool
) -> None:
    """What `initialize_leaves` does, of validated data."""
    data = _steps_as_examples(circuit.program, data)
    program = circuit.program.step
    if not len(data.x):  # nothing is known
        return
    if data.sample_weight is not None and not data.sample_weight.any():
        return
    rng = np.random.default_rng([seed, 1])
    values, mask = _subset(program, data, rng)
    scale = _deviation(values, mask)
    _fill_in(values, mask, rng)
    num_components = program.leaf.num_components
    num_candidates = min(_MAX_SEEDS, max(300, 20 * num_components))
    rows, within = seeds_of_regions(
        values[:num_candidates] / scale,
        program.layout.scopes,
        num_components,
        np.random.default_rng([seed, 2]),
    )
    params = circuit.live_params()
    names = trainable_names(circuit)
    for part in program.leaf.parts(program.layout):
        if default_only and not part.leaf.has_default_initializers:
            continue
        v = part.variables
        own = values, mask, rows, within * scale
        if not part.is_whole:
            own_rows, spread = rows[part.regions], own[-1][part.regions][:, v]
            own = values[:, v], mask[:, v], own_rows, spread
        new = part.leaf.initial_parameters(LeafData(part.layout, *own, rng))
        for name, value in part.prefixed(new).items():
            if leaf_name(name) in names:
                variable = params[leaf_name(name)]
                value = tf.cast(value, variable.dtype)
                variable.assign(tf.reshape(value, variable.shape))


def _steps_as_examples(program: Program, data: Data) -> Data:
    """All examples, or all steps of sequences, of which anything is known."""
    x = data.x.reshape(-1, *program.step.event_shape)
    weight = data.sample_weight
    if weight is not None:
        weight = np.repeat(weight, len(x) // len(weight))
    if data.observed is None:
        return Data(x, sample_weight=weight)
    observed = data.observed.reshape(-1, *program.step.mask_shape)
    known = observed.reshape(len(observed), -1).any(-1)
    weight = None if weight is None else weight[known]
    return Data(x[known], observed[known], None, weight)


def _subset(
    program: FoldedProgram, data: Data, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows in any order, float64 ``[N, V, D]``, and their mask ``[N, V, 1]``."""
    data = flattened(program, data)
    rows = np.arange(len(data.x))
    if data.sample_weight is not None:
        rows = repeated(data.sample_weight, rng)
    rows = rng.permutation(rows)[:_MAX_ROWS]
    x = np.asarray(data.x[rows], np.float64)
    if x.ndim == 2:
        x = x[..., np.newaxis]
    if data.observed is None:
        return x, np.ones([*x.shape[:2], 1], bool)
    mask = data.observed[rows][..., np.newaxis]
    return np.where(mask, x, 0.0), mask


def repeated(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows as often as they count, in units of the smallest weight above zero.

    Exactly so if there are no fractions and no more than `_MAX_ROWS`, else on average.
    """
    some = np.flatnonzero(weight)
    ends = np.cumsum(weight[some])
    least = np.ceil(ends[-1] / weight[some].min() - 1e-6)
    count = int(min(least, _MAX_ROWS))
    places = (rng.random() + np.arange(count)) * (ends[-1] / count)
    return some[np.searchsorted(ends[:-1], places, side="right")]


def _deviation(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``[V, D]``: of what is observed; 1 of a constant."""
    if mask.all():
        square = x - x.mean(0)
        scale = np.sqrt(np.square(square, out=square).mean(0))
    else:
        count = np.maximum(mask.sum(0), 1)
        mean = (x * mask).sum(0) / count
        scale = np.sqrt((np.square(x - mean) * mask).sum(0) / count)
    return np.where(scale > 0, scale, 1.0)


def _fill_in(x: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Puts observed values of the same variable where there are none."""
    for v in np.flatnonzero(~mask.all((0, 2))):
        seen = np.flatnonzero(mask[:, v, 0])
        missing = np.flatnonzero(~mask[:, v, 0])
        if len(seen):
            x[missing, v] = x[rng.choice(seen, len(missing)), v]
