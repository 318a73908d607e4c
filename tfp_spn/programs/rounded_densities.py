"""Whether the rounding of values changes what leaf components make of them.

One row has no neighbours that its values could be told from, but components say how
finely they look: seconds since 1970 are 128 apart in float32, and a component that is
one second wide gives them any density.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfp_spn._typing import Params
from tfp_spn.programs.parameter_names import to_leaf
from tfp_spn.programs.program import Program

_LEAST, _RELATIVE = 0.1, 1e-4
"""Log-densities may change by so much, or by such a part of themselves."""
_HARMLESS = 1e-3
"""By such a part of its scale no Normal is changed so much."""
SMALLEST = 1e-4
"""Rounding below is not looked at: a tenth of the smallest scale of leaves."""


def changed_by_rounding(
    program: Program,
    params: Params,
    variables: Sequence[int],
    x: np.ndarray,
    rounded: np.ndarray,
) -> np.ndarray:
    """Returns which values have another log-density once they are rounded.

    That of a mixture of all components of a variable, each as a Normal of its location
    and its scale (`location_and_scale`). Nobody knows of components without those,
    nor of several circuits in a batch.

    Args:
        program: The circuit.
        params: Its parameters; their values are read.
        variables: The variables of the columns, again and again over steps.
        x: float64 ``[N, columns]``.
        rounded: The same, rounded.

    Returns:
        bool ``[N, columns]``.
    """
    changed = np.zeros(x.shape, bool)
    with np.errstate(invalid="ignore"):
        moved = np.fmax.reduce(np.abs(x - rounded), axis=0, initial=0)
    layout = program.step.layout
    columns = np.arange(x.shape[1])
    dims = columns % layout.num_dims
    of_column = np.asarray(variables)[columns // layout.num_dims % len(variables)]
    for part in program.step.leaf.parts(layout):
        mine = np.isin(of_column, part.variables) & (moved >= SMALLEST)
        if not mine.any():
            continue
        own = part.leaf.canonical(part.params(to_leaf(params)))
        places = part.leaf.location_and_scale(own)
        if places is None or len(places[0].shape) != 3:  # a batch of circuits
            continue
        location, scale = (np.asarray(value, np.float64) for value in places)
        finest = np.full([len(part.variables), layout.num_dims], np.inf)
        np.minimum.at(finest, part.layout.slot_variable, np.nanmin(scale, axis=1))
        for column in np.flatnonzero(mine):
            variable = np.searchsorted(part.variables, of_column[column])
            if moved[column] < _HARMLESS * finest[variable, dims[column]]:
                continue
            slots = part.layout.slot_variable == variable
            place = (location[slots, :, dims[column]], scale[slots, :, dims[column]])
            with np.errstate(over="ignore", invalid="ignore"):  # NaN is not observed
                before = _log_density(*place, x[:, column])
                change = np.abs(_log_density(*place, rounded[:, column]) - before)
            most = np.maximum(_LEAST, _RELATIVE * np.abs(before))
            changed[:, column] = change > most
    return changed


def _log_density(location: np.ndarray, scale: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``[N]``, up to a constant; -inf where no component has a location and a scale."""
    known = np.isfinite(location) & np.isfinite(scale) & (scale > 0)
    location, scale = location[known], scale[known]
    terms = -0.5 * np.square((x[:, np.newaxis] - location) / scale) - np.log(scale)
    return np.logaddexp.reduce(terms, axis=1)
