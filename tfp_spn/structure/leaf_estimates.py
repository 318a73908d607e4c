"""Leaf layers for the columns of a table, and their parameters from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.circuits.region_weights import regions_of_leaves
from tfp_spn.layers import (
    BernoulliLeaf,
    CategoricalLeaf,
    DistributionLeaf,
    MixedLeaf,
    NormalLeaf,
)
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.structure.columns import Columns, Kind
from tfp_spn.structure.script import Script

Estimate: TypeAlias = dict[str, npt.NDArray[np.float64]]
"""Of ``log_probs [..., C]``, or ``location`` and ``scale``, or ``log_rate``."""

_MIN_LOGIT = -30.0
_MIN_PART = 1e-3
"""Of a column's deviation, to which components are not narrower."""


def leaf_layer(
    columns: Columns,
    num_components: int,
    *,
    is_deterministic: bool = False,
    script: Script | None = None,
) -> BaseLeaf:
    """A layer of a family for each kind of column.

    Categories have a `CategoricalLeaf` (a `BernoulliLeaf`, if all columns are binary
    and no probability is zero), reals a `NormalLeaf`, counts a Poisson distribution.

    Args:
        columns: The table.
        num_components: Components of each leaf.
        is_deterministic: Whether probabilities of zero are needed.
        script: Where the calls are written, if anywhere.
    """
    script = script or Script()
    call = script.call
    if columns.is_binary and not is_deterministic:
        return call(BernoulliLeaf, num_components)
    makers: dict[Kind, Callable[[], BaseLeaf]] = {
        "categorical": lambda: call(
            CategoricalLeaf, num_components, int(columns.num_categories.max())
        ),
        "count": lambda: call(
            DistributionLeaf, "Poisson", num_components, parameters={"log_rate": ()}
        ),
        "real": lambda: call(
            NormalLeaf,
            num_components,
            scale_trainable=True,
            min_scale=_min_scale(columns),
        ),
    }
    pairs = [
        (make(), [v for v, own in enumerate(columns.kinds) if own == kind])
        for kind, make in makers.items()
        if kind in columns.kinds
    ]
    return pairs[0][0] if len(pairs) == 1 else script.let("leaf", MixedLeaf, pairs)


def _min_scale(columns: Columns) -> float:
    """A thousandth of the smallest deviation, to one digit."""
    is_real = np.array(columns.kinds) == "real"
    return float(f"{_MIN_PART * columns.scale[is_real].min():.0e}")


def estimate(
    columns: Columns, variable: int, rows: np.ndarray | slice, pseudocount: float = 0.1
) -> Estimate:
    """The distribution of a variable in some rows, smoothed towards that in all.

    Args:
        columns: The table.
        variable: The variable.
        rows: Index of the rows.
        pseudocount: How many rows of the whole table's distribution are added.
    """
    seen = columns.observed[:, variable]
    own = columns.values[rows, variable][seen[rows]]
    weights = columns.weights[rows][seen[rows]]
    kind = columns.kinds[variable]
    if kind == "categorical":
        size = int(columns.num_categories[variable])
        everything = columns.values[seen, variable].astype(int)
        prior = np.bincount(everything, columns.weights[seen], size) + 1.0 / size
        counts = np.bincount(own.astype(int), weights, size)
        counts = counts + pseudocount * prior / prior.sum()
        return {"log_probs": np.log(counts / counts.sum())}
    count, mean = weights.sum(), columns.center[variable]
    if kind == "count":
        rate = (weights @ own + pseudocount * (mean + 1e-3)) / (count + pseudocount)
        return {"log_rate": np.log(rate)}
    spread = columns.scale[variable] ** 2
    location = mean + weights @ (own - mean) / (count + pseudocount)
    square = weights @ (own - location) ** 2 + pseudocount * spread
    variance = max(square / (count + pseudocount), 1e-6 * spread)
    return {"location": location, "scale": np.sqrt(variance)}


def mixed_estimate(
    estimates: Sequence[Estimate], log_weights: npt.NDArray[np.float64]
) -> Estimate:
    """The distribution nearest to a mixture: the mixture itself of categories."""
    stacked = {k: np.stack([own[k] for own in estimates]) for k in estimates[0]}
    if "log_probs" in stacked:
        weighted = stacked["log_probs"] + log_weights[:, np.newaxis]
        return {"log_probs": np.logaddexp.reduce(weighted, axis=0)}
    weights = np.exp(log_weights)
    if "log_rate" in stacked:
        return {"log_rate": np.log(weights @ np.exp(stacked["log_rate"]))}
    location = weights @ stacked["location"]
    distance = np.square(stacked["location"] - location)
    variance = weights @ (np.square(stacked["scale"]) + distance)
    return {"location": location, "scale": np.sqrt(variance)}


def assign_leaves(
    circuit: RegionGraphCircuit, estimate_of: Callable[[int, int], Estimate]
) -> None:
    """Gives all leaves of a circuit their parameters.

    Args:
        circuit: A circuit whose leaf layer is of `leaf_layer`.
        estimate_of: By region and variable, what the components are: a leading axis
            ``[K]`` of each array, or none for one component.
    """
    layout, regions = circuit.program.layout, regions_of_leaves(circuit)
    for part in circuit.leaf.parts(layout):
        leaf = part.leaf
        values = {name: v.numpy() for name, v in leaf.parameters.items()}
        for row, slot in enumerate(part.slots):
            region = regions[layout.slot_region[slot]]
            found = estimate_of(region, int(layout.slot_variable[slot]))
            _put(leaf, values, row, found)
        if isinstance(leaf, NormalLeaf):
            values["scale"] = leaf.inverse_scale(values["scale"]).numpy()
        for name, variable in leaf.parameters.items():
            variable.assign(values[name])


def _put(
    leaf: BaseLeaf, values: dict[str, np.ndarray], row: int, found: Estimate
) -> None:
    if "log_probs" not in found:
        for name, value in found.items():
            values[name][row, :, 0] = value
        return
    log_probs = found["log_probs"].reshape(leaf.num_components, -1)
    if leaf.is_binary:
        floor = np.maximum(log_probs, _MIN_LOGIT)
        values["logits"][row, :, 0] = floor[:, 1] - floor[:, 0]
    else:
        values["logits"][row] = -np.inf
        values["logits"][row, 0, : log_probs.shape[1]] = log_probs.T
