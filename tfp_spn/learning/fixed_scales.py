"""Whether fixed scales of leaves suit the data."""

from __future__ import annotations

import warnings

import numpy as np

from tfp_spn.circuits.circuit import Circuit
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.cauchy_leaf import CauchyLeaf
from tfp_spn.layers.leaves.location_scale_leaf import LocationScaleLeaf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.learning.data_validation import Data, flattened
from tfp_spn.learning.maximization import trainable_names
from tfp_spn.programs.parameter_names import leaf_name, to_leaf
from tfp_spn.programs.program import Program

_MAX_ROWS = 10_000
_FACTOR = 3.0


def warn_of_fixed_scales(circuit: Circuit, data: Data) -> None:
    """Warns, once for all variables, where a fixed scale is far from that of the data.

    Scales of `NormalLeaf`, `LaplaceLeaf` and `CauchyLeaf` stay at their initial value,
    1, unless they are made trainable. Data whose deviation is another by more than a
    factor of three then cost nats that no number of components makes good.

    Args:
        circuit: The circuit.
        data: Checked arrays.
    """
    program: Program = circuit.program
    x = np.asarray(flattened(program, data).x[:_MAX_ROWS], np.float64)
    layout = program.step.layout
    rows = (-1, layout.num_variables, layout.num_dims)
    x, observed = x.reshape(rows), data.observed
    if observed is not None:
        observed = flattened(program, data).observed[:_MAX_ROWS].reshape(rows[:2])
        x = np.where(observed[..., np.newaxis], x, np.nan)
    names, params = trainable_names(circuit), circuit.live_params()
    for part in program.step.leaf.parts(layout):
        leaf = part.leaf
        if not isinstance(leaf, LocationScaleLeaf) or leaf.scale_trainable:
            continue
        own = to_leaf(params)
        if not any(leaf_name(part.prefix + name) in names for name in leaf.parameters):
            continue  # frozen on purpose
        fixed = leaf.scale(leaf.canonical(part.params(own))).numpy()  # [L, K, D]
        _warn(leaf, part, fixed, _spread(x[:, part.variables], leaf))


def _spread(x: np.ndarray, leaf: LocationScaleLeaf) -> np.ndarray:
    """Returns the spread of each variable ``[V, D]``, NaN where all is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a value
        if isinstance(leaf, CauchyLeaf):
            low, high = np.nanquantile(x, [0.25, 0.75], axis=0)
            return (high - low) / 2
        return np.nanstd(x, axis=0)


def _warn(
    leaf: BaseLeaf, part: LeafPart, fixed: np.ndarray, spread: np.ndarray
) -> None:
    slots = part.layout.slot_variable
    scale = np.stack(
        [np.median(fixed[slots == v], (0, 1)) for v in range(len(spread))]
    )  # [V, D]
    ratio = spread / scale
    wrong = np.argwhere((ratio > _FACTOR) | ((ratio > 0) & (ratio < 1 / _FACTOR)))
    if not len(wrong):
        return
    v, dim = wrong[np.argmax(np.abs(np.log(ratio[tuple(wrong.T)])))]
    variables = sorted({int(part.variables[v]) for v, _ in wrong})
    shown = ", ".join(map(str, variables[:5])) + (", ..." if variables[5:] else "")
    warnings.warn(
        f"fit: {leaf.label} has fixed scales that do not suit the data of "
        f"{len(variables)} variables ({shown}): received data of deviation "
        f"{spread[v, dim]:.3g} in variable {int(part.variables[v])}, whose scale stays "
        f"{scale[v, dim]:.3g}, expected them to differ by a factor of three at most. "
        f"Make the leaf with scale_trainable=True, or standardise the data.",
        UserWarning,
        stacklevel=5,
    )
