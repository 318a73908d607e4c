"""Checks of data before anything is changed.

Each message says what was wrong, what was received, what is expected and what to do.
"""

from __future__ import annotations

import numpy as np

from tfp_spn._arrays import as_array
from tfp_spn._masks import mask_fault
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import Data
from tfp_spn.programs.digits import check_digits
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.impossible_values import first_impossible, leaf_of_column
from tfp_spn.programs.labels import UNLABELLED
from tfp_spn.programs.program import Program

_OWNER = "tfp_spn.learning"


def validated(
    program: Program,
    data: Data,
    first_row: int = 0,
    is_part: bool = False,
) -> Data:
    """The data as arrays, checked.

    Args:
        program: The circuit that the data are for.
        data: Anything that NumPy takes.
        first_row: Number of the first row, for messages.
        is_part: Whether more data follow, so that all weights may be zero.

    Returns:
        Arrays; `observed` is one mask per example if there is any.

    Raises:
        TypeError: Data are not numbers, the mask is not bool, labels no integers; an
            array is masked.
        ValueError: A shape does not fit, an observed value is NaN or has probability
            zero under every component, or the circuit's dtype cannot tell values
            apart.
    """
    x = _checked_x(program, data.x)
    observed = (
        None if data.observed is None else _checked_mask(program, x, data.observed)
    )
    labels = None if data.labels is None else _checked_labels(program, x, data.labels)
    weight = data.sample_weight
    if weight is not None:
        weight = _checked_weight(x, weight, is_part)
        check_total_weight(program, weight.sum(), is_part)
    flat = flattened(program, Data(x, observed))
    _check_missing(flat.x, flat.observed, first_row)
    _check_support(program, flat.x, flat.observed, first_row)
    check_digits(_OWNER, program.dtype, x, program.event_shape, flat.observed)
    return Data(x, observed, labels, weight)


def mask_of_lengths(
    program: Program, x: TensorLike, lengths: object, observed: TensorLike
) -> np.ndarray:
    """Returns the mask of the steps that sequences have, within `observed` if given.

    Raises:
        TypeError: Lengths are not integers.
        ValueError: The circuit is not over sequences, or a length is out of range.
    """
    if not program.chain_specs:
        raise ValueError(
            "fit: the circuit has no steps, received lengths, expected None. Use "
            "observed=mask, or a circuit of tfp_spn.circuits.dynamic_from_circuit."
        )
    lengths = as_array(lengths, "fit", "lengths")
    num_steps = program.event_shape[0]
    if lengths.dtype.kind not in "iu":
        raise TypeError(
            f"fit: lengths are counts of steps, received dtype {lengths.dtype}, "
            f"expected integers from 1 to {num_steps}. Convert them by astype(int)."
        )
    num_examples = len(as_array(x, "fit"))
    if lengths.shape != (num_examples,):
        raise ValueError(
            f"fit: lengths do not fit x, received shape {lengths.shape} for "
            f"{num_examples} sequences, expected ({num_examples},). Pass one for each."
        )
    if np.any(lengths < 1) or np.any(lengths > num_steps):
        raise ValueError(
            "fit: lengths are out of range, received values "
            f"{np.unique(lengths).tolist()[:10]}, expected numbers from 1 to "
            f"{num_steps}. Leave out empty ones; cut longer ones."
        )
    exists = np.arange(num_steps) < lengths[:, np.newaxis]
    exists = exists.reshape(*exists.shape, *[1] * (len(program.mask_shape) - 1))
    if observed is None:
        return np.broadcast_to(exists, (len(lengths), *program.mask_shape))
    return exists & as_array(observed, "fit", "observed")


def split_off(data: Data, part: float) -> tuple[Data, Data]:
    """The data without the last ones, and these, each at least one example.

    Raises:
        ValueError: There is one example only.
    """
    count = len(data.x)
    if count < 2:
        raise ValueError(
            "fit: one example cannot be split, received validation_split with "
            f"{count} examples, expected at least 2. Leave out validation_split."
        )
    first = min(max(round(count * (1 - part)), 1), count - 1)
    parts = [
        Data(*(None if of is None else of[rows] for of in data))
        for rows in (slice(first), slice(first, None))
    ]
    return parts[0], parts[1]


def flattened(program: Program | FoldedProgram, data: Data) -> Data:
    """Puts the pixels of images, or all steps, on one axis: ``[N, V(, D)]``."""
    tail = [program.num_dims] * (program.step.flat_event_ndims - 1)
    x = data.x.reshape(len(data.x), -1, *tail)
    if data.observed is None:
        return data._replace(x=x)
    return data._replace(x=x, observed=data.observed.reshape(x.shape[:2]))


def _checked_x(program: Program, x: TensorLike) -> np.ndarray:
    x = as_array(x, _OWNER)
    event_shape = program.event_shape
    if x.ndim != 1 + len(event_shape) or x.shape[1:] != event_shape:
        raise ValueError(
            f"tfp_spn.learning: x does not fit the circuit, received shape {x.shape}, "
            f"expected [examples, {', '.join(map(str, event_shape))}]. Reshape x, or "
            "build the circuit over as many variables as x has columns."
        )
    if not len(x):
        raise ValueError(
            f"tfp_spn.learning: x is empty, received shape {x.shape}, expected at "
            "least one example. Check how x was selected."
        )
    return x


def _checked_mask(program: Program, x: np.ndarray, observed: TensorLike) -> np.ndarray:
    observed = as_array(observed, _OWNER, "observed")
    shape = (len(x), *program.mask_shape)
    fault = mask_fault(
        observed.dtype.name, observed.shape, shape[:1], program.mask_shapes
    )
    if fault == "dtype":
        raise TypeError(
            f"tfp_spn.learning: observed must be a mask, received dtype "
            f"{observed.dtype}, expected bool: True where the value counts. Convert "
            "it, for example observed=(mask == 1)."
        )
    if fault == "shape":
        raise ValueError(
            f"tfp_spn.learning: observed does not fit x, received shape "
            f"{observed.shape}, expected {list(shape)} (or {list(shape[1:])} for all "
            "examples). Pass one flag per example and variable."
        )
    return np.broadcast_to(observed, shape)


def _checked_labels(program: Program, x: np.ndarray, labels: TensorLike) -> np.ndarray:
    labels = as_array(labels, _OWNER, "labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"tfp_spn.learning: labels must be integers, received dtype "
            f"{labels.dtype}, expected classes from 0 to {program.num_classes - 1}. "
            "Pass class numbers, not one-hot vectors."
        )
    if labels.shape == (len(x), 1):
        labels = labels[:, 0]
    if labels.shape != (len(x),):
        raise ValueError(
            f"tfp_spn.learning: labels do not fit x, received shape {labels.shape}, "
            f"expected [{len(x)}]. Pass one class number per example."
        )
    known = labels[labels != UNLABELLED]
    if known.size and (known.min() < 0 or known.max() >= program.num_classes):
        raise ValueError(
            f"tfp_spn.learning: labels are out of range, received {known.min()} to "
            f"{known.max()}, expected 0 to {program.num_classes - 1}. Renumber them, "
            "build the circuit with more num_classes, or say which label stands for "
            "none, as in fit(unlabelled=-1)."
        )
    return labels


def _checked_weight(x: np.ndarray, weight: object, is_part: bool) -> np.ndarray:
    weight = as_array(weight, _OWNER, "sample_weight")
    if weight.shape == (len(x), 1):
        weight = weight[:, 0]
    if weight.shape != (len(x),):
        raise ValueError(
            f"tfp_spn.learning: sample_weight does not fit x, received shape "
            f"{weight.shape} of dtype {weight.dtype}, expected numbers of shape "
            f"[{len(x)}]. Pass one weight per example."
        )
    weight = weight.astype(np.float64)
    is_some = is_part or weight.any()
    if not np.all(np.isfinite(weight)) or weight.min() < 0 or not is_some:
        raise ValueError(
            "tfp_spn.learning: sample_weight must be finite, not negative and not all "
            f"zero, received values from {weight.min()} to {weight.max()}. Weights say "
            "how often an example counts; leave examples out with 0."
        )
    return weight


def check_total_weight(program: Program, total: float, is_part: bool = False) -> None:
    """Raises a `ValueError` unless the circuit can hold the weight of all examples."""
    limits = np.finfo(program.dtype.as_numpy_dtype)
    most, least = float(limits.max), float(limits.tiny)
    if 0 < total < least and not is_part:
        raise ValueError(
            "tfp_spn.learning: sample_weight is too small, received weights that add "
            f"up to {total:.3g}, expected at least {least:.3g}, the smallest number of "
            f"{program.dtype.name}. Multiply all weights by one factor: only their "
            "proportions matter (beside pseudocount)."
        )
    if total > most:
        raise ValueError(
            "tfp_spn.learning: sample_weight is too large, received weights that add "
            f"up to {total:.3g}, expected at most {most:.3g}, the largest number of "
            f"{program.dtype.name}. Divide all weights by the largest one: only their "
            "proportions matter (beside pseudocount)."
        )


def _check_missing(x: np.ndarray, observed: np.ndarray | None, row: int) -> None:
    if x.dtype.kind != "f":
        return
    missing = np.isnan(x)
    if x.ndim == 3:
        missing = missing.any(-1)
    if observed is not None:
        missing = missing & observed
    if not missing.any():
        return
    where = _first(missing, row)
    if observed is None:
        raise ValueError(
            f"tfp_spn.learning: x has missing values, received NaN at {where}, "
            "expected numbers. Integrate missing values out: pass "
            "observed=~np.isnan(x), or use x, observed = tfp_spn.from_nan(x)."
        )
    raise ValueError(
        f"tfp_spn.learning: x is missing where observed says that it counts, received "
        f"NaN at {where}, expected a number. Set observed to False there, for example "
        "observed &= ~np.isnan(x)."
    )


def _check_support(
    program: Program,
    x: np.ndarray,
    observed: np.ndarray | None,
    row: int,
) -> None:
    found = first_impossible(program.step, x, observed)
    if found is None:
        return
    start, impossible = found
    place, column = np.argwhere(impossible)[0]
    leaf = leaf_of_column(program.step, column)
    raise ValueError(
        "tfp_spn.learning: a value has probability zero under every component "
        f"of {leaf.label}, received {x[start + place, column]} at "
        f"{_first(impossible, row + start)}, expected a value of the leaf's "
        f"support: {leaf.support}. Correct or recode it, choose another leaf, "
        "or set observed to False there."
    )


def _first(wrong: np.ndarray, first_row: int) -> str:
    row, column = np.argwhere(wrong)[0]
    return f"row {row + first_row}, column {column} ({int(wrong.sum())} such values)"
