"""A starting point for leaves, taken from the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn.layers.leaves.count_leaf import CountLeaf
from tfp_spn.layers.leaves.discretized_logistic_leaf import DiscretizedLogisticLeaf
from tfp_spn.layers.leaves.distribution_leaf import DistributionLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.location_scale_leaf import LocationScaleLeaf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.layers.leaves.table_leaf import TableLeaf
from tfp_spn.learning.data_validation import Data, flattened, validated
from tfp_spn.learning.maximization import as_circuit, trainable_names
from tfp_spn.learning.seeding import seeds_of_regions
from tfp_spn.programs.program import Program

_MAX_ROWS = 20_000
_MAX_SEEDS = 1000
_CONCENTRATION = 4.0
_NUM_M_STEPS = 3
"""From afar the first one finds the place, and only then the spread."""


def initialize_leaves(spn: Any, x: Any, observed: Any = None, seed: int = 0) -> None:
    """Sets leaf components to where the data are.

    Without it, EM on data far from 0 first has to find them, and components that start
    alike compete for the same examples. By family:

    - location and scale, also of `DiscretizedLogisticLeaf`: each component of a leaf
      region takes its locations from one example, and its scales are the variables'
      standard deviations within the clusters of these examples;
    - counts and categories: each component's probabilities are drawn from a Dirichlet
      distribution around the variable's frequencies;
    - a `DistributionLeaf` whose family has an M-step: the M-step on data half of which
      are one example.

    The examples are drawn by k-means++ [1], of variables divided by their standard
    deviations, among at most 1,000 of the data: they lie far from each other, so that
    each of several clusters has a component to begin with. Regions without common
    variables (those of a repetition) take the same examples in the same order, so that
    their components fit together; in no region are two alike, unless it has fewer
    different values than components.

    A `MixedLeaf` treats each variable by its own family. Only trainable parameters are
    set; other families keep theirs.

    Args:
        spn: A circuit, or a distribution over one.
        x: ``[N, V]``, ``[N, V, D]`` or ``[N, height, width, D]``; of sequences ``[N, T,
            ...]``, whose steps are all alike here.
        observed: bool ``[N, V]`` or ``[N, height, width]``: which values count.
            Default: all.
        seed: Of the draws.

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
    """
    circuit = as_circuit(spn)
    program: Any = circuit.program
    data = validated(program, Data(x, observed))
    data, program = _steps_as_examples(program, data), program.step
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
        v = part.variables
        own, spread = rows, within * scale
        if not part.is_whole:
            own, spread = rows[part.regions], spread[part.regions][:, v]
        new = _of_part(part, values[:, v], mask[:, v], own, spread, rng)
        for name, value in part.prefixed(new).items():
            if f"leaf_{name}" in names:
                variable = params[f"leaf_{name}"]
                value = tf.cast(value, variable.dtype)
                variable.assign(tf.reshape(value, variable.shape))


def _of_part(
    part: LeafPart,
    x: np.ndarray,
    mask: np.ndarray,
    rows: np.ndarray,
    within: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """New parameters of a leaf layer.

    `rows [R, K]` are the examples that the components of a region are taken from.
    """
    leaf, layout = part.leaf, part.layout
    if isinstance(leaf, LocationScaleLeaf):
        return _location_and_scale(layout, leaf, x, rows, within)
    if isinstance(leaf, DiscretizedLogisticLeaf):
        return _rounded_logistic(layout, leaf, x, rows, within)
    if isinstance(leaf, CountLeaf):
        return {"logits": _count_logits(layout, leaf, x, mask, rng)}
    if isinstance(leaf, TableLeaf):
        return {"logits": _table_logits(layout, leaf, x, mask, rng)}
    if isinstance(leaf, DistributionLeaf):
        return _family_parameters(layout, leaf, x, mask, rows)
    return {}


def _steps_as_examples(program: Program, data: Data) -> Data:
    """All examples, or all steps of sequences, of which anything is known."""
    x = data.x.reshape(-1, *program.step.event_shape)
    if data.observed is None:
        return Data(x)
    observed = data.observed.reshape(-1, *program.step.mask_shape)
    known = observed.reshape(len(observed), -1).any(-1)
    return Data(x[known], observed[known])


def _subset(
    program: Program, data: Data, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows in any order, float64 ``[N, V, D]``, and their mask ``[N, V, 1]``."""
    data = flattened(program, data)
    rows = rng.permutation(len(data.x))[:_MAX_ROWS]
    x = np.asarray(data.x[rows], np.float64)
    if x.ndim == 2:
        x = x[..., np.newaxis]
    if data.observed is None:
        return x, np.ones([*x.shape[:2], 1], bool)
    mask = data.observed[rows][..., np.newaxis]
    return np.where(mask, x, 0.0), mask


def _deviation(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``[V, D]``: of what is observed; 1 of a constant."""
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


def _location_and_scale(
    layout: LeafLayout,
    leaf: LocationScaleLeaf,
    x: np.ndarray,
    rows: np.ndarray,
    within: np.ndarray,
) -> dict[str, Any]:
    location, scale = _places(layout, x, rows, within)
    new = {}
    if leaf.location_trainable:
        new["location"] = location
    if leaf.scale_trainable:
        new["scale"] = leaf._inverse_scale(tf.constant(scale, leaf.compute_dtype))
    if not leaf.use_accumulators:
        return new
    old = leaf.canonical(leaf.live_params())
    values = {**old, **{k: tf.cast(v, leaf.compute_dtype) for k, v in new.items()}}
    return leaf.stored(old, values["location"], values["scale"])


def _rounded_logistic(
    layout: LeafLayout,
    leaf: DiscretizedLogisticLeaf,
    x: np.ndarray,
    rows: np.ndarray,
    within: np.ndarray,
) -> dict[str, Any]:
    location, scale = _places(layout, x, rows, within)
    # Of standard deviation pi / sqrt(3), and at least as wide as what is rounded off.
    scale = np.maximum(scale * math.sqrt(3) / math.pi, 0.5) / leaf.value_range
    return {"location": location / leaf.value_range, "scale": leaf.raw_scale(scale)}


def _places(
    layout: LeafLayout, x: np.ndarray, rows: np.ndarray, within: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Locations and standard deviations ``[L, K, D]``."""
    location = x[rows[layout.slot_region], layout.slot_variable[:, np.newaxis]]
    scale = within[layout.slot_region, layout.slot_variable][:, np.newaxis]
    return location, np.broadcast_to(scale, location.shape)


def _family_parameters(
    layout: LeafLayout,
    leaf: DistributionLeaf,
    x: np.ndarray,
    mask: np.ndarray,
    rows: np.ndarray,
) -> dict[str, Any]:
    """An M-step in which one example weighs as much as all others together."""
    try:
        leaf.family.m_step(layout.num_dims)
    except NotImplementedError:
        return {}
    x, mask = x[:_MAX_SEEDS], mask[:_MAX_SEEDS]
    dtype = leaf.compute_dtype
    shape = (layout.num_regions, leaf.num_components, len(x))
    flow = np.full(shape, 1 / len(x))
    np.put_along_axis(flow, rows[..., np.newaxis], 1.0, axis=-1)
    params = leaf.canonical(leaf.live_params())
    value, observed = tf.constant(x.transpose(1, 2, 0), dtype), mask[..., 0].T
    for _ in range(_NUM_M_STEPS):
        statistics = leaf.expected_statistics(
            params, value, tf.constant(observed), tf.constant(flow, dtype), layout
        )
        params = leaf.maximize(params, statistics, tf.constant(1.0, dtype), 0.01)
    return params


def _count_logits(
    layout: LeafLayout,
    leaf: CountLeaf,
    x: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """``[L, K, D]``."""
    trials = mask.sum(0) * leaf.total_count
    probs = ((x * mask).sum(0) + 0.5) / (trials + 1.0)
    probs = _CONCENTRATION * probs[layout.slot_variable][:, np.newaxis]
    probs = np.repeat(probs, leaf.num_components, axis=1)
    success = _log_gamma_draws(probs, rng)
    return success - _log_gamma_draws(_CONCENTRATION - probs, rng)


def _table_logits(
    layout: LeafLayout,
    leaf: TableLeaf,
    x: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """``[L, D, C, K]``."""
    categories = leaf.num_rows
    x = leaf.row_of(leaf.safe_value(tf.constant(x, leaf.compute_dtype))).numpy()
    probs = np.stack(
        [((x == c) & mask).sum(0) for c in range(categories)], axis=-1
    )  # [V, D, C]
    probs = (probs + 1.0 / categories) / (mask.sum(0)[..., np.newaxis] + 1.0)
    probs = _CONCENTRATION * probs[layout.slot_variable][..., np.newaxis]
    return _log_gamma_draws(np.repeat(probs, leaf.num_components, axis=-1), rng)


def _log_gamma_draws(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logarithms of gamma draws: logits of Dirichlet draws; safe for small shapes."""
    # If G ~ Gamma(a + 1) and U is uniform then G U^(1 / a) ~ Gamma(a).
    log_draws = np.log(rng.gamma(shape + 1.0)) + np.log(rng.random(shape.shape)) / shape
    return np.maximum(log_draws, -12.0)
