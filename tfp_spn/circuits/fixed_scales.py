"""Whether fixed scales of leaves suit the data."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.programs.parameter_names import leaf_name, to_leaf

if TYPE_CHECKING:
    from tfp_spn.circuits.circuit import Circuit

_MAX_ROWS = 10_000
_FACTOR = 3.0


def warn_of_fixed_scales(
    circuit: Circuit, x: Any, observed: Any, stacklevel: int = 3
) -> None:
    """Warns, once for all variables, where a fixed scale is far from that of the data.

    Scales of `NormalLeaf`, `LaplaceLeaf` and `CauchyLeaf` stay at their initial value,
    1, unless they are made trainable; other leaves say theirs by `fixed_scale`. Data
    whose deviation is another by more than a factor of three then cost nats that no
    number of components makes good.

    Args:
        circuit: A circuit.
        x: An array ``[N, *event_shape]``; anything else is not read.
        observed: The mask, ``[N, *mask_shape]``.
        stacklevel: See `warnings.warn`; 2 is whoever calls this.
    """
    program = circuit.program
    is_array = isinstance(x, np.ndarray) and x.dtype.kind in "iufb"
    if not is_array or x.shape[1:] != tuple(program.event_shape):
        return
    layout = program.step.layout
    rows = (-1, layout.num_variables, layout.num_dims)
    seen = np.ones(program.mask_shape, bool) if observed is None else observed
    try:
        mask = np.broadcast_to(seen, (len(x), *program.mask_shape))[:_MAX_ROWS]
    except ValueError:  # others refuse it
        return
    values = np.asarray(x[:_MAX_ROWS], np.float64).reshape(rows)
    values = np.where(mask.reshape(rows[:2])[..., np.newaxis], values, np.nan)
    trainable = {id(variable.value) for variable in circuit.trainable_variables}
    params = circuit.live_params()
    for part in program.step.leaf.parts(layout):
        leaf = part.leaf
        fixed = leaf.fixed_scale(leaf.canonical(part.params(to_leaf(params))))
        names = [leaf_name(part.prefix + name) for name in leaf.parameters]
        if fixed is None or not any(id(params[name]) in trainable for name in names):
            continue  # or frozen on purpose
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of columns without values
            spread = leaf.spread(values[:, part.variables])  # [V, D]
        _warn(leaf, part, np.asarray(fixed), spread, stacklevel + 1)


def _warn(
    leaf: BaseLeaf,
    part: LeafPart,
    fixed: np.ndarray,
    spread: np.ndarray,
    stacklevel: int,
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
        stacklevel=stacklevel,
    )
